#!/bin/bash
# A VM becomes the next version of its template, or a new template: the bytes, what it reads, who it comes from.
#
#   GUEST   0: no guest boots from the new version
#   SPOTS   single blocks that are written all over a disk before it is republished (200)
#   SEED    of their places; printed
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib-disks.sh"

readonly GUEST=${GUEST:-1} SPOTS=${SPOTS:-200}
readonly PARTITION_OFFSET=$MIB SEGMENT_BYTES=32768
readonly NAME=ccnx:/mycorp.com/app1/linuxvm
# What a republish may read besides the segments that have written blocks.
readonly READ_MORE=$((2 * MIB))

begin republish
need_image
setup_disks
stop_node "$mnt" "$pid"
port=$(free_port)
node_options=(--listen "tcp:127.0.0.1:$port")
node
check "the image is published" publish app1/linuxvm "$raw"
template=$mnt/mycorp.com/app1/linuxvm
vm=$home_vms/web-01
model=$work/model
ccnfs deploy "$NAME" web-01 > "$work/deploy.log"
cp --sparse=always "$raw" "$model"

# republish REPORT VM [OPTION...]: what it reports goes to a file
republish() {
    ccnfs republish "${@:2}" --key "$key" --json > "$1" 2> "$work/republish.log" || {
        cat "$work/republish.log" >&2
        return 1
    }
}
# Reports may be one line per event; the result is the last document.
field() { jq -rs ".[-1] | $1" "$2"; }

# ---- a version

# As a guest would: in the filesystem on the disk.
if [ "$(id -u)" -eq 0 ]; then
    loop=$(losetup --find --show --offset "$PARTITION_OFFSET" "$vm/disk0")
    on_exit losetup --detach "$loop"
    mkdir "$work/guest"
    mount "$loop" "$work/guest"
    on_exit umount -l "$work/guest"
    echo republished > "$work/guest/root/marker"
    head -c $((8 * MIB)) /dev/urandom > "$work/guest/root/noise"
    sha256sum < "$work/guest/root/noise" > "$work/guest/root/noise.sum"
    umount "$work/guest"
    detach "$loop"
    cp --sparse=always "$vm/disk0" "$model"
else
    noise "$vm/disk0" "$model" $((1000 * MIB)) $((8 * MIB))
fi
sync "$vm/disk0"
written=$(getfattr --only-values -n user.ccnfs.written "$vm/disk0" 2> /dev/null)
started=$(milliseconds)
check "a VM is republished" republish "$work/version.json" web-01
note "in $(($(milliseconds) - started)) ms"
check_same "as version 2" 2 "$(field .version "$work/version.json")"
read_bytes=$(field '[.disks[].readBytes] | add' "$work/version.json")
note "$written bytes were written, $read_bytes were read, of $(stat -c %s "$vm/disk0")"
check "what it read is of the order of what was written" \
    test "$read_bytes" -ge $((7 * MIB)) -a "$read_bytes" -le $((3 * written + READ_MORE))
check "few segments are new" test "$(field .newSegments "$work/version.json")" -le $(((3 * written + READ_MORE) / SEGMENT_BYTES))
check "the new version is the VM's disk" cmp "$model" "$template/disk0"
check "the old one is as it was" cmp "$raw" "$template/.versions/1/disk0"
check "the VM is as it was" cmp "$model" "$vm/disk0"
check_same "the record names the parent's version" 1 "$(jq .parentVersion "$template/template.json")"
check_same "and the VM, and what that came from" "web-01 $NAME 1" \
    "$(jq -r '.origin | "\(.vm) \(.template) \(.version)"' "$template/template.json")"
check "verify finds nothing wrong" ccnfs verify
mkdir "$home_vms/web-02"
check "another VM is deployed from it by cp" cp "$template/disk0" "$home_vms/web-02/disk0"
check "and has its bytes" cmp "$model" "$home_vms/web-02/disk0"
if [ "$(id -u)" -eq 0 ] && [ "$GUEST" != 0 ]; then
    check "it boots and has what was written" "$scripts/guest.py" --disk "$home_vms/web-02/disk0" --cache none \
        --log "$work/console.log" --timeout 400 --run 'grep -qx republished /root/marker' \
        --run 'sha256sum < /root/noise | cmp - /root/noise.sum'
else
    skip "the new version boots" "needs root, and GUEST other than 0"
fi
check "ccnfs diff of a VM and its template" reports "$work/diff.json" diff web-01
changed=$(jq '.disks[0].changedBytes' "$work/diff.json")
check "says as much as was written" test "$changed" -ge $((8 * MIB)) -a "$changed" -le "$written"
check "of two versions" reports "$work/diff.json" diff "$NAME@1" "$NAME@2"
changed=$(jq '.disks[0].changedBytes' "$work/diff.json")
check "says no more than segments of it" test "$changed" -ge $((8 * MIB)) -a "$changed" -le $((3 * written + READ_MORE))

# ---- from a snapshot, as a new template

mkdir "$vm/.snapshots/before"
cp "$model" "$model.before"
noise "$vm/disk0" "$model" $((700 * MIB)) 500000
check "a snapshot is republished as a new template" republish "$work/new.json" web-01@before ccnx:/mycorp.com/app2/web --property role=web
check_same "as version 1" 1 "$(field .version "$work/new.json")"
check "it is the snapshot's disk, not the VM's" cmp "$model.before" "$mnt/mycorp.com/app2/web/disk0"
check_same "with its property" web "$(jq -r .properties.role "$mnt/mycorp.com/app2/web/template.json")"
check_same "and where it comes from" "web-01 before" \
    "$(jq -r '.origin | "\(.vm) \(.snapshot)"' "$mnt/mycorp.com/app2/web/template.json")"
check_same "the template it was deployed from is still at version 2" 2 "$(jq .version "$template/template.json")"
check "the new template deploys" ccnfs deploy ccnx:/mycorp.com/app2/web web-03
check "with its bytes" cmp "$model.before" "$home_vms/web-03/disk0"
refuses "a snapshot that is not there" "$NO_INPUT" 'nothing' ccnfs republish web-01@nothing --key "$key"
refuses "a VM that is not there" "$NO_INPUT" 'nowhere' ccnfs republish nowhere --key "$key"
other=$work/other.pem
ccnfs key generate --out "$other" > "$work/key.log"
refuses "a key that may not sign for the name" "$NO_PERMISSION" 'trust' ccnfs republish web-01 --key "$other"
mkdir "$home_vms/blank"
truncate -s 1G "$home_vms/blank/disk0"
refuses "a VM of no template, without a name" "$USAGE,$DATA,$NO_INPUT" 'name|template' ccnfs republish blank --key "$key"
noise "$home_vms/blank/disk0" 5000 70000
check "with a name it is a template" republish "$work/blank.json" blank ccnx:/mycorp.com/blank
check "with its bytes" cmp "$home_vms/blank/disk0" "$mnt/mycorp.com/blank/disk0"
rmdir "$vm/.snapshots/before"
rm -r "$home_vms/web-02" "$home_vms/web-03" "$home_vms/blank"

# ---- what it reads, block by block

deploy spots small
cp --sparse=always "$small" "$work/spots"
check "single blocks are written all over a disk" python3 - "$home_vms/spots/disk0" "$work/spots" "$SPOTS" "$SEED" << 'PYTHON'
import os
import random
import sys

dice = random.Random(int(sys.argv[4]))
files = [os.open(path, os.O_RDWR) for path in sys.argv[1:3]]
for _ in range(int(sys.argv[3])):
    place, block = dice.randrange(64 * 256) * 4096, dice.randbytes(4096)
    for file in files:
        os.pwrite(file, block, place)
PYTHON
republish "$work/spots.json" spots
read_bytes=$(field '[.disks[].readBytes] | add' "$work/spots.json")
note "$SPOTS blocks of 4 KiB: $read_bytes bytes were read, $(field .newSegments "$work/spots.json") segments are new"
check "a segment at most is read for a block" test "$read_bytes" -le $((SPOTS * SEGMENT_BYTES + READ_MORE))
check "and is new" test "$(field .newSegments "$work/spots.json")" -le "$SPOTS"
check "the bytes are the VM's" cmp "$work/spots" "$mnt/mycorp.com/small/disk0"
# Grown, with a size that is not whole segments, with holes.
truncate -s $((70 * MIB + 12345)) "$home_vms/spots/disk0"
refuses "a disk that is not whole sectors is not republished" "$DATA" 'sector' ccnfs republish spots --key "$key"
truncate -s $((70 * MIB + 12800)) "$home_vms/spots/disk0" "$work/spots"
noise "$home_vms/spots/disk0" "$work/spots" $((70 * MIB)) 12345
fallocate -p -o 2MiB -l 3MiB "$home_vms/spots/disk0"
fallocate -p -o 2MiB -l 3MiB "$work/spots"
republish "$work/spots.json" spots
check "grown and punched it is the VM's, too" cmp "$work/spots" "$mnt/mycorp.com/small/disk0"
check_same "with its size" $((70 * MIB + 12800)) "$(stat -c %s "$mnt/mycorp.com/small/disk0")"
check_same "the next version of its template" 3 "$(field .version "$work/spots.json")"
ccnfs publish "$work/spots" ccnx:/mycorp.com/same --key "$key" --json > "$work/same.json"
check_same "it has the root that publishing its bytes has" "$(field '.disks[0].root' "$work/same.json")" \
    "$(field '.disks[0].root' "$work/spots.json")"
rm -r "$home_vms/spots"

# ---- while it is written

deploy moments pair
"$scripts/disk-calls.py" ping-pong "$home_vms/moments/disk0" "$home_vms/moments/disk1" > "$work/writing" 2>&1 &
writer=$!
background "$writer"
wait_until 20 grep -q writing "$work/writing" || not_ok "two writers write" "$(cat "$work/writing")"
check "a VM under two writers is republished" republish "$work/moments.json" moments ccnx:/mycorp.com/moments
end_process "$writer"
check "its disks are one moment" calls moment "$mnt/mycorp.com/moments"/disk{0,1}
rm -r "$home_vms/moments"

# ---- rebase

noise "$vm/disk0" "$model" $((900 * MIB)) $((16 * MIB))
mkdir "$vm/.snapshots/kept"
noise "$vm/disk0" "$model" $((900 * MIB)) 5000
cp --sparse=always "$model" "$model.rebased"
sync "$vm/disk0"
rmdir "$vm/.snapshots/kept"
before=$(overlay_bytes)
exec 7<> "$vm/disk0"
check "an open VM is republished with --rebase" republish "$work/rebase.json" web-01 --rebase
check_same "as version 3" 3 "$(field .version "$work/rebase.json")"
check "the VM reads the same" cmp "$model" "$vm/disk0"
check "ccnfs diff finds none to its template" reports "$work/diff.json" diff web-01
check_same "not a byte" 0 "$(jq '.disks[0].changedBytes' "$work/diff.json")"
exec 7>&-
left=$(getfattr --only-values -n user.ccnfs.written "$vm/disk0" 2> /dev/null)
check "nothing of it counts as written any more" test "$left" -lt $((64 * 1024))
check "ccnfs vms says the same" grep -q "web-01.*version 3" <(ccnfs vms)
check "reclaim ends" ccnfs reclaim
note "overlays took $before bytes, then $(overlay_bytes); $left bytes are counted as written"
check "the space of its overlay is back" test $((before - $(overlay_bytes))) -ge $((15 * MIB))
forget_pages "$vm/disk0"
check "from the store the VM reads the same" cmp "$model" "$vm/disk0"
noise "$vm/disk0" "$model" $((900 * MIB + 10000)) 20000
check "it is written on" cmp "$model" "$vm/disk0"
restart
check "after a restart it is the same" cmp "$model" "$vm/disk0"
check "verify finds nothing wrong" ccnfs verify

# ---- rebased when others stand on the same blocks

deploy cut small
mkdir "$home_vms/others"
# Its template has other versions by now.
cp --sparse=always "$home_vms/cut/disk0" "$work/cut"
noise "$home_vms/cut/disk0" "$work/cut" 5000 $((3 * MIB))
check "a disk is cloned, then cut" cp "$home_vms/cut/disk0" "$home_vms/others/disk0"
truncate -s 2M "$home_vms/cut/disk0"
check "cut after it was cloned it is republished with --rebase" \
    republish "$work/cut.json" cut ccnx:/mycorp.com/cut --rebase
check "it is as it was" cmp <(head -c $((2 * MIB)) "$work/cut") "$home_vms/cut/disk0"
check "and its clone" cmp "$work/cut" "$home_vms/others/disk0"
check "reclaim ends" ccnfs reclaim
restart
check "after a restart the clone is there" cmp "$work/cut" "$home_vms/others/disk0"
check "and what was cut" cmp <(head -c $((2 * MIB)) "$work/cut") "$home_vms/cut/disk0"
rm -r "$home_vms/cut" "$home_vms/others"

# ---- rebased where blocks lie below an overlay that has none

deploy below pair
mkdir "$home_vms/others"
noise "$home_vms/below/disk0" 0 "$MIB"
cp "$home_vms/below/disk0" "$home_vms/others/disk0"
# Hides the blocks that both stand on, so that their space may go.
noise "$home_vms/others/disk0" 0 "$MIB"
sync "$home_vms/others/disk0"
truncate -s 65M "$home_vms/below/disk0"
cp --sparse=always "$home_vms/below/disk0" "$work/below"
check "a disk that only grew since it was cloned is republished with --rebase" \
    republish "$work/below.json" below ccnx:/mycorp.com/below --rebase
check "reclaim ends" ccnfs reclaim
forget_pages "$home_vms/below/disk0"
check "it is as it was, past the kernel's pages" cmp "$work/below" "$home_vms/below/disk0"
restart
check "and after a restart" cmp "$work/below" "$home_vms/below/disk0"
rm -r "$home_vms/below" "$home_vms/others"

# ---- rebased under a writer

if command -v fio > /dev/null; then
    deploy busy small
    (
        cd "$work"
        fio --name=rebase --filename="$home_vms/busy/disk0" --size=48M --rw=randwrite --bssplit=4k/60:16k/30:64k/10 \
            --ioengine=libaio --iodepth=8 --direct=1 --verify=crc32c --verify_fatal=1 --verify_dump=0 --do_verify=1 \
            --fallocate=none --loops=3 --rate=20m
    ) > "$work/fio.log" 2>&1 &
    writer=$!
    background "$writer"
    rebased=0 bad=''
    while kill -0 "$writer" 2> /dev/null && [ -z "$bad" ]; do
        republish "$work/busy.json" busy ccnx:/mycorp.com/busy --rebase 2> "$work/busy.log" || bad=$(cat "$work/busy.log")
        rebased=$((rebased + 1))
        ccnfs reclaim > "$work/reclaim.log" 2>&1 || bad+=$(cat "$work/reclaim.log")
    done
    check_same "a VM is republished with --rebase over and over while it is written" "" "$bad"
    note "$rebased times"
    writer_status=0
    wait "$writer" || writer_status=$?
    check_same "and what was written verifies" 0 "$writer_status"
    [ "$writer_status" -eq 0 ] || note "$(tail -n 5 "$work/fio.log")"
    rm -r "$home_vms/busy"
else
    skip "a VM is republished with --rebase while it is written" "fio is not installed: make setup"
fi

# ---- a second node

use_home "$work/other"
ccnfs trust add ccnx:/mycorp.com "${key%.pem}.pub" > "$work/trust.log"
start_node "$work/mnt-other" --route "ccnx:/mycorp.com=tcp:127.0.0.1:$port"
other_pid=$node_pid
second_disk=$work/mnt-other/mycorp.com/app1/linuxvm/disk0
check "a second node lists the template" wait_until 20 test -f "$second_disk"
check "its newest version is the republished one" cmp "$model.rebased" "$second_disk"
check "it deploys a VM" ccnfs deploy "$NAME" there
check "with its bytes" cmp -n $((64 * MIB)) "$model.rebased" "$work/mnt-other/localhost/there/disk0"
stop_node "$work/mnt-other" "$other_pid"
use_home "$work/home"

# Withdrawn, the VM that was rebased onto it works on.
check "the version it was rebased onto is withdrawn" ccnfs delete "$NAME" --version 3
check "reclaim ends" ccnfs reclaim
forget_pages "$vm/disk0"
check "the VM works on" cmp "$model" "$vm/disk0"
rm -r "$vm"
stop_node "$mnt" "$pid"
finish
