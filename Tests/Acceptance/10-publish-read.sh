#!/bin/bash
# A real image is published, mounted and read in every way that a file is read.
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib.sh"

# What `ccnfs publish --json` calls things.
readonly JSON_ROOT='.disks[0].root'
readonly JSON_VERSION='.version'
readonly JSON_NEW_SEGMENTS='.newSegments'

readonly NAME=ccnx:/mycorp.com/app1/linuxvm

begin publish-read
need_image
use_home "$work/home"
key=$work/publisher.pem
make_key ccnx:/mycorp.com "$key"
check_same "the key is readable by its owner alone" 600 "$(stat -c %a "$key")"

# publish_json FILE NAME [OPTION...]: what publish reports, on standard output
publish_json() {
    local file=$1 name=$2
    shift 2
    ccnfs publish "$file" "$name" --key "$key" --json "$@" 2> "$work/publish.log" ||
        { cat "$work/publish.log" >&2; return 1; }
}

# Reports may be one line per event; the result is the last document.
field() { jq -rs ".[-1] | $1" "$2"; }

# ---- publish

before=$(allocated_bytes "$CCNFS_STATE")
check "a dry run succeeds" ccnfs publish "$raw" "$NAME" --key "$key" --dry-run
after=$(allocated_bytes "$CCNFS_STATE")
check "and stores nothing" test $((after - before)) -lt 1048576
check_same "and shows nothing" "" "$(ccnfs list | grep -F linuxvm || true)"

echo '<domain/>' > "$work/domain.xml"
check "the Debian image is published" publish_json "$raw" "$NAME" --property arch=x86_64 --file "$work/domain.xml"
publish_json "$raw" "$NAME" > "$work/again.json"
check_same "publishing the same bytes again adds no segment" 0 "$(field "$JSON_NEW_SEGMENTS" "$work/again.json")"
check "the template is listed" grep -qF linuxvm <(ccnfs list)
check "show names its property" grep -q x86_64 <(ccnfs show "$NAME" --version 1)

# ---- the tree

mnt=$work/mnt
start_node "$mnt"
template=$mnt/mycorp.com/app1/linuxvm
disk=$template/disk0
size=$(stat -c %s "$raw")
check_same "disk0 has the image's size" "$size" "$(stat -c %s "$disk")"
check "and as many blocks, so that cp clones it" test $(($(stat -c %b "$disk") * 512)) -ge "$size"
check "template.json is JSON" jq -e . "$template/template.json"
check "find walks the tree" test "$(find "$mnt/mycorp.com" -name disk0 | wc -l)" -eq 1
check_same ".versions is not listed" "" "$(find "$template" -mindepth 1 -maxdepth 1 -name '.*')"
check ".versions/1/disk0 is there when named" test -f "$template/.versions/1/disk0"
check "df answers" df "$mnt"
check "xattrs tell name and version" grep -q '^user\.ccnfs\.' <(getfattr -d -m '^user\.ccnfs\.' "$disk" 2> /dev/null)
check "a template cannot be written to" test ! -w "$disk" -o -z "$(dd if=/dev/zero of="$disk" count=1 conv=notrunc 2> /dev/null && echo written)"
check "a file of a template cannot be removed" test -z "$(rm -f "$disk" 2> /dev/null && echo removed)"

# ---- bytes

check "cmp with the raw image is silent" cmp "$raw" "$disk"
check "qemu-img compare with the qcow2 says identical" grep -q identical \
    <(qemu-img compare -f qcow2 -F raw "$qcow2" "$disk")
sum=$(sha256sum < "$raw" | cut -d' ' -f1)
check_same "sha256sum agrees" "$sum" "$(sha256sum < "$disk" | cut -d' ' -f1)"
forget_pages "$disk"
check_same "and so it does through mmap" "$sum" "$("$scripts/mapped-sha256.py" "$disk")"

# part FILE BLOCK-SIZE SKIP [FLAGS]
part() { dd if="$1" bs="$2" skip="$3" count=200 status=none "${@:4}" | sha256sum; }
for block in 512 1536 4608 37888 1048576 33554432; do
    check_same "O_DIRECT reads of $block bytes" "$(part "$raw" "$block" 7)" "$(part "$disk" "$block" 7 iflag=direct)"
done
for block in 1000 4097 65537; do
    check_same "buffered reads of $block bytes" "$(part "$raw" "$block" 7)" "$(part "$disk" "$block" 7)"
done
check_same "O_DIRECT over the end of the file" "$(tail -c 1536 "$raw" | sha256sum)" \
    "$(dd if="$disk" bs=512 skip=$((size / 512 - 3)) count=10 iflag=direct status=none | sha256sum)"
check "holes are holes: data and hole offsets are those of a sparse file" python3 - "$disk" << 'PYTHON'
import os
import sys

disk = os.open(sys.argv[1], os.O_RDONLY)
size = os.fstat(disk).st_size
place, data = 0, 0
while place < size:
    try:
        start = os.lseek(disk, place, os.SEEK_DATA)
    except OSError:
        break
    place = os.lseek(disk, start, os.SEEK_HOLE)
    assert start < place <= size, (start, place)
    data += place - start
print(data, "of", size)
assert 0 < data < size
PYTHON

# ---- the same bytes from other formats, versions

root=$(field "$JSON_ROOT" "$work/again.json")
publish_json "$qcow2" "$NAME" > "$work/qcow2.json"
check_same "published from qcow2 the root is the same" "$root" "$(field "$JSON_ROOT" "$work/qcow2.json")"
check_same "and no segment is added" 0 "$(field "$JSON_NEW_SEGMENTS" "$work/qcow2.json")"

small=$work/small.raw
small_image "$small"
publish_json "$small" ccnx:/mycorp.com/small > "$work/small.json"
root=$(field "$JSON_ROOT" "$work/small.json")
for format in qcow2 vmdk vhdx vdi; do
    qemu-img convert -f raw -O "$format" "$small" "$work/small.$format"
    publish_json "$work/small.$format" "ccnx:/mycorp.com/small-$format" > "$work/format.json"
    check_same "$format gives the root that raw gave" "$root" "$(field "$JSON_ROOT" "$work/format.json")"
done
qemu-img create -q -f qcow2 -b "$small" -F raw "$work/chain.qcow2"
publish_json "$work/chain.qcow2" ccnx:/mycorp.com/small-chain > "$work/format.json"
check_same "a backing chain too" "$root" "$(field "$JSON_ROOT" "$work/format.json")"
publish_json - ccnx:/mycorp.com/small-stdin < "$small" > "$work/format.json"
check_same "standard input too" "$root" "$(field "$JSON_ROOT" "$work/format.json")"
check "what was published beside a running node is in the mount at once" cmp "$small" "$mnt/mycorp.com/small-stdin/disk0"

exec 7< "$mnt/mycorp.com/small/disk0"
cp "$small" "$work/newer.raw"
printf 'version two' | dd of="$work/newer.raw" bs=1 seek=1048576 conv=notrunc status=none
publish_json "$work/newer.raw" ccnx:/mycorp.com/small > "$work/newer.json"
check_same "a second publish makes version 2" 2 "$(field "$JSON_VERSION" "$work/newer.json")"
check "an open file keeps its version" cmp "$small" - <&7
exec 7<&-
check "opened again it is the new one" cmp "$work/newer.raw" "$mnt/mycorp.com/small/disk0"
check "the old one stays under .versions" cmp "$small" "$mnt/mycorp.com/small/.versions/1/disk0"
refuses "a tag that is not there cannot be removed" 66 'no tag' ccnfs tag ccnx:/mycorp.com/small stable --remove
check "a tag names a version" ccnfs tag ccnx:/mycorp.com/small stable 1
check "and is a link to it" cmp "$small" "$mnt/mycorp.com/small/.tags/stable/disk0"
check "show takes a version behind the name" grep -qx 'version    1' <(ccnfs show ccnx:/mycorp.com/small@1)
check "so does export" ccnfs export ccnx:/mycorp.com/small@1 "$work/first.raw"
check "which gives its bytes" cmp "$small" "$work/first.raw"
check "and deploy" grep -q 'version 1$' <(ccnfs deploy ccnx:/mycorp.com/small@1 first)
check "which makes a VM of it" cmp "$small" "$mnt/localhost/first/disk0"
rm -r "$mnt/localhost/first"
check "versions lists both" test "$(ccnfs versions ccnx:/mycorp.com/small --json | jq -s 'flatten | length')" -eq 2

# ---- export, verify

check "export to raw" ccnfs export ccnx:/mycorp.com/small "$work/exported.raw"
check "gives the bytes back" cmp "$work/newer.raw" "$work/exported.raw"
check "export to qcow2" ccnfs export ccnx:/mycorp.com/small "$work/exported.qcow2"
check "gives the same disk" qemu-img compare -f raw -F qcow2 "$work/newer.raw" "$work/exported.qcow2"
check "verify finds nothing wrong" ccnfs verify

# ---- a key that is not trusted any more

key_id=$(ccnfs key show "${key%.pem}.pub" | cut -d' ' -f1)
check "trust is taken back while a node runs" ccnfs trust remove ccnx:/mycorp.com "${key_id:0:12}"
check "list says that the template is not served" grep -q 'NOT SERVED.*not trusted' <(ccnfs list)
small_disk=$mnt/mycorp.com/small/disk0
check "its disk answers EIO" grep -q 'Input/output error' <(head -c 1 "$small_disk" 2>&1)
check "with the cause in an xattr" grep -q 'not trusted' <(getfattr --only-values -n user.ccnfs.error "$small_disk" 2> /dev/null)
check "and in the log" grep -q 'not trusted' "$node_log"
check "a deploy of it is refused" test "$(ccnfs deploy ccnx:/mycorp.com/small nobody 2> /dev/null; echo $?)" -eq 77
check "trust is given again" ccnfs trust add ccnx:/mycorp.com "${key%.pem}.pub"
check "and the disk is served again" cmp "$work/newer.raw" "$small_disk"

# ---- a definition

printf 'name: ccnx:/mycorp.com/defined\ndisks:\n  - image: newer.raw\nproperties: {arch: x86_64}\nfiles: [domain.xml]\nsegmentSize: 8K\n' > "$work/template.yaml"
check "a template is published from a definition" ccnfs publish --definition "$work/template.yaml" --key "$key"
check "its disk is there" cmp "$work/newer.raw" "$mnt/mycorp.com/defined/disk0"
check "its file is there" cmp "$work/domain.xml" "$mnt/mycorp.com/defined/domain.xml"
printf 'name: ccnx:/mycorp.com/defined\ndisk: []\n' > "$work/wrong.yaml"
check "a wrong line is named" grep -q 'wrong.yaml:2:1: there is no key disk' <(ccnfs publish --definition "$work/wrong.yaml" --key "$key" 2>&1)

# ---- withdrawn

mkdir "$mnt/localhost/kept"
cp "$small_disk" "$mnt/localhost/kept/disk0"
exec 9< "$small_disk"
check "a template is withdrawn" ccnfs delete ccnx:/mycorp.com/small
check "it is gone from the tree" test ! -e "$small_disk"
check "who has it open reads on" cmp "$work/newer.raw" - <&9
exec 9<&-
check "a VM on it keeps working" cmp "$work/newer.raw" "$mnt/localhost/kept/disk0"
rm -r "$mnt/localhost/kept"
check "space that nothing refers to is freed" grep -q 'freed [1-9]' <(ccnfs reclaim)

# ---- killed while publishing

stop_node "$mnt" "$node_pid"
dd if=/dev/urandom of="$work/large.raw" bs=1M count=512 status=none
for delay in 0.1 0.4 0.8; do
    # The tool itself, not the function: a subshell would die in its place.
    "$CCNFS" publish "$work/large.raw" ccnx:/mycorp.com/large --key "$key" > "$work/killed.log" 2>&1 &
    publish_pid=$!
    sleep "$delay"
    kill -9 "$publish_pid" 2> /dev/null || true
    publish_status=0
    wait "$publish_pid" 2> /dev/null || publish_status=$?
    # 128 and SIGKILL
    if [ "$publish_status" -eq 137 ]; then
        check_same "killed after $delay s, nothing is visible" "" "$(ccnfs list | grep -F large || true)"
    else
        skip "killed after $delay s, nothing is visible" "it was done already"
        break
    fi
done
check "the next publish succeeds" ccnfs publish "$work/large.raw" ccnx:/mycorp.com/large --key "$key"
start_node "$mnt"
check "and the disk is whole" cmp "$work/large.raw" "$mnt/mycorp.com/large/disk0"
finish
