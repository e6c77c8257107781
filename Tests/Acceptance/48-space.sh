#!/bin/bash
# Space of written blocks comes back, also where what gave it up was cut off or had to wait: holes that nobody
# flushed before a snapshot or before the node died, snapshots and disks that were removed while they were open.
#
#   SPACE_MIB  that are written each time (32)
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib.sh"

readonly SPACE_MIB=${SPACE_MIB:-32}
readonly SPACE_BYTES=$((SPACE_MIB * 1024 * 1024))
# Of folders, maps and the ends of holes.
readonly SLACK_BYTES=$((1024 * 1024))
readonly WAIT_SECONDS=60

begin space
use_home "$work/home"
mnt=$work/mnt
start_node "$mnt"
vms=$mnt/localhost

# A VM with one disk of which SPACE_MIB are written and synchronized.
make_vm() {
    mkdir "$vms/$1"
    truncate -s $((SPACE_MIB * 4))M "$vms/$1/disk0"
    fill "$1"
}
fill() { dd if=/dev/urandom of="$vms/$1/disk0" bs=1M count="$SPACE_MIB" conv=notrunc,fsync status=none; }
punch() { fallocate --punch-hole --offset 0 --length "$SPACE_BYTES" "$vms/$1/disk0"; }

taken() { allocated_bytes "$CCNFS_STATE/overlays"; }
takes_at_most() { [ "$(taken)" -le $(($1 + SLACK_BYTES)) ]; }
# comes_back TEXT BYTES: within WAIT_SECONDS the written blocks take no more than that
comes_back() {
    if wait_until "$WAIT_SECONDS" takes_at_most "$2"; then
        ok "$1"
    else
        not_ok "$1" "$(taken) bytes are taken, not $2"
    fi
}

make_vm holes
check "what is written takes space" test "$(taken)" -ge "$SPACE_BYTES"
punch holes
sync "$vms/holes/disk0"
comes_back "a hole gives it back" 0
fill holes
punch holes
comes_back "also if nobody flushes" 0

fill holes
punch holes
mkdir "$vms/holes/.snapshots/s"
comes_back "and if a snapshot is taken before that" 0
rmdir "$vms/holes/.snapshots/s"

fill holes
punch holes
kill -9 "$node_pid"
wait "$node_pid" 2> /dev/null || true
unmount_hard "$mnt"
start_node "$mnt"
sync "$vms/holes/disk0"
comes_back "and if the node dies before that" 0
rm -r "$vms/holes"

make_vm open
mkdir "$vms/open/.snapshots/s"
fill open
exec 9< "$vms/open/.snapshots/s/disk0"
rmdir "$vms/open/.snapshots/s"
sleep 1
check "a dropped snapshot keeps its space while its disk is open" test "$(taken)" -ge $((2 * SPACE_BYTES))
check "and its bytes" test "$(head -c "$SPACE_BYTES" <&9 | tr -d '\0' | head -c 1000 | wc -c)" -eq 1000
exec 9<&-
comes_back "when it is closed the space comes back" "$SPACE_BYTES"

exec 9< "$vms/open/disk0"
rm -r "$vms/open"
sleep 1
check "so with a removed disk: it keeps its space while it is open" test "$(taken)" -ge "$SPACE_BYTES"
exec 9<&-
comes_back "and gives it back when it is closed" 0

make_vm killed
exec 9< "$vms/killed/disk0"
rm -r "$vms/killed"
kill -9 "$node_pid"
wait "$node_pid" 2> /dev/null || true
exec 9<&-
unmount_hard "$mnt"
start_node "$mnt"
comes_back "or when the node died" 0

make_vm cloned
mkdir "$vms/clones"
for number in 1 2 3; do
    cp "$vms/cloned/disk0" "$vms/clones/disk$number"
done
check "clones take no space" takes_at_most "$SPACE_BYTES"
rm -r "$vms/cloned"
sleep 1
check "they keep what they show" test "$(taken)" -ge "$SPACE_BYTES"
rm "$vms/clones/disk2" "$vms/clones/disk1"
rm -r "$vms/clones"
comes_back "with the last of them it comes back" 0
check_same "nothing is left of them" "" "$(find "$CCNFS_STATE/overlays" -type f)"
stop_node "$mnt" "$node_pid"
finish
