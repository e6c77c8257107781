#!/bin/bash
# VM disks where the disk below is full, fails or loses power: what was answered is there.
#
#   SECTIONS     which parts run, in this order: "dsync nospace failing"
#   SEED         of what is written; printed
#   CCNFS_DEBUG  the debug build, whose fdatasync can be made to fail (.build/debug/ccnfs)
if [ "$(id -u)" -eq 0 ] && [ -z "${VM_FAULTS_NAMESPACE:-}" ]; then
    # A mount namespace of its own, in which the boot id can be another one.
    VM_FAULTS_NAMESPACE=1 exec unshare --mount --propagation private "$BASH" "$0" "$@"
fi
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib-disks.sh"

CCNFS_DEBUG=$(realpath -m "${CCNFS_DEBUG:-$repository/.build/debug/ccnfs}")

begin vm-faults

# state_disk NAME MEBIBYTES: an ext4 of its own, mounted at $work/NAME, that the state lies on from now on
state_disk() {
    stop_node "$mnt" "$pid"
    truncate -s "${2}M" "$work/$1.ext4"
    mke2fs -q -F -t ext4 -m 0 "$work/$1.ext4"
    mkdir "$work/$1"
    mount -o loop "$work/$1.ext4" "$work/$1"
    on_exit umount -l "$work/$1"
    use_home "$work/$1/home"
    ccnfs trust add ccnx:/mycorp.com "${key%.pem}.pub" > "$work/trust.log"
    publish small "$small"
    node
}

# state_disk_gone NAME: the usual state again
state_disk_gone() {
    stop_node "$mnt" "$pid"
    umount "$work/$1"
    check "the filesystem below is clean" e2fsck -fn "$work/$1.ext4"
    use_home "$work/home"
    node
}

# ---- writes that are durable by themselves

boot_number=0
another_boot() {
    boot_number=$((boot_number + 1))
    printf '00000000-0000-4000-8000-%012d\n' "$boot_number" > "$work/boot_id"
}

section_dsync() {
    local disk place round
    if [ "$(id -u)" -ne 0 ]; then
        skip "durable writes and a power cut" "needs root"
        return
    fi
    stop_node "$mnt" "$pid"
    another_boot
    mount --bind "$work/boot_id" /proc/sys/kernel/random/boot_id
    node
    state_disk power 512
    deploy durable small
    disk=$home_vms/durable/disk0
    sync "$disk"
    head -c 4096 /dev/zero | tr '\0' '\377' > "$work/full-block"
    for round in 1 2 3; do
        # O_DSYNC, as dd has it; then RWF_DSYNC. Of the first block a part; over the template's data and over its
        # holes; written before and not.
        check "writes with O_DSYNC and RWF_DSYNC are answered, then the power is cut" eval "dd if='$work/full-block' \
            of='$disk' bs=4096 seek=$((5000 + round)) oflag=dsync conv=notrunc status=none && calls dsync '$disk' $round \
            $((4096 + round * 2048)) $((3 * MIB + round * 2048)) $((40 * MIB + round * 2048)) --cut '$work/power'"
        kill_node
        umount "$work/power"
        another_boot
        mount -o loop "$work/power.ext4" "$work/power"
        node
        check "after power cut $round they are there, without an fsync" python3 - "$disk" "$round" << 'PYTHON'
import os
import sys

disk, last = os.open(sys.argv[1], os.O_RDONLY), int(sys.argv[2])
for place in (4096, 3 << 20, 40 << 20):
    at = place + last * 2048
    assert os.pread(disk, 4096, at) == bytes([last]) * 4096, at
    if last > 1:
        assert os.pread(disk, 2048, at - 2048) == bytes([last - 1]) * 2048, at - 2048
for number in range(1, last + 1):
    assert os.pread(disk, 4096, (5000 + number) * 4096) == b"\xff" * 4096, number
PYTHON
    done
    check "what nobody wrote is the template" cmp -n $((12 * MIB)) -i $((4 * MIB)) "$small" "$disk"
    state_disk_gone power
    stop_node "$mnt" "$pid"
    umount /proc/sys/kernel/random/boot_id
    node
}

# ---- a full disk

section_nospace() {
    local disk victim written problem again
    if [ "$(id -u)" -ne 0 ]; then
        skip "a full disk" "needs root"
        return
    fi
    state_disk full 128
    deploy victim small
    noise "$home_vms/victim/disk0" 0 $((24 * MIB))
    mkdir "$home_vms/victim/.snapshots/s"
    deploy writer small
    disk=$home_vms/writer/disk0
    truncate -s 1G "$disk"
    # fill [OPTION...]: sets written to the pieces that were answered so far, problem to the error
    fill() { read -r written problem <<< "$(calls fill "$disk" --seed "$SEED" "$@")"; }
    fill --first 0
    check_same "a writer on a full disk gets ENOSPC" ENOSPC "$problem"
    note "$written pieces of 64 KiB were answered"
    all_there() { calls fill "$disk" --seed "$SEED" --first 0 --count "$written" --verify; }
    check "all that was answered is there" all_there
    forget_pages "$disk"
    check "also past the kernel's pages" all_there
    again=$written
    fill --first "$written"
    check_same "it stays full" "ENOSPC" "$problem"
    # There may be no room for the commit.
    check "an fsync succeeds or says why not" grep -qiE '^$|no space' <(sync "$disk" 2>&1 || true; echo)
    check "what blocks hold can be written again" dd if="$disk" of="$disk" bs=64k count=16 conv=notrunc status=none
    kill_node
    node
    check "the node is killed and starts again on the full disk; all that was answered is there" all_there
    # A snapshot or none, never half of one.
    if mkdir "$home_vms/writer/.snapshots/full" 2> "$work/full.log"; then
        check "a snapshot on a full disk is whole" cmp "$disk" "$home_vms/writer/.snapshots/full/disk0"
        check "and goes again" rmdir "$home_vms/writer/.snapshots/full"
    else
        check "a snapshot that does not fit says so" grep -qi 'no space' "$work/full.log"
        check_same "and is none" "" "$(ls "$home_vms/writer/.snapshots")"
    fi
    check "all that was answered is there" all_there
    check "a snapshot is dropped on a full disk" rmdir "$home_vms/victim/.snapshots/s"
    check "a VM is removed on a full disk" rm -r "$home_vms/victim"
    ccnfs reclaim > "$work/reclaim.log" 2>&1 || true
    check "with room again an fsync succeeds" wait_until 30 sync "$disk"
    fill --first "$again"
    check "the writer goes on" test $((written - again)) -gt $((12 * 16))
    note "$((written - again)) pieces more after the removal"
    check "all of it is there" all_there
    check "a hole is punched on a full disk" fallocate -p -o $((16 * MIB)) -l $((16 * MIB)) "$disk"
    sync "$disk" 2> /dev/null || true
    check "and makes room" wait_until 30 \
        dd if=/dev/urandom of="$disk" bs=1M seek=900 count=8 conv=notrunc,fsync status=none
    victim=$(calls fill "$disk" --seed "$SEED" --first 0 --count 256 --verify)
    check_same "below it all is there" "256 none" "$victim"
    state_disk_gone full
}

# ---- a disk below that fails

section_failing() {
    local disk=$home_vms/failing/disk0 other=$home_vms/well/disk0
    if [ ! -x "$CCNFS_DEBUG" ]; then
        skip "a failed fdatasync" "there is no $CCNFS_DEBUG: make build"
        return
    fi
    stop_node "$mnt" "$pid"
    release=$CCNFS
    CCNFS=$CCNFS_DEBUG
    CCNFS_FAIL_FDATASYNC=1 node
    deploy failing small
    deploy well small
    cp "$small" "$work/model"
    noise "$disk" "$work/model" "$MIB" 100000
    answers "the fsync whose fdatasync fails is EIO" EIO fsync "$disk"
    answers "then every read is" EIO read "$disk" "$MIB"
    answers "of what nobody wrote, too" EIO read "$disk" $((40 * MIB))
    answers "and every write" EIO write "$disk" "$MIB"
    answers "and every fsync" EIO fsync "$disk"
    check "the cause is named" test -n "$(getfattr --only-values -n user.ccnfs.error "$disk" 2> /dev/null)"
    note "$(getfattr --only-values -n user.ccnfs.error "$disk" 2> /dev/null)"
    check "ccnfs vms says that it is out of service" grep -q 'failing.*OUT OF SERVICE' <(ccnfs vms)
    check "another VM's disk is written" noise "$other" 5000 5000
    check "and synchronized" sync "$other"
    check "ccnfs verify --disk puts it back into service" ccnfs verify --disk "$disk"
    check "its blocks are what was written" cmp "$work/model" "$disk"
    noise "$disk" "$work/model" $((MIB + 50000)) 100000
    check "it is written and synchronized" sync "$disk"
    check "and read" cmp "$work/model" "$disk"
    stop_node "$mnt" "$pid"

    # ---- a snapshot that cannot be made durable
    CCNFS_FAIL_FDATASYNC=1 node
    noise "$disk" "$work/model" $((2 * MIB)) 100000
    answers "the mkdir of a snapshot whose fdatasync fails is EIO" EIO mkdir "$home_vms/failing/.snapshots/s"
    check_same "and there is no snapshot" "" "$(ls "$home_vms/failing/.snapshots" 2> /dev/null)"
    check "after ccnfs verify --disk" ccnfs verify --disk "$disk"
    check "all that was answered is there" cmp "$work/model" "$disk"
    check "and a snapshot can be taken" mkdir "$home_vms/failing/.snapshots/s"
    CCNFS=$release
    restart
    check "after a restart all is there" cmp "$work/model" "$disk"
    check "in the snapshot too" cmp "$work/model" "$home_vms/failing/.snapshots/s/disk0"
    rmdir "$home_vms/failing/.snapshots/s"
    rm -r "$home_vms/failing" "$home_vms/well"
}

setup_disks
run_sections dsync nospace failing
finish
