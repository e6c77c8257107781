#!/bin/bash
# A filesystem on a VM's disk, as a guest has it, under load while the node is killed: its journal is replayed, it
# is clean, and what was synchronized is whole. The same on a snapshot that is taken in the midst of the load, and
# copied to another VM.
#
# The guest is this kernel: ext4 on a loop device on the disk's file, once through the page cache (a blank disk)
# and once with direct I/O (a clone of a template), with discards (Tests/Scripts/guest-files.py works on it).
#
#   ROUNDS  how often each of the two is done (1)
#   LOAD    seconds of load before the snapshot, and again before the node is killed (1.5)
#   SEED    of names and bytes; printed
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib.sh"

readonly ROUNDS=${ROUNDS:-1} LOAD=${LOAD:-1.5} SEED=${SEED:-$RANDOM}
# Nothing on a device whose node is dead may take longer.
readonly DEAD_SECONDS=30

begin guest-load
need_root
use_home "$work/home"
key=$work/publisher.pem
make_key ccnx:/mycorp.com "$key"
mkdir "$work/files" "$work/guest"
head -c 3000000 /dev/urandom > "$work/files/old"
truncate -s 256M "$work/image.raw"
mke2fs -q -F -t ext4 -d "$work/files" "$work/image.raw"
check "an image with a filesystem is published" ccnfs publish "$work/image.raw" ccnx:/mycorp.com/guest --key "$key"
mnt=$work/mnt
start_node "$mnt"
template=$mnt/mycorp.com/guest/disk0
files="$scripts/guest-files.py"
note "seed $SEED"

# attach FILE DIRECT: sets loop
attach() {
    loop=$(losetup --find --show --direct-io="$2" "$1")
    on_exit detach "$loop"
}

# Also from a device whose node is dead: whoever still uses it lets go when he gets his error.
detach() {
    timeout "$DEAD_SECONDS" umount "$work/guest" || umount -l "$work/guest" || true
    timeout "$DEAD_SECONDS" losetup --detach "$1" || true
} > /dev/null 2>&1

# Its journal and nothing else: the counts in the superblock and the list of orphans are mended from it.
recovers() {
    local status=0 said
    said=$(timeout 120 e2fsck -fy "$1" 2>&1) || status=$?
    grep -v -x -E "e2fsck .*|Pass [1-5].*|.*: recovering journal|Setting free (inodes|blocks) count to .*|\
Clearing orphaned inode .*|Free (inodes|blocks) count wrong \(.*|Fix\? yes|.*FILE SYSTEM WAS MODIFIED.*|\
.*: [0-9]+/[0-9]+ files .*|" <<< "$said" && return 1
    [ "$status" -le 1 ] || echo "status $status: $said"
    [ "$status" -le 1 ]
}

# whole TEXT FILE DIRECT [OPTION...]: the filesystem on a disk recovers, is clean, and has what was promised
whole() {
    local text=$1 file=$2 direct=$3
    shift 3
    attach "$file" "$direct"
    check "$text: nothing but the journal is to be mended" recovers "$loop"
    check "$text: it is clean then" timeout 120 e2fsck -fn "$loop"
    check "$text: it mounts" mount "$loop" "$work/guest"
    check "$text: what was synchronized is whole" "$files" verify "$work/guest" "$log" --seed "$seed" "$@"
    [ ! -e "$work/guest/old" ] || check "$text: what the template had is there" cmp "$work/files/old" "$work/guest/old"
    check "$text: and it goes on" \
        "$files" work "$work/guest" "$work/more.log" --seed "$seed" --seconds 0.5
    umount "$work/guest"
    check "$text: clean after that" timeout 120 e2fsck -fn "$loop"
    detach "$loop"
}

# killed NAME DIRECT: load on the disk of the VM of that name, a snapshot, the death of the node
killed() {
    local vm=$mnt/localhost/$1 copy=$mnt/localhost/$1-copy direct=$2 worker
    log=$work/$1.log
    seed=$SEED$1
    attach "$vm/disk0" "$direct"
    [ "$1" = "${1#blank}" ] || check "$1: a filesystem is made on it" mke2fs -q -F -t ext4 "$loop"
    check "$1: the guest mounts it" mount -o discard "$loop" "$work/guest"
    "$files" work "$work/guest" "$log" --seed "$seed" --seconds 120 > "$work/work.log" 2>&1 &
    worker=$!
    on_exit end_process "$worker"
    wait_until 30 grep -q whole "$log" || not_ok "$1: files are made" "$(cat "$work/work.log")"
    sleep "$LOAD"
    echo snapshot >> "$log"
    check "$1: a snapshot is taken under load" mkdir "$vm/.snapshots/midst"
    cp "$log" "$log.snapshot"
    sleep "$LOAD"
    kill -9 "$node_pid"
    wait "$node_pid" 2> /dev/null || true
    check "$1: the load ends with an error when the node dies" wait_until "$DEAD_SECONDS" process_is_gone "$worker"
    end_process "$worker"
    note "$1: $(cat "$work/work.log")"
    detach "$loop"
    unmount_hard "$mnt"
    start_node "$mnt"
    whole "$1 after the death of the node" "$vm/disk0" "$direct"
    mkdir "$copy"
    check "$1: the snapshot's disk is copied to another VM" cp "$vm/.snapshots/midst/disk0" "$copy/disk0"
    log=$log.snapshot
    whole "$1, its snapshot" "$copy/disk0" "$direct" --until snapshot
}

for ((round = 1; round <= ROUNDS; round++)); do
    mkdir "$mnt/localhost/blank-$round" "$mnt/localhost/clone-$round"
    truncate -s 256M "$mnt/localhost/blank-$round/disk0"
    cp "$template" "$mnt/localhost/clone-$round/disk0"
    killed "blank-$round" off
    killed "clone-$round" on
done
check "the template still compares equal" cmp "$work/image.raw" "$template"
check "verify finds nothing wrong" ccnfs verify
stop_node "$mnt" "$node_pid"
left=$(losetup --list --noheadings --output BACK-FILE | grep -F "$work" || true)
check_same "no loop device is left behind" "" "$left"
finish
