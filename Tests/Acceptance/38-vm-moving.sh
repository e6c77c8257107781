#!/bin/bash
# VMs that go elsewhere: exported to another node, kept on another filesystem, backed up and restored.
#
#   SECTIONS  which parts run, in this order: "moving stores backup"
#   SEED      of what is written; printed
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib-disks.sh"

begin vm-moving

# ---- a VM goes to another node

section_moving() {
    local file=$work/mover.vm other=$work/mnt-other size port other_pid place
    port=$(free_port)
    stop_node "$mnt" "$pid"
    node_options=(--listen "tcp:127.0.0.1:$port")
    node
    deploy mover pair
    cp "$small" "$work/model0"
    cp "$second" "$work/model1"
    noise "$home_vms/mover/disk0" "$work/model0" $((7 * MIB + 100)) $((3 * MIB))
    noise "$home_vms/mover/disk1" "$work/model1" $((16 * MIB)) 1000
    mkdir "$home_vms/mover/.snapshots/s"
    cp "$work/model0" "$work/model0.s"
    noise "$home_vms/mover/disk0" "$work/model0" $((9 * MIB)) "$MIB"
    fallocate -p -o 1MiB -l 1MiB "$home_vms/mover/disk0"
    fallocate -p -o 1MiB -l 1MiB "$work/model0"
    # A hole of a blank disk, copied over the template's data.
    truncate -s 4M "$home_vms/mover/blank"
    calls copy "$home_vms/mover/blank" "$home_vms/mover/disk0" --piece "$MIB" --to $((3 * MIB)) --length "$MIB" > "$work/copy.log"
    fallocate -p -o 3MiB -l 1MiB "$work/model0"
    check "a snapshot is exported" ccnfs export-vm mover@s "$work/snapshot.vm"
    check "a VM that stays is exported with --keep" ccnfs export-vm mover "$work/kept.vm" --keep
    answers "and can be written" OK open-write "$home_vms/mover/disk0"
    hold "$home_vms/mover/disk0"
    refuses "a VM with an open disk does not move" "$TEMPORARY" 'open|use|busy' ccnfs export-vm mover "$work/open.vm"
    end_process "$holder"
    check "and no file is left" test ! -e "$work/open.vm"
    check "a VM is exported" ccnfs export-vm mover "$file"
    size=$(stat -c %s "$file")
    note "84 MiB of disks with 4 MiB written are a file of $size bytes"
    check "its file has what was written, and little more" test "$size" -gt $((3 * MIB)) -a "$size" -lt $((8 * MIB))
    answers "the source cannot be written" EROFS open-write "$home_vms/mover/disk0"
    check "but read" cmp "$work/model0" "$home_vms/mover/disk0"
    check "and ccnfs vms says that it moved" grep -qi 'mover.*moved' <(ccnfs vms)
    refuses "over a file that is there" "$CANNOT_CREATE" 'kept\.vm' ccnfs export-vm mover@s "$work/kept.vm"
    refuses "a VM that is not there" "$NO_INPUT" 'nowhere' ccnfs export-vm nowhere "$work/nowhere.vm"
    restart
    answers "also after a restart it cannot be written" EROFS open-write "$home_vms/mover/disk0"

    use_home "$work/other"
    ccnfs trust add ccnx:/mycorp.com "${key%.pem}.pub" > "$work/trust.log"
    start_node "$other" --route "ccnx:/mycorp.com=tcp:127.0.0.1:$port"
    other_pid=$node_pid
    wait_until 20 test -f "$other/mycorp.com/pair/disk0" || not_ok "the second node follows the first" "$(tail -n 5 "$node_log")"
    # A byte in each tenth of the file, and the file cut off.
    for place in 1 2 3 4 5 6 7 8 9; do
        cp "$file" "$work/damaged.vm"
        python3 - "$work/damaged.vm" $((size * place / 10)) << 'PYTHON'
import sys

with open(sys.argv[1], "r+b") as file:
    file.seek(int(sys.argv[2]))
    byte = file.read(1)[0]
    file.seek(int(sys.argv[2]))
    file.write(bytes([byte ^ 0x10]))
PYTHON
        refuses "a byte damaged at $place/10 of the file" "$DATA" 'damaged' ccnfs import-vm "$work/damaged.vm"
    done
    for place in 0 17 $((size / 2)) $((size - 1)); do
        head -c "$place" "$file" > "$work/damaged.vm"
        refuses "a file cut off at $place" "$DATA" 'damaged' ccnfs import-vm "$work/damaged.vm"
    done
    refuses "a file that is none" "$DATA" 'second' ccnfs import-vm "$second"
    refuses "a file that is not there" "$NO_INPUT" 'none' ccnfs import-vm "$work/none.vm"
    check_same "nothing is visible of them" "" "$(ls "$other/localhost")"
    check "a VM is imported" ccnfs import-vm "$file"
    check "with its bytes" cmp "$work/model0" "$other/localhost/mover/disk0"
    check "all its disks" cmp "$work/model1" "$other/localhost/mover/disk1"
    cp "$work/model0" "$work/model0.other"
    noise "$other/localhost/mover/disk0" "$work/model0.other" $((7 * MIB)) 500000
    check "it is written" cmp "$work/model0.other" "$other/localhost/mover/disk0"
    refuses "the same export again" "$CANNOT_CREATE" 'mover|already' ccnfs import-vm "$file"
    refuses "under another name too" "$CANNOT_CREATE" 'import|already' ccnfs import-vm "$file" --name mover-2
    check "with --clone it is another VM" ccnfs import-vm "$file" --name mover-2 --clone
    check "with the exported bytes" cmp "$work/model0" "$other/localhost/mover-2/disk0"
    check "a snapshot is imported as a VM" ccnfs import-vm "$work/snapshot.vm" --name from-snapshot
    check "with the snapshot's bytes" cmp "$work/model0.s" "$other/localhost/from-snapshot/disk0"
    check "a snapshot is taken there" mkdir "$other/localhost/mover/.snapshots/s"
    check "and dropped" rmdir "$other/localhost/mover/.snapshots/s"
    check "a VM is removed there" rm -r "$other/localhost/mover-2"
    stop_node "$other" "$other_pid"
    start_node "$other" --route "ccnx:/mycorp.com=tcp:127.0.0.1:$port"
    other_pid=$node_pid
    check "after a restart it is there" cmp "$work/model0.other" "$other/localhost/mover/disk0"
    # There and back again.
    check "it is exported there" ccnfs export-vm mover "$work/back.vm"
    answers "and cannot be written there" EROFS open-write "$other/localhost/mover/disk0"
    stop_node "$other" "$other_pid"
    use_home "$work/home"
    check "it comes back beside what it left behind" ccnfs import-vm "$work/back.vm" --name returned
    check "with what was written there" cmp "$work/model0.other" "$home_vms/returned/disk0"
    noise "$home_vms/returned/disk0" "$work/model0.other" 5000 5000
    check "and goes on" cmp "$work/model0.other" "$home_vms/returned/disk0"
    check "what it left behind is as it was" cmp "$work/model0" "$home_vms/mover/disk0"
    rm -r "$home_vms/returned"
    check "the source's snapshot is dropped" rmdir "$home_vms/mover/.snapshots/s"
    check "and the source removed" rm -r "$home_vms/mover"
    node_options=()
    restart
}

# ---- where written blocks are kept

section_stores() {
    local place=$work/elsewhere file=$work/no-directory before
    if [ "$(id -u)" -ne 0 ]; then
        skip "written blocks on another filesystem" "needs root"
        return
    fi
    truncate -s 256M "$work/elsewhere.ext4"
    mke2fs -q -F -t ext4 "$work/elsewhere.ext4"
    mkdir "$place"
    mount -o loop "$work/elsewhere.ext4" "$place"
    on_exit umount -l "$place"
    mkdir "$place/vms"
    : > "$file"
    refuses "a file as the place of written blocks" "$USAGE,$DATA,$UNAVAILABLE,$CANNOT_CREATE,$IO_ERROR,$CONFIGURATION,$NO_INPUT" 'no-directory' \
        ccnfs deploy ccnx:/mycorp.com/small astray --vm-store "$file"
    mkdir "$work/memory"
    mount -t tmpfs ccnfs-test "$work/memory"
    on_exit umount -l "$work/memory"
    refuses "a tmpfs" "$USAGE,$DATA,$UNAVAILABLE,$CANNOT_CREATE,$NO_PERMISSION,$CONFIGURATION" 'tmpfs|memory' \
        ccnfs deploy ccnx:/mycorp.com/small astray --vm-store "$work/memory"
    check_same "no VM is left of them" "" "$(find "$home_vms" -name astray)"
    check "ccnfs deploy --vm-store" ccnfs deploy ccnx:/mycorp.com/small away --vm-store "$place/vms"
    deploy here small
    cp "$small" "$work/model"
    before=$(overlay_bytes)
    noise "$home_vms/away/disk0" "$work/model" $((3 * MIB)) $((8 * MIB))
    sync "$home_vms/away/disk0"
    check "written blocks are there" test "$(allocated_bytes "$place/vms")" -ge $((8 * MIB))
    check "and not in the state" test $(($(overlay_bytes) - before)) -lt "$MIB"
    check "a snapshot of it" mkdir "$home_vms/away/.snapshots/s"
    cp "$work/model" "$work/model.s"
    noise "$home_vms/away/disk0" "$work/model" $((5 * MIB)) $((4 * MIB))
    check "its blocks are there too" test "$(allocated_bytes "$place/vms")" -ge $((12 * MIB))
    check "a clone into a VM of the state" cp "$home_vms/away/disk0" "$home_vms/here/clone"
    check "has its bytes" cmp "$work/model" "$home_vms/here/clone"
    rm "$home_vms/here/clone"
    same_as_written() { cmp "$work/model" "$home_vms/away/disk0" && cmp "$work/model.s" "$home_vms/away/.snapshots/s/disk0"; }
    restart
    check "after a restart it is there" same_as_written

    # ---- a store that is not there
    stop_node "$mnt" "$pid"
    umount "$place"
    node
    check "without the store another VM is read" cmp "$small" "$home_vms/here/disk0"
    check "and written" noise "$home_vms/here/disk0" 0 5000
    # The disk is there with EIO, or is not to be seen; nobody can put another in its place or remove it.
    check "its VM's disk is not served" test "$(calls errno read "$home_vms/away/disk0" $((3 * MIB)))" != OK
    check "nor written" test "$(calls errno write "$home_vms/away/disk0" $((3 * MIB)))" != OK
    check "nor made anew" test "$(calls errno create "$home_vms/away/disk0")" != OK
    check "nor is the VM removed" test -z "$(rm -r "$home_vms/away" 2> /dev/null && echo removed)"
    check "nor rolled back" test "$(ccnfs rollback away s > "$work/rollback.log" 2>&1 && echo rolled)" != rolled
    check "ccnfs vms says that it is out of service" grep -q 'away.*OUT OF SERVICE' <(ccnfs vms)
    check "and names the place" grep -q "away.*elsewhere" <(ccnfs vms)
    check_same "and nothing is put in its place" "" "$(ls -A "$place")"
    stop_node "$mnt" "$pid"
    mount -o loop "$work/elsewhere.ext4" "$place"
    start_node "$mnt" --vm-store "$place/vms"
    pid=$node_pid
    check "with it all is as it was" same_as_written
    before=$(allocated_bytes "$place/vms")
    deploy newer small
    noise "$home_vms/newer/disk0" 0 $((8 * MIB))
    sync "$home_vms/newer/disk0"
    check "mount --vm-store is the place for new VMs" test $(($(allocated_bytes "$place/vms") - before)) -ge $((8 * MIB))
    rm -r "$home_vms/newer" "$home_vms/here"
    rmdir "$home_vms/away/.snapshots/s"
    rm -r "$home_vms/away"
    ccnfs reclaim > "$work/reclaim.log"
    place_is_empty() { [ "$(allocated_bytes "$place/vms")" -lt "$MIB" ]; }
    check "removal gives the space back" wait_until 30 place_is_empty
    stop_node "$mnt" "$pid"
    refuses "mount --vm-store on a file" "$USAGE,$DATA,$UNAVAILABLE,$CANNOT_CREATE,$IO_ERROR,$CONFIGURATION,$NO_INPUT" 'no-directory' \
        ccnfs mount "$mnt" --vm-store "$file"
    check "mounts nothing" test -z "$(findmnt -n --mountpoint "$mnt")"
    node
}

# ---- backup

section_backup() {
    local vm=$home_vms/saved writer
    deploy saved pair
    cp "$small" "$work/model0"
    cp "$second" "$work/model1"
    noise "$vm/disk0" "$work/model0" $((2 * MIB)) $((5 * MIB))
    noise "$vm/disk1" "$work/model1" 700 5000
    mkdir "$vm/.snapshots/s"
    cp "$work/model0" "$work/model0.s"
    noise "$vm/disk0" "$work/model0" $((4 * MIB)) "$MIB"
    deploy busy pair
    "$scripts/disk-calls.py" ping-pong "$home_vms/busy/disk0" "$home_vms/busy/disk1" > "$work/writing" 2>&1 &
    writer=$!
    background "$writer"
    wait_until 20 grep -q writing "$work/writing" || not_ok "two writers write" "$(cat "$work/writing")"
    check "a running node is backed up" ccnfs backup "$work/backup-running"
    check "while its writers go on" kill -0 "$writer"
    end_process "$writer"
    noise "$vm/disk0" $((30 * MIB)) "$MIB"
    mv "$work/noise" "$work/last"
    refuses "not into what it is a copy of" "$USAGE" 'lost with it' ccnfs backup "$CCNFS_STATE/backup"
    refuses "into a place that is there" "$CANNOT_CREATE" 'backup-running' ccnfs backup "$work/backup-running"
    stop_node "$mnt" "$pid"
    check "a stopped node is backed up" ccnfs backup "$work/backup-stopped"
    mv "$CCNFS_STATE" "$work/state-before"
    saved() {
        cmp "$work/model0" "$vm/disk0" && cmp "$work/model1" "$vm/disk1" && cmp "$work/model0.s" "$vm/.snapshots/s/disk0"
    }
    check "the backup of the running node is restored" cp -a --sparse=always "$work/backup-running" "$CCNFS_STATE"
    node
    check "with what was there at that moment" saved
    check "a VM that was being written is one moment of its disks" calls moment "$home_vms/busy"/disk{0,1}
    check "templates are there" cmp "$small" "$mnt/mycorp.com/small/disk0"
    noise "$vm/disk0" "$work/model0" $((6 * MIB)) 5000
    check "what is written then is synchronized" sync "$vm/disk0"
    check "and there" saved
    check "verify finds nothing wrong" ccnfs verify
    stop_node "$mnt" "$pid"
    rm -rf "${CCNFS_STATE:?}"
    check "the backup of the stopped node is restored" cp -a --sparse=always "$work/backup-stopped" "$CCNFS_STATE"
    node
    check "with the last writes" cmp -i $((30 * MIB)):0 -n "$MIB" "$vm/disk0" "$work/last"
    stop_node "$mnt" "$pid"
    rm -rf "${CCNFS_STATE:?}"
    mv "$work/state-before" "$CCNFS_STATE"
    node
    rmdir "$vm/.snapshots/s"
    rm -r "$vm" "$home_vms/busy"
}

setup_disks
run_sections moving stores backup
finish
