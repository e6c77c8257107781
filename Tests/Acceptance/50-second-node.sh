#!/bin/bash
# A second node with an empty store reads a template from the first: Interests, verified answers, faults.
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib.sh"

# What `ccnfs status --json` calls the counters of a node.
readonly INTERESTS_SENT='.interestsSent'
readonly OBJECTS_FETCHED='.store.fetchedObjects'
readonly BYTES_FETCHED='.store.fetchedBytes'
readonly SEGMENTS_DROPPED='.store.damagedSegments'
# The attribute that keeps the cause of the last error of a file.
readonly ERROR_ATTRIBUTE=user.ccnfs.error
readonly NAME=ccnx:/mycorp.com/app1/linuxvm
# Megabyte of the image that is damaged; it must be data.
readonly SEGMENT_BYTES=32768

begin second-node
need_image
first=$work/first second=$work/second third=$work/third
port=$(free_port)

use_home "$first"
key=$work/publisher.pem
make_key ccnx:/mycorp.com "$key"
check "the first node's image is published" ccnfs publish "$raw" "$NAME" --key "$key"
start_node "$work/mnt1" --listen "tcp:127.0.0.1:$port"
first_pid=$node_pid

start_second() {
    use_home "$second"
    start_node "$work/mnt2" --route "ccnx:/mycorp.com=tcp:127.0.0.1:$port"
    second_pid=$node_pid
    # The mount is there at once; what the other node lists comes a moment later.
    wait_until 30 test -f "$work/mnt2/mycorp.com/app1/linuxvm/disk0" || true
}
use_home "$second"
ccnfs trust add ccnx:/mycorp.com "${key%.pem}.pub"
start_second
disk=$work/mnt2/mycorp.com/app1/linuxvm/disk0

# Of the second node.
counter() { status_of ccnfs | jq -r "$1 // 0"; }

# ---- a miss is an Interest

check "the template is there by its name" test -f "$disk"
sent=$(counter "$INTERESTS_SENT") fetched=$(counter "$BYTES_FETCHED")
check "the whole of disk0 reads as the source" cmp "$raw" "$disk"
interests=$(($(counter "$INTERESTS_SENT") - sent))
bytes=$(($(counter "$BYTES_FETCHED") - fetched))
data=$(python3 - "$raw" "$SEGMENT_BYTES" << 'PYTHON'
import sys

segment, count, seen = int(sys.argv[2]), 0, set()
with open(sys.argv[1], "rb") as image:
    while data := image.read(segment):
        if data.strip(b"\0") and hash(data) not in seen:
            seen.add(hash(data))
            count += 1
print(count)
PYTHON
)
note "$interests Interests, $bytes bytes for $data different segments that are not zeros"
check "each segment took an Interest" test "$interests" -ge "$data"
check "and few more than one" test "$interests" -le $((data + data / 20 + 100))
check "holes were not sent" test "$bytes" -le $((data * (SEGMENT_BYTES + 1024) + 4194304))

objects=$(counter "$OBJECTS_FETCHED")
forget_pages "$disk"
check "a second read is the same" cmp "$raw" "$disk"
check_same "and fetches nothing" "$objects" "$(counter "$OBJECTS_FETCHED")"

# ---- the cache may be deleted at any time

stop_node "$work/mnt2" "$second_pid"
rm -rf "${CCNFS_CACHE:?}"
start_second
check "with its cache deleted it reads the same" cmp -n 268435456 "$raw" "$disk"
check "and fetches again" test "$(counter "$INTERESTS_SENT")" -gt 0

# ---- a damaged byte in its own store

# A segment with data that no other place of the image has, so that one file holds it.
place=$(python3 - "$raw" "$SEGMENT_BYTES" << 'PYTHON'
import collections
import sys

segment, first = int(sys.argv[2]), {}
with open(sys.argv[1], "rb") as image:
    for index in range(256 * 1024 * 1024 // segment):
        data = image.read(segment)
        if index > 400 and len(set(data)) > 200:
            first.setdefault(data, []).append(index)
print(next(places[0] for places in first.values() if len(places) == 1) * segment)
PYTHON
)
range() { dd if="$1" bs="$SEGMENT_BYTES" skip=$((place / SEGMENT_BYTES)) count=1 status=none; }
stop_node "$work/mnt2" "$second_pid"
check "a byte is flipped in the second node's store" "$scripts/flip-byte.py" "$CCNFS_CACHE" "$raw" "$place"
start_second
check "the damaged segment still reads as the source" cmp <(range "$raw") <(range "$disk")
check "its damage was noticed" test "$(counter "$SEGMENTS_DROPPED")" -ge 1
check "and it was fetched again" test "$(counter "$OBJECTS_FETCHED")" -ge 1

# ---- a damaged byte at the first node is never passed on

stop_node "$work/mnt2" "$second_pid"
rm -rf "${CCNFS_CACHE:?}"
use_home "$first"
stop_node "$work/mnt1" "$first_pid"
check "a byte is flipped in the first node's store" "$scripts/flip-byte.py" "$first" "$raw" "$place"
start_node "$work/mnt1" --listen "tcp:127.0.0.1:$port"
first_pid=$node_pid
start_second
# cat's own words: "Input/output error", not short data or wrong data.
check "the damaged segment ends as EIO" grep -q 'Input/output error' <(range "$disk" 2>&1 > "$work/damaged")
check_same "with not one byte of it" 0 "$(stat -c %s "$work/damaged")"
check "the file names the cause" test -n "$(getfattr --only-values -n "$ERROR_ATTRIBUTE" "$disk" 2> /dev/null)"
note "$(getfattr --only-values -n "$ERROR_ATTRIBUTE" "$disk" 2> /dev/null)"
check "the rest of the disk is served" cmp -n 1048576 "$raw" "$disk"
stop_node "$work/mnt2" "$second_pid"

# ---- another publisher's key

use_home "$first"
other=$work/other.pem
ccnfs key generate --out "$other" > /dev/null
small_image "$work/small.raw" 16
refuses "a key that is not trusted for the prefix cannot publish" 77 'trust' \
    ccnfs publish "$work/small.raw" ccnx:/mycorp.com/evil --key "$other"
stop_node "$work/mnt1" "$first_pid"

# A node that trusts it serves it; the second node does not believe a word.
use_home "$third"
ccnfs trust add ccnx:/mycorp.com "${other%.pem}.pub"
ccnfs publish "$work/small.raw" "$NAME" --key "$other" > /dev/null
start_node "$work/mnt3" --listen "tcp:127.0.0.1:$port"
rm -rf "$second"
use_home "$second"
ccnfs trust add ccnx:/mycorp.com "${key%.pem}.pub"
start_second
check "no sector of another key's template is served" test -z "$(head -c 512 "$disk" 2> /dev/null | tr -d '\0')"
finish
