#!/bin/bash
# Templates published at a repository elsewhere: from a command without a node, which nobody could connect to; what is
# sent; refusals; the repository and the publisher killed in the midst of it; two publishers at once; a VM.
#
#   BIG_MIB   data of the image that is being published when somebody is killed (384)
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib.sh"

readonly BIG_MIB=${BIG_MIB:-384}
readonly NAME=ccnx:/mycorp.com/app1/linuxvm
readonly UNAVAILABLE=69 NO_PERMISSION=77

begin remote-publish
port=$(free_port)
repository=tcp:127.0.0.1:$port
small=$work/small.raw
small_image "$small" 64

# ---- the repository: a node without a mount

use_home "$work/publisher"
key=$work/publisher.pem
ccnfs key generate --out "$key" > "$work/key.log" 2>&1
stranger=$work/stranger.pem
ccnfs key generate --out "$stranger" > "$work/key.log" 2>&1
use_home "$work/repository"
ccnfs trust add ccnx:/mycorp.com "${key%.pem}.pub" > "$work/key.log" 2>&1
ccnfs trust add ccnx:/mycorp.com/lab "${stranger%.pem}.pub" >> "$work/key.log" 2>&1

# serve [OPTION...]: sets serving
serve() {
    use_home "$work/repository"
    "$CCNFS" node --listen "$repository" "$@" > "$work/repository.log" 2>&1 &
    serving=$!
    on_exit end_process "$serving"
    # Not by asking it: a command that finds no node takes the state for itself.
    wait_until 20 grep -q '^listening' "$work/repository.log" ||
        not_ok "the repository starts" "$(tail "$work/repository.log")"
}

# at HOME COMMAND...: a command in another home
at() { CCNFS_STATE=$work/$1/state CCNFS_CACHE=$work/$1/cache "$CCNFS" "${@:2}"; }
versions() { at repository versions "$1" --json 2> /dev/null | jq -r '.[].version' | sort -n | tr '\n' ' '; }

serve
refuses "a repository that was not told to takes no templates" "$NO_PERMISSION" 'takes no templates' \
    at publisher publish "$small" "$NAME" --key "$key" --to "127.0.0.1:$port"
end_process "$serving"
serve --accept-publish

# ---- published from a command alone

refuses "the first of a namespace lets the repository sign its catalog, and only if its key is known" "$NO_PERMISSION" \
    'asks to be let sign' at publisher publish "$small" "$NAME" --key "$key" --to "127.0.0.1:$port"
refuses "another key than that is refused" "$NO_PERMISSION" 'has key' at publisher publish "$small" "$NAME" --key "$key" \
    --to "127.0.0.1:$port" --repository-key 0123456789abcdef0123456789abcdef
refuses "the beginning of a key's id that anybody could make" 64 'needs 32' at publisher publish "$small" "$NAME" --key "$key" \
    --to "127.0.0.1:$port" --repository-key 0123456789abcdef
repository_key=$(at publisher key show "$work/repository/state/keys/node.pem" --json | jq -r .keyId)
check "a command without a node publishes there" at publisher publish "$small" "$NAME" --key "$key" \
    --to "127.0.0.1:$port" --repository-key "${repository_key:0:32}" --property memory=1G --file "${key%.pem}.pub"
check_same "it is version 1 there" "1 " "$(versions "$NAME")"
check_same "and no template of the publisher's own node" "[]" "$(at publisher list --json | jq -c .)"
check "the repository finds nothing wrong with it" at repository verify
check "a disk exported there is the image" at repository export "$NAME" --disk disk0 "$work/exported.raw"
check "byte by byte" cmp "$small" "$work/exported.raw"

use_home "$work/reader"
ccnfs trust add ccnx:/mycorp.com "${key%.pem}.pub" > "$work/key.log" 2>&1
start_node "$work/mnt" --route "ccnx:/mycorp.com=$repository" --catalog-interval 0.5
reader=$node_pid
disk=$work/mnt/mycorp.com/app1/linuxvm/disk0
check "a node that follows the repository shows it" wait_until 30 test -f "$disk"
check "and reads it" cmp "$small" "$disk"
check "with what was carried along" cmp "${key%.pem}.pub" "$work/mnt/mycorp.com/app1/linuxvm/publisher.pub"

# ---- fetched before anybody reads it

ccnfs evict > /dev/null
started=$(milliseconds)
fetch_all() { ccnfs fetch "$NAME" --rate 4M --json > "$work/fetched.json" && jq -e . "$work/fetched.json"; }
check "ccnfs fetch brings all of a template" fetch_all
took=$(($(milliseconds) - started))
check_same "every byte of data" "$(jq '[.items[].dataBytes] | add' "$work/fetched.json")" \
    "$(jq '[.items[].fetchedBytes] | add' "$work/fetched.json")"
check "no faster than it may" test "$took" -ge $(($(jq '[.items[].fetchedBytes] | add' "$work/fetched.json") * 900 / 4194304))
check_same "the second time nothing comes" 0 "$(ccnfs fetch "$NAME" --json | jq '[.items[].fetchedBytes] | add')"
refuses "a disk that is none" 66 'no disk or file' ccnfs fetch "$NAME" --disk disk7

# ---- a version more

before=$(status_of at repository | jq .published.segmentCount)
cp --sparse=always "$small" "$work/next.raw"
printf 'changed' | dd of="$work/next.raw" bs=1 seek=$((3 * 1024 * 1024 + 5)) conv=notrunc status=none
check "the next version" at publisher publish "$work/next.raw" "$NAME" --key "$key" --to "127.0.0.1:$port"
check_same "brings one segment to the repository" 1 $(($(status_of at repository | jq .published.segmentCount) - before))
newest() { cmp "$work/next.raw" "$disk"; }
check "the node shows it within seconds" wait_until 30 newest
check "the same again is a version without a segment" at publisher publish "$work/next.raw" "$NAME" --key "$key" --to "$repository"
check_same "none came" 1 $(($(status_of at repository | jq .published.segmentCount) - before))
check "--dry-run says which version it would be" grep -q 'would become version 4' \
    <(at publisher publish "$small" "$NAME" --key "$key" --to "$repository" --dry-run)
check_same "and makes none" "1 2 3 " "$(versions "$NAME")"

# ---- refusals

refuses "a key that is not trusted there is refused" "$NO_PERMISSION" 'does not trust key' \
    at publisher publish "$small" "$NAME" --key "$stranger" --to "$repository"
check "also under its own prefix it may publish" \
    at publisher publish "$small" ccnx:/mycorp.com/lab/vm --key "$stranger" --to "$repository"
refuses "but not beside it" "$NO_PERMISSION" 'does not trust key' \
    at publisher publish "$small" ccnx:/mycorp.com/laboratory --key "$stranger" --to "$repository"
refuses "where nobody listens, that is said" "$UNAVAILABLE" 'nobody answers' \
    at publisher publish "$small" "$NAME" --key "$key" --to "127.0.0.1:$(free_port)"
refuses "an address that is none" 65,64 'port' \
    at publisher publish "$small" "$NAME" --key "$key" --to "127.0.0.1:none"
check_same "nothing of it is a version" "1 2 3 " "$(versions "$NAME")"

# ---- two at once

for number in 1 2; do
    cp --sparse=always "$small" "$work/two-$number.raw"
    printf '%s' "$number" | dd of="$work/two-$number.raw" bs=1 seek=4096 conv=notrunc status=none
    at "two-$number" publish "$work/two-$number.raw" ccnx:/mycorp.com/two --key "$key" --to "$repository" \
        > "$work/two-$number.log" 2>&1 &
    eval "two_$number=$!"
done
status=0
# shellcheck disable=SC2154
wait "$two_1" || status=$?
# shellcheck disable=SC2154
wait "$two_2" || status=$?
check_same "two publishers at once both succeed" 0 "$status"
check_same "as two versions" "1 2 " "$(versions ccnx:/mycorp.com/two)"

# ---- killed in the midst of it

big=$work/big.raw
truncate -s 1G "$big"
dd if=/dev/urandom of="$big" bs=1M count="$BIG_MIB" conv=notrunc status=none
stored() { status_of at repository | jq .published.segmentCount; }
has_begun() { [ "$(stored)" -gt $((begun + 1000)) ]; }

# begin_big NAME: sets publishing, begun
begin_big() {
    begun=$(stored)
    CCNFS_STATE=$work/publisher/state CCNFS_CACHE=$work/publisher/cache \
        "$CCNFS" publish "$big" "$1" --key "$key" --to "$repository" > "$work/big.log" 2>&1 &
    publishing=$!
    on_exit end_process "$publishing"
}

begin_big ccnx:/mycorp.com/killed-repository
check "the repository begins to fetch" wait_until 60 has_begun
kill -9 "$serving"
wait "$serving" 2> /dev/null || true
sleep 1
use_home "$work/repository"
serve --accept-publish
check_same "nothing is visible of a publish whose repository was killed" "" "$(versions ccnx:/mycorp.com/killed-repository)"
kept=$(($(stored) - begun))
note "$kept of $((BIG_MIB * 32)) segments are there after kill -9"
status=0
wait "$publishing" || status=$?
check_same "the publisher goes on when it is back" 0 "$status"
check_same "and the version is there" "1 " "$(versions ccnx:/mycorp.com/killed-repository)"
check "whole" at repository export ccnx:/mycorp.com/killed-repository --disk disk0 "$work/big-exported.raw"
check "byte by byte" cmp "$big" "$work/big-exported.raw"
rm -f "$work/big-exported.raw"

dd if=/dev/urandom of="$big" bs=1M count="$BIG_MIB" conv=notrunc status=none
begin_big ccnx:/mycorp.com/killed-publisher
check "the repository begins to fetch again" wait_until 60 has_begun
kill -9 "$publishing"
wait "$publishing" 2> /dev/null || true
check_same "nothing is visible of a publish whose publisher was killed" "" "$(versions ccnx:/mycorp.com/killed-publisher)"
check "the repository publishes others meanwhile" \
    at publisher publish "$small" ccnx:/mycorp.com/meanwhile --key "$key" --to "$repository"
check "the same command again succeeds" \
    at publisher publish "$big" ccnx:/mycorp.com/killed-publisher --key "$key" --to "$repository"
check_same "as version 1" "1 " "$(versions ccnx:/mycorp.com/killed-publisher)"
check "whole" at repository export ccnx:/mycorp.com/killed-publisher --disk disk0 "$work/big-exported.raw"
check "byte by byte" cmp "$big" "$work/big-exported.raw"
rm -f "$work/big-exported.raw"

# ---- a VM of the node that reads

use_home "$work/reader"
mkdir "$work/mnt/localhost/web-01"
cp "$disk" "$work/mnt/localhost/web-01/disk0"
printf 'configured' | dd of="$work/mnt/localhost/web-01/disk0" bs=1 seek=$((5 * 1024 * 1024)) conv=notrunc status=none
refuses "--rebase is for what is published here" 64 'rebase' ccnfs republish web-01 --key "$key" --to "$repository" --rebase
check "a VM is republished at the repository" ccnfs republish web-01 --key "$key" --to "$repository"
check_same "as the next version of its template" "1 2 3 4 " "$(versions "$NAME")"
republished() { cmp "$work/mnt/localhost/web-01/disk0" "$disk"; }
check "which the node shows, with the VM's bytes" wait_until 30 republished
check_same "and where it came from" web-01 "$(ccnfs show "$NAME" --json | jq -r .origin.machine)"

stop_node "$work/mnt" "$reader"
end_process "$serving"
check "the repository finds nothing wrong at the end" at repository verify
finish
