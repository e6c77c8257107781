#!/bin/bash
# A flush that takes seconds must not undo what others commit meanwhile: while a disk is flushed to which much was
# written, a clone of it is flushed, a snapshot between the two is dropped, and its blocks are merged into those
# that the slow flush is about to commit. Everything is there, also after a restart. XFS lets others go on beside.
#
#   SLOW_MIB  that are written before the slow flush (2000)
#   TRIES     until the flush was slow enough for all of that (3)
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib.sh"

readonly SLOW_MIB=${SLOW_MIB:-2000} TRIES=${TRIES:-3}
# slow-flush.py's: the flush was through before all of it had happened.
readonly TOO_QUICK=3

begin slow-flush
need_root
command -v mkfs.xfs > /dev/null || skip_all "mkfs.xfs is not installed: make setup"
mkdir "$work/below" "$work/quick"
mnt=$work/mnt
slow() { timeout 200 "$scripts/slow-flush.py" "$@"; }

# A file that is written for the first time is the slowest: a filesystem of its own for each try.
one_try() {
    local status=0 said
    truncate -s $((SLOW_MIB + 2048))M "$work/below.xfs"
    mkfs.xfs -q "$work/below.xfs"
    mount -o loop "$work/below.xfs" "$work/below"
    on_exit umount -l "$work/below"
    # What the node notes is quick; only the VMs' blocks are slow.
    mount -t tmpfs -o size=256m tmpfs "$work/quick"
    on_exit umount -l "$work/quick"
    mkdir "$work/below/vms"
    use_home "$work/quick/home"
    start_node "$mnt" --vm-store "$work/below/vms"
    said=$(slow write "$mnt/localhost" --ccnfs "$CCNFS" --mib "$SLOW_MIB" 2>&1) || status=$?
    note "$said"
    case $status in
        0) overtaken=yes ;;
        "$TOO_QUICK") ;;
        *) not_ok "a slow flush, a quick one and a dropped snapshot" "$said"$'\n'"$(tail -n 5 "$node_log")" ;;
    esac
    check "everything shows what was written" slow look "$mnt/localhost"
    stop_node "$mnt" "$node_pid"
    start_node "$mnt" --vm-store "$work/below/vms"
    check "also after a restart" slow look "$mnt/localhost"
    check "verify finds nothing wrong" ccnfs verify
    stop_node "$mnt" "$node_pid"
    umount "$work/below" "$work/quick"
    rm "$work/below.xfs"
}

overtaken=no
for ((try = 1; try <= TRIES; try++)); do
    one_try
    [ "$overtaken" = no ] || break
done
[ "$overtaken" = yes ] || skip "blocks are merged while a flush is under way" "no flush took long enough"
finish
