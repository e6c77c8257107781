#!/bin/bash
# The power is cut: the filesystem of the state directory stops without writing its journal, the machine
# "boots" with another boot id, and everything an fsync or an O_DSYNC write answered is there.
if [ "$(id -u)" -eq 0 ] && [ -z "${POWER_CUT_NAMESPACE:-}" ]; then
    # A mount namespace of its own, in which the boot id can be another one.
    POWER_CUT_NAMESPACE=1 exec unshare --mount --propagation private "$BASH" "$0" "$@"
fi
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib.sh"

readonly CUTS=${CUTS:-8}
readonly NAME=ccnx:/mycorp.com/app1/base

begin power-cut
need_root

boot_number=0
another_boot() {
    boot_number=$((boot_number + 1))
    printf '00000000-0000-4000-8000-%012d\n' "$boot_number" > "$work/boot_id"
}
another_boot
mount --bind "$work/boot_id" /proc/sys/kernel/random/boot_id

image=$work/base.raw
dd if=/dev/urandom of="$image" bs=1M count=80 status=none
truncate -s 256M "$image"
truncate -s 1G "$work/power.ext4"
mke2fs -q -F -t ext4 "$work/power.ext4"
mkdir "$work/power"
start_power() { mount -o loop "$work/power.ext4" "$work/power"; }
# FS_IOC_SHUTDOWN with FS_SHUTDOWN_FLAGS_NOLOGFLUSH: nothing in memory reaches the disk any more.
cut_power() {
    python3 - "$work/power" << 'PYTHON'
import fcntl
import os
import struct
import sys

fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack("I", 2))
PYTHON
}
start_power
on_exit umount -l "$work/power"

use_home "$work/power/home"
key=$work/publisher.pem
make_key ccnx:/mycorp.com "$key"
check "a template is published" ccnfs publish "$image" "$NAME" --key "$key"
mnt=$work/mnt
start_node "$mnt"
mkdir "$mnt/localhost/cut"
disk=$mnt/localhost/cut/disk0
cp "$mnt/mycorp.com/app1/base/disk0" "$disk"
check "fsync makes the new disk durable" sync "$disk"

seed=${SEED:-$RANDOM}
base=$image
for ((round = 1; round <= CUTS; round++)); do
    log=$work/writes-$round
    : > "$log"
    "$scripts/answered-writes.py" write "$disk" "$log" --seed "$seed$round" --seconds 60 > "$work/writer.log" 2>&1 &
    writer_pid=$!
    on_exit end_process "$writer_pid"
    wait_until 30 grep -q 'answered dsync' "$log" || not_ok "writes are answered" "$(cat "$work/writer.log" "$node_log")"
    sleep "$((round % 2)).$((RANDOM % 10))"
    cut_power
    kill -9 "$node_pid"
    wait "$node_pid" 2> /dev/null || true
    wait "$writer_pid" || true
    unmount_hard "$mnt"
    umount "$work/power"
    another_boot
    start_power
    start_node "$mnt"
    note "round $round, seed $seed$round"
    check "after power cut $round, all that was promised is there" \
        "$scripts/answered-writes.py" verify "$disk" "$log" --seed "$seed$round" --base "$base" \
        --adopt "$work/adopted-$round" --power-cut
    base=$work/adopted-$round
done
check "what no writer touched is the template" cmp -i 67108864 "$image" "$disk"
check "the template still compares equal" cmp "$image" "$mnt/mycorp.com/app1/base/disk0"
check "verify finds nothing wrong" ccnfs verify
stop_node "$mnt" "$node_pid"
umount "$work/power"
check "the filesystem below is clean" e2fsck -fn "$work/power.ext4"
finish
