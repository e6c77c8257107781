#!/bin/bash
# Foreign CCNx 1.0 nodes: a peer written from the RFCs alone asks our nodes, answers them and forwards between them;
# and neighbours that are no peers at all.
#
#   HOSTILE    connections of the flood (10000); SEED; SECTIONS: those of the last line
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib-disks.sh"
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib-peer.sh"

readonly HOSTILE=${HOSTILE:-10000}
readonly PARALLEL=64
# More than a node has faces for.
readonly CROWD=1100
readonly NAME=ccnx:/mycorp.com/small
readonly SEGMENT_BYTES=32768 DATA_SEGMENTS=192
# Other than the honest reader's: nodes may count the connections of an address.
readonly HOSTILE_HOST=127.0.0.2
# RFC 8609 section 3.2.3.3
readonly HOP_LIMIT=2 MTU_TOO_LARGE=7
readonly RSS_GROWTH_KIB=$((256 * 1024))

# object ID CHUNK-SIZE [CHUNK]: its name; the id in hexadecimal
object() { object_of "${prefix:-$NAME}" "$@"; }

# gets TEXT BYTES SHA256 OPTION...: an answer with these bytes
gets() {
    fetch --count "${@:4}"
    check_same "$1" "0 $2 $3" "$status $(said '"\(.bytes) \(.sha256)"')"
}

# comes_back TEXT CODE HOP-LIMIT NAME OPTION...: an Interest Return that says so, else the Interest as it was sent
comes_back() {
    fetch --count --hop-limit "$3" "${@:4}"
    check_same "$1" "$RETURNED 0 $2 $3 true" \
        "$status $(said '"\(.packets) \(.returnCode) \(.returnedHopLimit) \(.returnedWhole)"')"
}

# ---- peers in the background

# start_peer LOG OPTION...: sets peer_pid and peer_port
start_peer() {
    peer_log=$work/$1.log
    "$scripts/rfc-peer.py" "${@:2}" > "$peer_log" 2>&1 &
    peer_pid=$!
    background "$peer_pid"
    wait_until 30 grep -q '^listening' "$peer_log" || not_ok "the peer listens" "$(cat "$peer_log")"
    peer_port=$(awk '/^listening/ { print $2 }' "$peer_log")
}

# counts LOG PID: sets answer to what a peer has counted until now
counts() {
    local lines
    lines=$(wc -l < "$work/$1.log")
    kill -USR1 "$2"
    has_more_lines() { [ "$(wc -l < "$work/$1.log")" -gt "$lines" ]; }
    wait_until 30 has_more_lines "$1"
    answer=$(tail -n 1 "$work/$1.log")
}

# start_reader HOME ROUTE: a node with an empty store that asks there; sets disk and reader_pid, and leaves its
# home in use
start_reader() {
    use_home "$work/$1"
    ccnfs trust add ccnx:/mycorp.com "${key%.pem}.pub" > /dev/null
    start_node "$work/mnt-$1" --route "ccnx:/mycorp.com=$2"
    reader_pid=$node_pid
    disk=$work/mnt-$1/mycorp.com/small/disk0
    wait_until 20 test -f "$disk" || true
}

stop_reader() {
    stop_node "$work/mnt-$1" "$reader_pid"
    use_home "$work/home"
}

counter() { status_of ccnfs | jq -r "$1 // 0"; }

# ---- the repository

# A template of some MiB with a hole, its last segment short; a node at $mnt that answers for it.
setup_repository() {
    note "seed $SEED"
    use_home "$work/home"
    key=$work/publisher.pem
    make_key ccnx:/mycorp.com "$key"
    small=$work/small.raw mnt=$work/mnt
    truncate -s $((8 * MIB + 1536)) "$small"
    dd if=/dev/urandom of="$small" bs=1M count=6 conv=notrunc status=none
    publish small "$small"
    port=$(free_port)
    via=tcp:127.0.0.1:$port
    udp=udp:127.0.0.1:$port
    node_options=(--listen "$via" --listen "$udp")
    node
    # Ids, as the manifest says: its only node is an object itself.
    root=$(ccnfs show "$NAME" --json | jq -r '.disks[0].root')
    fetch --out "$work/leaf" "$(object "$root" "$SEGMENT_BYTES")"
    mapfile -t ids < <(od -An -v -tx1 -w32 "$work/leaf" | tr -d ' ' | grep -v '^0*$')
    for id in "${ids[@]}"; do object "$id" "$SEGMENT_BYTES"; done > "$work/names"
}

# segment NUMBER: its bytes in the image
segment() { dd if="$small" bs="$SEGMENT_BYTES" skip="$1" count=1 status=none; }

# ---- the codec

section_vectors() {
    local vectors=$repository/Tests/Fixtures/vectors decoded hash
    decoded=$(peer decode "$vectors"/*.hex) || true
    decoded_is() { check_same "$1" "$3" "$(jq -r --slurp "$2" <<< "$decoded")"; }
    decoded_is "each vector decodes" '[.[] | select(.malformed | not)] | length' \
        "$(find "$vectors" -name '*.hex' | wc -l)"
    decoded_is "and those without signature are encoded the same" \
        '[.[] | select(.validation != 5) | .sameEncoded] | unique | join(" ")' true
    decoded_is "payloads are those that were sent" '[.[] | select(.kind == "object") | .payload] | unique | add' \
        "$(python3 -c 'print(bytes(range(100)).hex())')"
    decoded_is "so are the codes of Interest Returns" \
        '[.[] | select(.kind == "return") | .returnCode] | join(" ")' "1 2"
    while read -r file hash; do
        decoded_is "$file has the hash of its README" \
            ".[] | select(.file == \"cefore-$file.hex\") | .objectHash" "$hash"
    done < <(sed -n 's/^- \(object-[a-z0-9-]* [0-9a-f]\{64\}\)$/\1/p' "$vectors/README.md")
}

# ---- the peer asks

section_peer() {
    local id=${ids[0]} wrong node_key pointer
    check_same "the root names as many segments as there are with data" "$DATA_SEGMENTS" "${#ids[@]}"
    check_same "and is the SHA-256 of itself" "$root" "$(sha256sum "$work/leaf" | cut -d' ' -f1)"
    fetch --out "$work/segment" "$(object "$id" "$SEGMENT_BYTES")"
    check "a segment asked for by name is that of the image" cmp <(segment 0) "$work/segment"
    check_same "and its SHA-256 is the id in its name" "$id" "$(said .sha256)"
    check_same "it is one chunk, and says so" 0 "$(said .endChunk)"
    local hash
    hash=$(said .objectHash)
    gets "its own hash as restriction gets it" "$SEGMENT_BYTES" "$id" "$(object "$id" "$SEGMENT_BYTES")" \
        --hash-restriction "$hash"
    wrong=$(sha256sum <<< wrong | cut -d' ' -f1)
    comes_back "a wrong hash restriction gets nothing" "$NO_ROUTE" 32 "$(object "$id" "$SEGMENT_BYTES")" \
        --hash-restriction "$wrong"
    comes_back "neither does a key's: objects are not signed" "$NO_ROUTE" 32 "$(object "$id" "$SEGMENT_BYTES")" \
        --keyid-restriction "$wrong"
    comes_back "an object that is not there comes back: no route" "$NO_ROUTE" 32 "$(object "$wrong" "$SEGMENT_BYTES")"
    comes_back "so does a chunk past the last" "$NO_ROUTE" 32 "$(object "$id" "$SEGMENT_BYTES" 1)"
    comes_back "so does a name of no object" "$NO_ROUTE" 32 ccnx:/mycorp.com/nobody/Chunk=0x00
    comes_back "so does one of another namespace" "$NO_ROUTE" 7 ccnx:/elsewhere.org/x
    comes_back "an object that nobody asked for is not kept" "$NO_ROUTE" 32 "$(object "$wrong" 4096)" --push
    gets "nor in the place of another" "$SEGMENT_BYTES" "$id" "$(object "$id" "$SEGMENT_BYTES")" --push
    comes_back "hop limit 0 from afar is exceeded" "$HOP_LIMIT" 0 "$(object "$id" "$SEGMENT_BYTES")"
    gets "hop limit 1 is answered here" "$SEGMENT_BYTES" "$id" "$(object "$id" "$SEGMENT_BYTES")" --hop-limit 1
    gets "an Interest with a CRC32C is answered" "$SEGMENT_BYTES" "$id" "$(object "$id" "$SEGMENT_BYTES")" --crc32c
    gets "so is one that comes in pieces of 7 bytes" "$SEGMENT_BYTES" "$id" "$(object "$id" "$SEGMENT_BYTES")" \
        --pieces 7
    for size in 1024 1000 65536; do
        gets "in chunks of $size bytes it is the same" "$SEGMENT_BYTES" "$id" "$(object "$id" "$size")" --chunks
    done
    check_same "and its last chunk is numbered so" 0 "$(said .endChunk)"

    fetch --names "$work/names" --out "$work/data" --window 64
    check "all segments, asked for at once, are the image's data" cmp -n $((6 * MIB)) "$small" "$work/data"
    check_same "with 64 Interests outstanding on the connection" 64 "$(said .mostOutstanding)"
    check_same "each answered once" "$DATA_SEGMENTS 0" "$(said '"\(.packets) \(.unasked)"')"

    # What is signed: a peer that has only the packet can tell that it is whole.
    pointer=ccnx:/mycorp.com/%40catalog/Chunk=0x00
    fetch --count "$pointer" --signed "$work/pointer"
    node_key=$(said .keyId)
    check_same "the pointer is signed (EC-SECP-384R1), and its KeyId is that of the key it carries" \
        "7 $(sha256sum "$work/pointer.der" | cut -d' ' -f1)" "$(said '"\(.validation) \(.keyId)"')"
    check "OpenSSL finds its signature good" openssl dgst -sha384 -keyform DER -verify "$work/pointer.der" \
        -signature "$work/pointer.signature" "$work/pointer.signed"
    check "its ExpiryTime is to come" test "$(said .expiry)" -gt "$(milliseconds)"
    fetch --count "$pointer" --keyid-restriction "$node_key"
    check_same "it comes to who wants that key" "0 1" "$status $(said .packets)"
    comes_back "and not to who wants another" "$NO_ROUTE" 32 "$pointer" --keyid-restriction "$wrong"
    check_same "nothing is pending when all is answered" 0 "$(counter .pendingInterests)"
}

# ---- the peer forwards

# Leaves objects in $work/kept, in the layout of `rfc-peer.py serve`.
section_relay() {
    local relay_pid upstream hits
    rm -rf "$work/kept"
    start_peer relay relay --listen tcp:127.0.0.1:0 --to "$via" --keep "$work/kept"
    relay_pid=$peer_pid
    start_reader relayed "tcp:127.0.0.1:$peer_port"
    check "through a foreign forwarder the template is there" test -f "$disk"
    check "and its disk reads as the source" cmp "$small" "$disk"
    counts relay "$relay_pid"
    upstream=$(said .upstream) hits=$(said .hits)
    note "through the relay: $answer"
    check "each segment passed through it" test "$upstream" -ge "$DATA_SEGMENTS"
    check "nothing came that it had not asked for, or malformed" test "$(said '.unsolicited + .malformed')" -eq 0
    ccnfs evict > /dev/null
    # Neither is anything left in memory.
    stop_reader relayed
    start_reader relayed "tcp:127.0.0.1:$peer_port"
    check "with its cache evicted the node reads the same" cmp "$small" "$disk"
    check "and has fetched all of it anew" test "$(counter .store.fetchedObjects)" -ge "$DATA_SEGMENTS"
    counts relay "$relay_pid"
    note "after the second read: $answer"
    check "out of the relay's cache" test $(($(said .hits) - hits)) -ge "$DATA_SEGMENTS"
    # Pointers expire.
    check "which asked next to nothing upstream" test $(($(said .upstream) - upstream)) -le 10

    # Dynamic scope: what asks, asks the relay.
    through() { local via=tcp:127.0.0.1:$peer_port && "$@"; }
    through comes_back "hop limit 1 ends at the relay" "$HOP_LIMIT" 1 "$(object "$root" 1024)"
    through fetch --count --hop-limit 2 "$(object "$root" 1024)"
    check_same "hop limit 2 reaches the repository" 1 "$(said .packets)"
    stop_reader relayed
    end_process "$relay_pid"
}

# ---- the peer answers

section_serve() {
    local serve_pid
    [ -d "$work/kept" ] || section_relay
    # Pointers are signed by the repository and good for seconds: who answers for it has to ask it for them.
    start_peer serve serve --listen tcp:127.0.0.1:0 --dir "$work/kept" --others-to "$via"
    serve_pid=$peer_pid
    start_reader served "tcp:127.0.0.1:$peer_port"
    check "a foreign node that has the objects shows the template" test -f "$disk"
    # From now on there is nobody else.
    stop_repository
    check "its disk reads as the source while the repository is down" cmp "$small" "$disk"
    check "that is all the node fetched" test "$(counter .store.fetchedObjects)" -ge "$DATA_SEGMENTS"
    counts serve "$serve_pid"
    note "the serving peer: $answer"
    check "and all of it came from the folder" test "$(said .hits)" -ge "$DATA_SEGMENTS"
    stop_reader served
    end_process "$serve_pid"
    node
}

stop_repository() {
    CCNFS_STATE=$work/home/state CCNFS_CACHE=$work/home/cache stop_node "$mnt" "$pid"
}

# ---- the same over UDP

section_udp() {
    # Over TCP, before `via` is another.
    [ -d "$work/kept" ] || section_relay
    local via=$udp id=${ids[0]} wrong
    wrong=$(sha256sum <<< wrong | cut -d' ' -f1)
    gets "over UDP a segment comes in chunks of 1,024 bytes" "$SEGMENT_BYTES" "$id" "$(object "$id" 1024)" --chunks
    check_same "of which the last is number 31" 31 "$(said .endChunk)"
    check_same "one datagram each" 32 "$(said .packets)"
    comes_back "over UDP an object that is not there comes back" "$NO_ROUTE" 32 "$(object "$wrong" 1024)"
    comes_back "in one packet it is too large for one who may have forged his address" "$MTU_TOO_LARGE" 32 \
        "$(object "$id" "$SEGMENT_BYTES")"
    comes_back "over UDP hop limit 0 is exceeded" "$HOP_LIMIT" 0 "$(object "$id" 1024)"
    head -n 16 "$work/names" | sed 's,/32768/,/1024/,' > "$work/names-1024"
    fetch --names "$work/names-1024" --out "$work/data" --chunks --window 16
    check "16 segments at once are the image's" cmp -n $((16 * SEGMENT_BYTES)) "$small" "$work/data"
    note "over UDP: $answer"

    start_reader datagrams "$udp"
    check "a node whose route is udp: reads the disk" cmp "$small" "$disk"
    stop_reader datagrams
    start_peer serve-udp serve --listen udp:127.0.0.1:0 --dir "$work/kept" --others-to "$udp"
    start_reader datagrams-served "udp:127.0.0.1:$peer_port"
    check "also from the foreign node" cmp "$small" "$disk"
    counts serve-udp "$peer_pid"
    note "the serving peer: $answer"
    check "in chunks of at most 1,024 bytes" test "$(said .hits)" -ge $((DATA_SEGMENTS * SEGMENT_BYTES / 1024))
    stop_reader datagrams-served
    end_process "$peer_pid"
}

# ---- no peers at all

# KiB of the repository's node, now and at most since reset_peak
rss() { awk "/^$1:/ { print \$2 }" "/proc/$pid/status"; }
reset_peak() { echo 5 > "/proc/$pid/clear_refs"; }
open_files() { find "/proc/$pid/fd" -mindepth 1 | wc -l; }

# Bytes a second that an honest reader gets in some seconds.
throughput() { peer fetch --via "$via" --names "$work/names" --count --window 64 --lifetime 10000 --for "$1" |
    jq -r 'if .returnCode == null and (.failure | not) then .bytes / .seconds | floor else 0 end'; }

# bounded BEFORE: memory did not grow with what strangers sent
bounded() {
    local now peak
    now=$(rss VmRSS) peak=$(rss VmHWM)
    note "memory of the node: $(($1 / 1024)) MiB before, $((now / 1024)) after, $((peak / 1024)) at most"
    check "the node's memory has not grown by 256 MiB" test $((now - $1)) -lt "$RSS_GROWTH_KIB"
    check "nor had it at any moment" test $((peak - $1)) -lt "$RSS_GROWTH_KIB"
}

# Over UDP nobody says that he goes: such a face ends when it was silent for long.
no_faces() { [ "$(counter '.faces | map(select(.address | startswith("udp:") | not)) | length')" -eq 0 ] && [ "$(counter .pendingInterests)" -eq 0 ]; }

# hostile LOG OPTION...: in the background; sets hostile_pid
hostile() {
    "$scripts/rfc-peer.py" hostile --to "$via" --from "$HOSTILE_HOST" --seed "$SEED" "${@:2}" > "$work/$1.log" 2>&1 &
    hostile_pid=$!
    background "$hostile_pid"
}

# hostile_ends LOG: sets answer
hostile_ends() {
    wait "$hostile_pid" || not_ok "the hostile peer ends by itself" "$(tail -n 5 "$work/$1.log")"
    answer=$(tail -n 1 "$work/$1.log")
    note "$1: $answer"
}

section_hostile() {
    local before files alone during
    alone=$(throughput 3)
    before=$(rss VmRSS) files=$(open_files)
    reset_peak
    hostile flood --kind mixed --connections "$HOSTILE" --parallel "$PARALLEL" --hold 0.3
    during=$(throughput 6)
    check "an honest reader is served meanwhile" test "$during" -gt 0
    note "$(awk -v alone="$alone" -v during="$during" 'BEGIN { printf "an honest reader gets %.1f MB/s alone, " \
        "%.1f MB/s meanwhile: factor %.2f", alone / 1e6, during / 1e6, during / alone }')"
    hostile_ends flood
    check_same "all $HOSTILE connections were made" "$HOSTILE 0" "$(said '"\(.connections) \(.notConnected)"')"
    check_same "the node ended each that sent garbage" "0" \
        "$(said '.outcomes.garbage | to_entries | map(select(.key == "leftOpen") | .value) | add // 0')"
    check "and gave the flood's Interests back: no route" test "$(said '.returns["1"] // 0')" -gt 0
    bounded "$before"
    check "all faces end, and nothing is pending" wait_until 30 no_faces
    check "nor is a file left open" test "$(open_files)" -le $((files + 4))
    gets "an honest peer is answered" "$SEGMENT_BYTES" "${ids[0]}" "$(head -n 1 "$work/names")"
}

# Who does not end a packet that he began is not waited for.
section_slow() {
    local half slowloris
    hostile half --kind half --connections 16 --parallel 16 --hold 20
    half=$hostile_pid
    hostile slowloris --kind slowloris --connections 16 --parallel 16 --hold 20
    slowloris=$hostile_pid
    hostile_pid=$half
    hostile_ends half
    check_same "a packet that is begun and not ended within 20 s ends its connection" 16 "$(said '.closed + .reset')"
    hostile_pid=$slowloris
    hostile_ends slowloris
    check_same "also if a byte of it comes now and then" 16 "$(said '.closed + .reset')"
}

# Who asks and takes nothing has his queue, and no more.
section_deaf() {
    local before
    before=$(rss VmRSS)
    reset_peak
    hostile deaf --kind deaf --name "$(head -n 1 "$work/names")" --interests 500 --connections "$PARALLEL" \
        --parallel "$PARALLEL" --hold 6
    sleep 2
    gets "beside $PARALLEL peers that take nothing an honest one is answered" "$SEGMENT_BYTES" "${ids[0]}" \
        "$(head -n 1 "$work/names")" --lifetime 10000
    note "in $(said .seconds) s"
    hostile_ends deaf
    bounded "$before"
    check "all faces end, and nothing is pending" wait_until 30 no_faces
}

# One address cannot take all the places there are.
section_crowd() {
    hostile crowd --kind half --connections "$CROWD" --parallel "$CROWD" --hold 4
    sleep 2
    gets "beside $CROWD connections of one address an honest peer is answered" "$SEGMENT_BYTES" "${ids[0]}" \
        "$(head -n 1 "$work/names")"
    hostile_ends crowd
    check "all faces end, and nothing is pending" wait_until 30 no_faces
}

# From many ports: no more faces than an address may have, none for what is no packet.
section_datagrams() {
    local before malformed
    before=$(rss VmRSS) malformed=$(counter .malformedDatagrams)
    reset_peak
    via=$udp hostile datagrams --kind datagrams --connections "$CROWD" --parallel "$PARALLEL" --interests 40
    gets "beside a flood of datagrams an honest peer is answered" "$SEGMENT_BYTES" "${ids[0]}" \
        "$(head -n 1 "$work/names")" --lifetime 10000
    hostile_ends datagrams
    check "what was no packet was counted" test "$(counter .malformedDatagrams)" -gt "$malformed"
    check "no more faces than an address may have" \
        test "$(counter '.faces | map(select(.address | startswith("udp:'"$HOSTILE_HOST"':"))) | length')" -le 256
    check "others were turned away" test "$(counter .datagramsTurnedAway)" -gt 0
    bounded "$before"
    gets "afterwards one over UDP is answered" "$SEGMENT_BYTES" "${ids[0]}" "$(object "${ids[0]}" 1024)" --chunks
    via=$udp gets "over UDP, too" "$SEGMENT_BYTES" "${ids[0]}" "$(object "${ids[0]}" 1024)" --chunks
}

begin interop
setup_repository
run_sections vectors peer relay serve udp hostile slow deaf crowd datagrams
finish
