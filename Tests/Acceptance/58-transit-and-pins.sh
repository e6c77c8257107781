#!/bin/bash
# What a node keeps of what it forwards for others, foreign ones among them, and what it keeps since it was told to.
#
#   SECTIONS: those of the last line
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib-disks.sh"
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib-peer.sh"

readonly NAME=ccnx:/mycorp.com/small
readonly DATA_SEGMENTS=192
# Longer than the repository recommends to keep a pointer, shorter than it is good for.
readonly PAST_CACHE_TIME_SECONDS=3
# Longer than a part of an object is kept.
readonly PAST_PART_SECONDS=5

# gets TEXT FILE NAME OPTION...: an answer with the bytes of the file
gets() {
    fetch --count "${@:3}"
    check_same "$1" "0 $(stat -c %s "$2") $(sha256sum "$2" | cut -d' ' -f1)" "$status $(said '"\(.bytes) \(.sha256)"')"
}

# comes_back TEXT NAME OPTION...: no route
comes_back() {
    fetch --count "${@:2}"
    check_same "$1" "$RETURNED $NO_ROUTE" "$status $(said .returnCode)"
}

# ---- the node in between: no mount, no trust, nothing but a route

# With the settings that there are; sets middle_pid
run_middle() {
    # What the one before has said.
    rm -f "$work/middle.log"
    "$CCNFS" node --config "$work/middle.yaml" > "$work/middle.log" 2>&1 &
    middle_pid=$!
    background "$middle_pid"
    wait_until "$NODE_DEADLINE_SECONDS" grep -q '^listening' "$work/middle.log" ||
        not_ok "the node in between starts" "$(cat "$work/middle.log")"
}

# start_middle PREFIX ADDRESS [SETTING...]: sets middle_pid and via
start_middle() {
    local port
    port=$(free_port)
    via=tcp:127.0.0.1:$port
    {
        printf 'state: %s\ncache: {directory: %s}\n' "$work/middle/state" "$work/middle/cache"
        printf 'listen: [%s]\nroutes:\n- {prefix: %s, to: "%s"}\n' "$via" "$1" "$2"
        printf '%s\n' "${@:3}"
    } > "$work/middle.yaml"
    run_middle
    has_face() { [ "$(middle '.faces | length')" -gt 0 ]; }
    wait_until 30 has_face || not_ok "it connects to $2" "$(cat "$work/middle.log")"
}

# middle_is FILTER: true
middle_is() { [ "$(middle "$1")" = true ]; }

# at HOME COMMAND...: a command in another home
at() { CCNFS_STATE=$work/$1/state CCNFS_CACHE=$work/$1/cache "$CCNFS" "${@:2}"; }
# home HOME FILTER, middle FILTER: of the status of the node of that home
home() { status_of at "$1" | jq -r "$2"; }
middle() { home middle "$1"; }
home_is() { [ "$(home "$1" "$2")" = true ]; }

# ---- the repository

# A template of some MiB with a hole, its last segment short; a node at $mnt that answers for it.
setup_repository() {
    use_home "$work/home"
    key=$work/publisher.pem
    make_key ccnx:/mycorp.com "$key"
    small=$work/small.raw mnt=$work/mnt
    truncate -s $((8 * MIB + 1536)) "$small"
    dd if=/dev/urandom of="$small" bs=1M count=6 conv=notrunc status=none
    publish small "$small"
    repository_address=tcp:127.0.0.1:$(free_port)
    node_options=(--listen "$repository_address")
    node
}

stop_repository() { CCNFS_STATE=$work/home/state CCNFS_CACHE=$work/home/cache stop_node "$mnt" "$pid"; }

# Whatever home is in use.
start_repository() {
    local state=$CCNFS_STATE cache=$CCNFS_CACHE
    use_home "$work/home"
    node
    export CCNFS_STATE=$state CCNFS_CACHE=$cache
}

# start_reader HOME ROUTE [OPTION...]: a node that asks there; sets disk and reader_pid, leaves its home in use
start_reader() {
    use_home "$work/$1"
    ccnfs trust add ccnx:/mycorp.com "${key%.pem}.pub" > "$work/trust.log" 2>&1 || true
    start_node "$work/mnt-$1" --route "ccnx:/mycorp.com=$2" "${@:3}"
    reader_pid=$node_pid
    disk=$work/mnt-$1/mycorp.com/small/disk0
    wait_until 20 test -f "$disk" || true
}

stop_reader() {
    stop_node "$work/mnt-$1" "$reader_pid"
    use_home "$work/home"
}

# ---- a foreign producer, a foreign consumer, our node between them

section_foreign() {
    local bytes file serve_pid elsewhere=ccnx:/elsewhere.org/app third=ccnx:/third.net
    mkdir -p "$work/objects"
    # Two of a size that disks are cut into, two of none.
    declare -A ids
    for bytes in 32768 4096 20000 5000; do
        file=$work/$bytes.bin
        head -c "$bytes" /dev/urandom > "$file"
        ids[$bytes]=$(sha256sum "$file" | cut -d' ' -f1)
        cp "$file" "$work/objects/${ids[$bytes]}"
    done
    "$scripts/rfc-peer.py" serve --listen tcp:127.0.0.1:0 --dir "$work/objects" > "$work/serve.log" 2>&1 &
    serve_pid=$!
    background "$serve_pid"
    wait_until 30 grep -q '^listening' "$work/serve.log"
    start_middle ccnx:/elsewhere.org "tcp:127.0.0.1:$(awk '/^listening/ { print $2 }' "$work/serve.log")"

    for bytes in 32768 4096 20000; do
        gets "an object of $bytes bytes comes through the node" "$work/$bytes.bin" \
            "$(object_of "$elsewhere" "${ids[$bytes]}" 32768)"
    done
    gets "so does one in chunks of 1,024 bytes" "$work/5000.bin" "$(object_of "$elsewhere" "${ids[5000]}" 1024)" --chunks
    gets "who reads it at that time gets the same" "$work/5000.bin" "$(object_of "$elsewhere" "${ids[5000]}" 1024)" --chunks
    check "from the node, which keeps parts for seconds" middle_is '.transit.answeredPackets >= 5'
    fetch --count "$(object_of "$elsewhere" "${ids[20000]}" 32768)"
    local hash wrong
    hash=$(said .objectHash)
    wrong=$(sha256sum <<< wrong | cut -d' ' -f1)
    check "both segments are kept on disk" wait_until 30 middle_is '.transit.keptSegments == 2'
    check "the others in memory, five of them chunks" wait_until 30 middle_is '.transit.keptPackets >= 6'

    end_process "$serve_pid"
    local gone='.faces | map(select(.isOutgoing)) | length == 0'
    check "the producer is gone" wait_until 30 middle_is "$gone"
    for bytes in 32768 4096 20000; do
        gets "the object of $bytes bytes is answered all the same" "$work/$bytes.bin" \
            "$(object_of "$elsewhere" "${ids[$bytes]}" 32768)"
    done
    sleep "$PAST_PART_SECONDS"
    comes_back "parts of an object, which cannot be checked, are not kept" "$(object_of "$elsewhere" "${ids[5000]}" 1024)"
    gets "a segment is found under any prefix" "$work/4096.bin" "$(object_of "$third" "${ids[4096]}" 32768)"
    gets "and in any chunk size" "$work/4096.bin" "$(object_of "$elsewhere" "${ids[4096]}" 1024)" --chunks
    comes_back "a packet under its name only" "$(object_of "$third" "${ids[20000]}" 32768)"
    gets "with its own hash as restriction it is answered" "$work/20000.bin" \
        "$(object_of "$elsewhere" "${ids[20000]}" 32768)" --hash-restriction "$hash"
    comes_back "with another hash it is not" "$(object_of "$elsewhere" "${ids[20000]}" 32768)" \
        --hash-restriction "$wrong"
    comes_back "nor for a key that did not sign it" "$(object_of "$elsewhere" "${ids[20000]}" 32768)" \
        --keyid-restriction "$wrong"
    check "status tells what was answered" middle_is \
        '.transit | .answeredSegments >= 3 and .answeredPackets >= 6 and .wrongObjects == 0'

    end_process "$middle_pid"
    run_middle
    gets "after a restart the segments are there" "$work/32768.bin" "$(object_of "$elsewhere" "${ids[32768]}" 32768)"
    comes_back "the packets are not" "$(object_of "$elsewhere" "${ids[20000]}" 32768)"
    ccnfs evict --state "$work/middle/state" --cache "$work/middle/cache" > /dev/null
    comes_back "with the cache emptied nothing is" "$(object_of "$elsewhere" "${ids[32768]}" 32768)"
    end_process "$middle_pid"
    rm -rf "$work/middle"
}

# ---- readers behind the node in between

section_line() {
    local first second third pointer node_key
    start_middle ccnx:/mycorp.com "$repository_address"
    start_reader one "$via"
    check "through the node in between the disk reads as the source" cmp "$small" "$disk"
    stop_reader one
    check "it keeps the segments" wait_until 30 middle_is ".transit.keptSegments >= $((DATA_SEGMENTS - 1))"
    # It looks at catalogs, as every node does.
    check "none of them in its cache, which is for its own readers" test "$(middle .cache.segmentCount)" -le 1
    first=$(home home .interestsReceived)
    start_reader two "$via"
    check "a second reader reads the same" cmp "$small" "$disk"
    stop_reader two
    second=$(home home .interestsReceived)
    note "the repository was sent $first Interests for the first reader, $((second - first)) for the second"
    check "and the repository was hardly asked" test $((second - first)) -le 30

    # Signed, with times.
    pointer=ccnx:/mycorp.com/%40catalog/Chunk=0x00
    fetch --count "$pointer"
    node_key=$(said .keyId)
    fetch --count "$pointer" --keyid-restriction "$node_key"
    check_same "the signed pointer comes to who wants that key" "0 1" "$status $(said .packets)"
    comes_back "and not to who wants another" "$pointer" --keyid-restriction "$(sha256sum <<< x | cut -d' ' -f1)"
    stop_repository
    sleep "$PAST_CACHE_TIME_SECONDS"
    comes_back "past its times it is not answered with" "$pointer"
    end_process "$middle_pid"
    start_repository

    # Nothing is kept where nothing shall be.
    start_middle ccnx:/mycorp.com "$repository_address" 'transit-cache: 0'
    check "transit-cache: 0 removes what there was" test ! -e "$work/middle/cache/transit"
    check_same "and has nothing to tell" null "$(middle .transit)"
    second=$(home home .interestsReceived)
    start_reader three "$via"
    check "the disk reads through such a node" cmp "$small" "$disk"
    stop_reader three
    third=$(home home .interestsReceived)
    check "which asks for everything" test $((third - second)) -ge "$DATA_SEGMENTS"
    end_process "$middle_pid"

    # A small limit holds.
    start_middle ccnx:/mycorp.com "$repository_address" 'transit-cache: 1M'
    start_reader four "$via"
    check "so it does through one that keeps little" cmp "$small" "$disk"
    stop_reader four
    check "whose limit holds" test "$(allocated_bytes "$work/middle/cache/transit/images")" -le $((MIB + 65536))
    end_process "$middle_pid"

    # Nobody needs what lies there.
    rm -f "$work/middle/cache/transit/index.sqlite"*
    head -c 8192 /dev/urandom > "$work/middle/cache/transit/index.sqlite"
    start_middle ccnx:/mycorp.com "$repository_address"
    check "one that is damaged is begun anew" middle_is '.transit.segmentBytes == 0'
    end_process "$middle_pid"
    rm -rf "$work/middle"
}

# ---- what is kept

section_pins() {
    local kept='.kept | map("\(.version) \(.item) \(.state)") | join(", ")'
    start_reader keeper "$repository_address"
    check "fetch --keep takes a template" ccnfs fetch "$NAME@1" --keep
    check_same "status says so" "1 disk0 here" "$(home keeper "$kept")"
    check "also for people" grep -q '^kept .*small version 1 disk0.*: here$' <(ccnfs status || true)
    check "list has the version" grep -qE 'small +1 .* 1 +trusted$' <(ccnfs list)
    check_same "and says what of it" '["disk0"]' "$(ccnfs list --json | jq -c '.[] | select(.name == "'"$NAME"'").versions[0].kept')"
    check "so does versions" grep -qE '^1 .* disk0 +trusted$' <(ccnfs versions "$NAME")
    check "and show" grep -qE '^disk0 .* kept ' <(ccnfs show "$NAME")
    check_same "with its bytes" $((6 * MIB)) "$(home keeper '.kept[0].dataBytes')"
    check "evict leaves it alone" ccnfs evict
    stop_repository
    check "it reads as the source while the repository is down" cmp "$small" "$disk"

    # A restart, and a cache that is gone.
    stop_reader keeper
    rm -rf "$work/keeper/cache"
    start_repository
    start_reader keeper "$repository_address"
    check "with its cache deleted it comes again, though nobody reads" \
        wait_until 60 home_is keeper '.kept | map(.state) == ["here"]'
    stop_repository
    check "all of it" cmp "$small" "$disk"
    start_repository

    # Withdrawn, it stays; until it is told otherwise.
    (use_home "$work/home" && ccnfs delete "$NAME" --version 1) > "$work/delete.log" 2>&1
    is_gone() { [ ! -e "$disk" ]; }
    check "the version is withdrawn" wait_until 20 is_gone
    ccnfs evict > /dev/null
    check "and kept" test "$(home keeper .cache.imageByteCount)" -ge $((6 * MIB))
    refuses "a version that is not kept is told" 66 'nothing is kept' ccnfs unkeep "$NAME@7"
    check "unkeep lets it go" ccnfs unkeep "$NAME"
    check_same "status has it no more" "" "$(home keeper "$kept")"
    check_same "nor list" "" "$(ccnfs list --json | jq -r '.[].versions[].kept[]')"
    ccnfs evict > /dev/null
    check "now it is evicted" test "$(home keeper .cache.imageByteCount)" -lt "$MIB"
    stop_reader keeper
    publish small "$small"

    # A cache that is too small for it.
    start_reader narrow "$repository_address" --cache-limit 2M
    refuses "what the cache cannot hold is not kept" 74 'more than the cache may hold' ccnfs fetch "$NAME" --keep
    check_same "nothing of it" "" "$(home narrow "$kept")"
    check "it is read all the same" cmp "$small" "$disk"
    stop_reader narrow
}

begin transit-and-pins
setup_repository
run_sections foreign line pins
finish
