#!/bin/bash
# A second repository that keeps a namespace in step with the first: what is sent, keys fetched by their ids, publishing
# at the mirror, the first one gone, the mirror behind, the mirror killed in the midst of it, a mirror of the mirror.
#
#   BIG_MIB      data of the image that is being mirrored when the mirror is killed (256)
#   KILLS        how often it is (3); each time one of its batches of 64 MiB has come
#   CCNFS_DEBUG  the debug build, for its crash points (.build/debug/ccnfs)
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib.sh"

readonly BIG_MIB=${BIG_MIB:-256} KILLS=${KILLS:-3}
readonly NAMESPACE=ccnx:/mycorp.com NAME=ccnx:/mycorp.com/app1/linuxvm
readonly USAGE=64 UNAVAILABLE=69 NO_PERMISSION=77 KILLED=137
debug=$(realpath -m "${CCNFS_DEBUG:-$repository/.build/debug/ccnfs}")

begin mirror
primary_port=$(free_port) mirror_port=$(free_port)
primary=tcp:127.0.0.1:$primary_port mirror=tcp:127.0.0.1:$mirror_port
image=$work/image.raw next=$work/next.raw
small_image "$image" 64
cp --sparse=always "$image" "$next"
printf 'changed' | dd of="$next" bs=1 seek=$((3 * 1024 * 1024 + 5)) conv=notrunc status=none

# at HOME COMMAND...: a command in another home
at() { CCNFS_STATE=$work/$1/state CCNFS_CACHE=$work/$1/cache "$CCNFS" "${@:2}"; }
# of HOME EXPRESSION: something of its status
of() { status_of at "$1" | jq -r "$2"; }
# serve HOME [OPTION...]: a node in the background, its process in pids[HOME]
declare -A pids
serve() {
    local home=$1
    shift
    CCNFS_STATE=$work/$home/state CCNFS_CACHE=$work/$home/cache \
        "$CCNFS" node "$@" > "$work/$home.log" 2>&1 &
    pids[$home]=$!
    on_exit end_process "${pids[$home]}"
    # Not by asking it: a command that finds no node takes the state for itself.
    wait_until 20 grep -q '^listening' "$work/$home.log" || not_ok "$home starts" "$(tail "$work/$home.log")"
}
kill_hard() {
    kill -9 "${pids[$1]}"
    wait "${pids[$1]}" 2> /dev/null || true
}

key=$work/publisher.pem
at primary key generate --out "$key" > "$work/key.log" 2>&1
key_id=$(at primary key show "$key" --json | jq -r .keyId)
at primary trust add "$NAMESPACE" "${key%.pem}.pub" > "$work/key.log" 2>&1
serve primary --listen "$primary" --accept-publish
check "a template is published" at primary publish "$image" "$NAME" --key "$key" --file "${key%.pem}.pub"

# ---- keys are content

refuses "a key is not fetched by a part of its id" "$USAGE" '64 digits' \
    at mirror trust add "$NAMESPACE" "${key_id:0:32}" --from "127.0.0.1:$primary_port"
refuses "a key that nobody has" "$UNAVAILABLE" 'cannot be had' \
    at mirror trust add "$NAMESPACE" "$(printf 'ab%.0s' {1..32})" --from "127.0.0.1:$primary_port"
refuses "without a node and without an address nobody can be asked" "$UNAVAILABLE" 'cannot be had' \
    at mirror trust add "$NAMESPACE" "$key_id"
check "a key is fetched by its id" at mirror trust add "$NAMESPACE" "$key_id" --from "127.0.0.1:$primary_port"
check_same "and is that key" "$key_id" "$(at mirror trust list --json | jq -r '.[].keyId')"

# ---- in step

serve mirror --listen "$mirror"
mirror_it() { at mirror mirror "$NAMESPACE" --from "127.0.0.1:$primary_port" "$@"; }
begin_mirror() { mirror_it --interval 1s --json > "$work/begun.json"; }
check "a node becomes a mirror" begin_mirror
note "$(jq -c . "$work/begun.json")"
data=$(at primary show "$NAME" --json | jq '[.disks[].dataBytes] | add')
pulled=$(jq .pulledBytes "$work/begun.json")
check "everything came" test "$pulled" -ge "$data"
check "and nothing twice" test "$pulled" -le $((data + 1048576))
check_same "status says with what it is in step" "$primary" "$(of mirror '.mirrors[0].source')"
check_same "which is the catalog of the first" "$(of primary '.catalogs[0].serial')" "$(of mirror '.mirrors[0].serial')"
check "in words too" grep -q "mirror     $NAMESPACE from $primary, serial" <(at mirror status)
check_same "it keeps as many segments" "$(of primary .published.segmentCount)" "$(of mirror .published.segmentCount)"
check "none of them wrong" at mirror verify

segments=$(of mirror .published.segmentCount)
from_primary() { of mirror "[.sources[] | select(.address == \"$primary\") | .bytes] | add"; }
bytes=$(from_primary)
check "the next version is published" at primary publish "$next" "$NAME" --key "$key"
in_step() { [ "$(of mirror '.mirrors[0].serial')" = "$(of primary '.catalogs[0].serial')" ]; }
check "the mirror follows by itself" wait_until 20 in_step
check_same "with one segment more" 1 $(($(of mirror .published.segmentCount) - segments))
bytes=$(($(from_primary) - bytes))
note "$bytes bytes came for a version in which 7 bytes differ"
# The segment, the nodes of the manifest above it, record, listing and catalog.
check "and nothing else came" test "$bytes" -lt $((160 * 1024))

# ---- publishing is elsewhere

refuses "who publishes at the mirror is told where" "$NO_PERMISSION" "comes from $primary" \
    at publisher publish "$image" "$NAME" --key "$key" --to "127.0.0.1:$mirror_port"
refuses "and on the mirror itself" "$NO_PERMISSION" "comes from $primary" \
    at mirror publish "$image" "$NAME" --key "$key"
refuses "tags are set there as well" "$NO_PERMISSION" "comes from $primary" at mirror tag "$NAME" stable 1
refuses "the first one is no mirror of itself" "$NO_PERMISSION" 'published on this node' \
    at primary mirror "$NAMESPACE" --from "127.0.0.1:$mirror_port"
refuses "a namespace is one segment" 65 'no namespace' at mirror mirror "$NAME" --from "127.0.0.1:$primary_port"

# ---- the first one gone

use_home "$work/reader"
ccnfs trust add "$NAMESPACE" "${key%.pem}.pub" > "$work/key.log" 2>&1
start_node "$work/mnt" --route "$NAMESPACE=$primary" --route "$NAMESPACE=$mirror" --catalog-interval 0.5
reader=$node_pid
disk=$work/mnt/mycorp.com/app1/linuxvm/disk0
check "a node with routes to both lists the template" wait_until 30 test -f "$disk"
kill_hard primary
check "with the first one killed it reads every byte" cmp "$next" "$disk"
check "of each version" cmp "$image" "$work/mnt/mycorp.com/app1/linuxvm/.versions/1/disk0"
check "and what was carried along" cmp "${key%.pem}.pub" "$work/mnt/mycorp.com/app1/linuxvm/.versions/1/publisher.pub"
use_home "$work/late"
ccnfs trust add "$NAMESPACE" "${key%.pem}.pub" > "$work/key.log" 2>&1
start_node "$work/late.mnt" --route "$NAMESPACE=$mirror"
late=$node_pid
check "a node that comes now finds everything at the mirror" wait_until 30 test -f "$work/late.mnt/mycorp.com/app1/linuxvm/disk0"
check "and reads it" cmp "$next" "$work/late.mnt/mycorp.com/app1/linuxvm/disk0"
stop_node "$work/late.mnt" "$late"
is_out_of_step() { [ "$(of mirror '.mirrors[0].problem')" != null ]; }
check "the mirror says that it hears nothing" wait_until 30 is_out_of_step
refuses "with its exit status too" "$UNAVAILABLE" 'not in step' at mirror status
refuses "for programs likewise" "$UNAVAILABLE" 'not in step' at mirror status --json

# ---- the mirror behind

serve primary --listen "$primary" --accept-publish
is_well() { [ "$(of mirror '.mirrors[0].problem')" = null ]; }
check "it is in step again by itself" wait_until 60 is_well
check "from now on it seldom looks" mirror_it --interval 1h
check "a third version is published" at primary publish "$image" "$NAME" --key "$key"
use_home "$work/reader"
has_third() { [ "$(ccnfs versions "$NAME" --json | jq length)" = 3 ]; }
check "a node shows it though the mirror does not have it" wait_until 60 has_third
is_fine() { [ "$(status_of ccnfs | jq -r '.catalogs[0].problem')" = null ]; }
check "which is no fault" wait_until 30 is_fine
kill_hard primary
sleep 1
check_same "with the one that is behind alone it does not go back" 3 "$(ccnfs versions "$NAME" --json | jq length)"
serve primary --listen "$primary" --accept-publish
# Segments are the same as of version 1.
check "in step when it is told to look" mirror_it --interval 1s
check "with the same as before" in_step

# ---- a mirror of the mirror, brought once by a command alone

at second trust add "$NAMESPACE" "$key_id" --from "127.0.0.1:$mirror_port" > "$work/key.log" 2>&1
check "a key is had from a mirror" test "$(at second trust list --json | jq length)" = 1
check "a mirror of the mirror" at second mirror "$NAMESPACE" --from "127.0.0.1:$mirror_port" --once
check_same "has as many segments" "$(of mirror .published.segmentCount)" "$(of second .published.segmentCount)"
check "every byte of a version" at second export "$NAME" --version 2 --disk disk0 "$work/exported.raw"
check "is that of the image" cmp "$next" "$work/exported.raw"
rm -f "$work/exported.raw"
check_same "and it is not kept in step" null "$(of second '.mirrors[0].intervalMilliseconds')"

# ---- withdrawal

before=$(of mirror .published.segmentCount)
check "a version is withdrawn" at primary delete "$NAME" --version 2
is_freed() { [ "$(of mirror .published.segmentCount)" -eq $((before - 1)) ]; }
check "the mirror frees what nothing refers to" wait_until 20 is_freed
check "and keeps the rest" at mirror verify
use_home "$work/reader"
stop_node "$work/mnt" "$reader"

# ---- killed in the midst of it

big=$work/big.raw
truncate -s 1G "$big"
dd if=/dev/urandom of="$big" bs=1M count="$BIG_MIB" conv=notrunc status=none
check "a large template is published" at primary publish "$big" ccnx:/mycorp.com/big --key "$key"
# Slow enough to be killed in the midst of it.
"$scripts/fault-proxy.py" --listen 127.0.0.1:0 --to "127.0.0.1:$primary_port" --delay 40 > "$work/proxy.log" 2>&1 &
on_exit end_process $!
wait_until 30 grep -q '^listening' "$work/proxy.log" || not_ok "the proxy starts" "$(cat "$work/proxy.log")"
slow=tcp:127.0.0.1:$(sed -n 's/^listening //p' "$work/proxy.log")
cat > "$work/killed.yaml" << YAML
listen: [tcp:127.0.0.1:0]
mirrors:
- {namespace: "$NAMESPACE", from: "$slow", interval: 1s}
YAML
at killed trust add "$NAMESPACE" "${key%.pem}.pub" > "$work/key.log" 2>&1
serve killed --config "$work/killed.yaml"
total=$(of primary .published.segmentCount)
arrived=0
for ((number = 1; number <= KILLS; number++)); do
    goal=$((total * number / (KILLS + 1)))
    has_some() { [ "$(of killed .published.segmentCount)" -ge "$goal" ]; }
    check "a mirror has begun, $number" wait_until 60 has_some
    # Later on what was there before the kill may not have been looked at yet.
    if [ "$number" = 1 ]; then
        before=$(of killed .published.segmentCount)
        check "a reclaim meanwhile is not refused" at killed reclaim
        check "and takes nothing of it" [ "$(of killed .published.segmentCount)" -ge "$before" ]
        check "nor is a backup" at killed backup "$work/backup"
        rm -rf "$work/backup"
    fi
    arrived=$((arrived + $(of killed '[.sources[].bytes] | add')))
    kill_hard killed
    serve killed --config "$work/killed.yaml"
    check_same "killed there, nothing of it is visible" 0 "$(at killed list --json | jq length)"
    check_same "and it answers for nothing" null "$(of killed '.mirrors[0].serial')"
done
is_whole() { [ "$(of killed '.mirrors[0].serial')" = "$(of primary '.catalogs[0].serial')" ]; }
check "it goes on to the end" wait_until 120 is_whole
arrived=$((arrived + $(of killed '[.sources[].bytes] | add')))
needed=$((BIG_MIB * 1048576))
note "$arrived bytes came for $needed bytes of data of one template, killed $KILLS times"
# A batch of 64 MiB that was not recorded may come again each time.
check "without beginning anew" test "$arrived" -lt $((needed + KILLS * 80 * 1048576 + 64 * 1048576))
check_same "it keeps as many segments as the first" "$(of primary .published.segmentCount)" "$(of killed .published.segmentCount)"
check "none of them wrong" at killed verify
check "a disk exported there" at killed export ccnx:/mycorp.com/big --disk disk0 "$work/big-exported.raw"
check "is the image" cmp "$big" "$work/big-exported.raw"
rm -f "$work/big-exported.raw"
refuses "what the settings file says is not ended by a command" 73 'settings file' at killed mirror "$NAMESPACE" --stop
end_process "${pids[killed]}"

# ---- a full disk

check "the large template is withdrawn" at primary delete ccnx:/mycorp.com/big
check "at the mirror too" wait_until 30 in_step
if [ "$(id -u)" -eq 0 ]; then
    truncate -s 200M "$work/disk.ext4"
    mke2fs -q -F -t ext4 -m 0 "$work/disk.ext4"
    mkdir "$work/full"
    mount -o loop "$work/disk.ext4" "$work/full"
    on_exit umount -l "$work/full"
    dd if=/dev/urandom of="$work/room.raw" bs=1M count=96 status=none
    check "a template of half a disk is published" at primary publish "$work/room.raw" ccnx:/mycorp.com/room --key "$key"
    at full trust add "$NAMESPACE" "${key%.pem}.pub" > "$work/key.log" 2>&1
    serve full --listen tcp:127.0.0.1:0 --route "$NAMESPACE=$primary"
    has_room() { at full versions ccnx:/mycorp.com/room > "$work/versions.log" 2>&1; }
    check "a node knows it" wait_until 20 has_room
    check "and has it in its cache" at full fetch ccnx:/mycorp.com/room
    cached=$(of full .cache.imageByteCount)
    check "what is cached makes room for what is kept" at full mirror "$NAMESPACE" --from "127.0.0.1:$primary_port" --once
    note "cached bytes: $cached before, $(of full .cache.imageByteCount) afterwards"
    check "as far as it has to" [ "$(of full .cache.imageByteCount)" -lt "$cached" ]
    kept=$(of full .published.segmentCount)
    dd if=/dev/urandom of="$work/room.raw" bs=1M count=160 status=none
    check "one that does not fit is published" at primary publish "$work/room.raw" ccnx:/mycorp.com/more --key "$key"
    refuses "a mirror without room says so" 74 'no room' \
        at full mirror "$NAMESPACE" --from "127.0.0.1:$primary_port" --once
    check_same "and leaves others the room that it took" "$kept" "$(of full .published.segmentCount)"
    check "what it had is well" at full verify
    end_process "${pids[full]}"
    umount "$work/full"
    rm -f "$work/disk.ext4" "$work/room.raw"
    for name in room more; do
        check "$name is withdrawn" at primary delete "ccnx:/mycorp.com/$name"
    done
    check "at the mirror too" wait_until 30 in_step
else
    skip "a mirror on a full disk" "needs root"
fi

# ---- between the last steps

if [ -x "$debug" ]; then
    for point in mirror.pulled mirror.stored mirror.committed; do
        home=at-$point
        at "$home" trust add "$NAMESPACE" "${key%.pem}.pub" > "$work/key.log" 2>&1
        status=0
        CCNFS_CRASH_AT=$point CCNFS_STATE=$work/$home/state CCNFS_CACHE=$work/$home/cache \
            "$debug" mirror "$NAMESPACE" --from "127.0.0.1:$mirror_port" --once > "$work/$home.log" 2>&1 || status=$?
        check_same "killed at $point" "$KILLED" "$status"
        count=$(at "$home" list --json | jq length)
        if [ "$point" = mirror.committed ]; then
            check "everything is there" test "$count" -ge 1
        else
            check_same "nothing is visible" 0 "$count"
        fi
        check "and it goes on from there" at "$home" mirror "$NAMESPACE" --from "127.0.0.1:$mirror_port" --once
        check "to the end" at "$home" export "$NAME" --disk disk0 "$work/exported.raw"
        check "with every byte" cmp "$image" "$work/exported.raw"
        check "and nothing wrong" at "$home" verify
        rm -rf "${work:?}/$home" "$work/exported.raw"
    done
else
    skip "a mirror killed between its last steps" "there is no debug build, $debug: make build"
fi

# ---- a mirror no more

check "a mirror is ended" at mirror mirror "$NAMESPACE" --stop
check_same "it keeps nothing" 0 "$(of mirror .published.segmentCount)"
check_same "and says so" 0 "$(of mirror '.mirrors | length')"
refuses "it cannot be ended twice" 66 'no mirror' at mirror mirror "$NAMESPACE" --stop
end_process "${pids[mirror]}"
end_process "${pids[primary]}"
check "the first one finds nothing wrong at the end" at primary verify
finish
