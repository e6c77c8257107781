#!/bin/bash
# Connections between two nodes that compress what they send, and those that do not: what crosses, counted by a proxy
# in between that knows nothing of it, and what is read. Foreign peers beside them notice nothing.
#
#   SECTIONS: those of the last line
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib-disks.sh"
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib-peer.sh"

readonly NAME=ccnx:/mycorp.com/text
readonly TEXT_MIB=16 NOISE_MIB=4
readonly DATA_BYTES=$(((TEXT_MIB + NOISE_MIB) * MIB))
# What may cross beside the disk's data, and be answered by the catalog's clock between two looks.
readonly SLACK_BYTES=$((512 * 1024))

begin compressed-links
repository_home=$work/repository

# ---- the repository, the proxy, the reader

# Lines of a log, no two alike, then random bytes, then a hole.
make_image() {
    python3 - "$1" "$TEXT_MIB" "$NOISE_MIB" << 'PYTHON'
import os
import random
import sys

path, text, noise = sys.argv[1], int(sys.argv[2]) << 20, int(sys.argv[3]) << 20
dice = random.Random(1)
lines, length = [], 0
while length < text:
    line = f"2026-11-24T12:{dice.randrange(60):02}:{dice.randrange(60):02}Z host{dice.randrange(9)} httpd[{len(lines)}]: " \
           f"GET /srv/images/{dice.randrange(1 << 24):06x}/disk0 HTTP/1.1 200 {dice.randrange(1 << 20)}\n"
    lines.append(line)
    length += len(line)
with open(path, "wb") as out:
    out.write("".join(lines).encode()[:text])
    out.write(os.urandom(noise))
    out.truncate(text + noise + (4 << 20))
PYTHON
}

# start_repository SETTING...: sets repository_pid and port
start_repository() {
    port=$(free_port)
    printf '%s\n' "listen: [tcp:127.0.0.1:$port]" "$@" > "$work/repository.yaml"
    rm -f "$work/repository.log"
    CCNFS_STATE=$repository_home/state CCNFS_CACHE=$repository_home/cache "$CCNFS" node \
        --config "$work/repository.yaml" > "$work/repository.log" 2>&1 &
    repository_pid=$!
    background "$repository_pid"
    wait_until "$NODE_DEADLINE_SECONDS" grep -q '^listening' "$work/repository.log" ||
        not_ok "the repository listens" "$(cat "$work/repository.log")"
}

# start_proxy PORT: leads there; sets proxy_port and proxy_pid
start_proxy() {
    rm -f "$work/proxy.out"
    "$scripts/fault-proxy.py" --listen 127.0.0.1:0 --to "127.0.0.1:$1" --stats "$work/proxy.json" \
        > "$work/proxy.out" 2> "$work/proxy.log" &
    proxy_pid=$!
    background "$proxy_pid"
    wait_until 20 grep -q listening "$work/proxy.out" || not_ok "the proxy listens" "$(cat "$work/proxy.log")"
    proxy_port=$(awk '{ print $2 }' "$work/proxy.out")
}

# Bytes that the proxy passed on to the reader. What it says is a tenth of a second old.
crossed() { sleep 0.3 && jq .answered.bytes "$work/proxy.json"; }

# start_reader PORT [SETTING...]: a node without anything; sets disk
start_reader() {
    rm -rf "$work/reader"
    use_home "$work/reader"
    ccnfs trust add ccnx:/mycorp.com "${key%.pem}.pub" > /dev/null
    {
        printf 'routes: [{prefix: ccnx:/mycorp.com, to: "tcp:127.0.0.1:%s"}]\n' "$1"
        printf '%s\n' "${@:2}"
    } > "$work/reader.yaml"
    node_options=(--config "$work/reader.yaml")
    node
    disk=$mnt/mycorp.com/text/disk0
    wait_until 20 test -f "$disk" || not_ok "the template is there by its name" "$(tail -n 5 "$node_log")"
}

# compress_to PORT: the setting
compress_to() { printf 'compress: ["tcp:127.0.0.1:%s"]' "$1"; }

face() { ccnfs face list --json | jq -r ".[0].$1"; }
# of the repository's only face
far_face() {
    CCNFS_STATE=$repository_home/state CCNFS_CACHE=$repository_home/cache "$CCNFS" face list --json | jq -r ".[0].$1"
}

# reads_all TEXT: sets came to the bytes that crossed for it
reads_all() {
    local before
    before=$(crossed)
    check "$1: the disk reads as its source" cmp "$image" "$disk"
    came=$(($(crossed) - before))
    note "$1: $came bytes crossed for $DATA_BYTES"
}

stop_all() {
    stop_node "$mnt" "$pid"
    end_process "$proxy_pid"
    end_process "$repository_pid"
}

setup_links() {
    image=$work/text.raw mnt=$work/mnt key=$work/publisher.pem
    make_image "$image"
    use_home "$repository_home"
    make_key ccnx:/mycorp.com "$key"
    publish text "$image"
}

# ---- both want it

section_both() {
    start_repository 'accept-compression: true'
    start_proxy "$port"
    start_reader "$proxy_port" "$(compress_to "$proxy_port")"
    check_same "the face is compressed" true "$(face isCompressed)"
    check_same "at the other end, too" true "$(far_face isCompressed)"
    reads_all "compressed"
    check "text takes less than a half, random bytes no more than they are" \
        test "$came" -lt $((TEXT_MIB * MIB / 2 + NOISE_MIB * MIB + SLACK_BYTES))
    check "packets are counted whole" test "$(face traffic.bytesReceived)" -gt "$DATA_BYTES"
    local told
    told=$(face traffic.linkBytesReceived)
    check "and the node tells what really crossed" \
        test $((told - $(crossed))) -lt "$SLACK_BYTES" -a $(($(crossed) - told)) -lt "$SLACK_BYTES"
    check "as the table of faces shows" grep -q 'zstd: .* in, .* out' <(ccnfs face list)
    check "nothing failed" test "$(status_of ccnfs | jq .store.failedFetches)" -eq 0

    # Each connection is agreed on anew.
    end_process "$repository_pid"
    ccnfs evict > /dev/null
    start_again() {
        CCNFS_STATE=$repository_home/state CCNFS_CACHE=$repository_home/cache "$CCNFS" node \
            --config "$work/repository.yaml" > "$work/repository.log" 2>&1 &
        repository_pid=$!
        background "$repository_pid"
    }
    start_again
    is_compressed() { [ "$(face isCompressed)" = true ]; }
    check "after the repository came back it is compressed again" wait_until 40 is_compressed
    forget_pages "$disk"
    check "and the disk reads as its source" cmp "$image" "$disk"
    stop_all
}

# ---- one does not

section_one() {
    start_repository 'accept-compression: true'
    start_proxy "$port"
    start_reader "$proxy_port"
    reads_all "not asked for"
    check_same "nobody asked: the face is plain" "false false" "$(face isCompressed) $(far_face isCompressed)"
    check "all bytes cross" test "$came" -gt "$DATA_BYTES"
    stop_all

    start_repository
    start_proxy "$port"
    start_reader "$proxy_port" "$(compress_to "$proxy_port")"
    reads_all "not accepted"
    check_same "the repository does not accept it: the face is plain" "false false" \
        "$(face isCompressed) $(far_face isCompressed)"
    check "all bytes cross here, too" test "$came" -gt "$DATA_BYTES"
    check_same "packets and link have the same bytes" "$(face traffic.bytesSent)" "$(face traffic.linkBytesSent)"
    stop_all
}

# ---- foreign peers

section_foreign() {
    local relay_pid via leaf root
    start_repository 'accept-compression: true'
    via=tcp:127.0.0.1:$port
    # A forwarder that never heard of it, asked by a node that would like to.
    "$scripts/rfc-peer.py" relay --listen tcp:127.0.0.1:0 --to "$via" > "$work/relay.log" 2>&1 &
    relay_pid=$!
    background "$relay_pid"
    wait_until 10 grep -q '^listening' "$work/relay.log" || not_ok "the relay listens" "$(cat "$work/relay.log")"
    start_proxy "$(awk '/^listening/ { print $2 }' "$work/relay.log")"
    start_reader "$proxy_port" "$(compress_to "$proxy_port")"
    reads_all "through a foreign forwarder"
    check_same "the face to it is plain" false "$(face isCompressed)"
    check "all bytes cross" test "$came" -gt "$DATA_BYTES"
    check_same "so is its own face at the repository, which would accept" false "$(far_face isCompressed)"
    end_process "$relay_pid"
    answer=$(tail -n 1 "$work/relay.log")
    note "the relay: $answer"
    check_same "it met nothing malformed" 0 "$(said .malformed)"
    stop_node "$mnt" "$pid"

    # A foreign consumer of a node that would accept.
    root=$(CCNFS_STATE=$repository_home/state CCNFS_CACHE=$repository_home/cache "$CCNFS" show "$NAME" --json |
        jq -r '.disks[0].root')
    leaf=$work/leaf
    fetch --out "$leaf" "$(object_of "$NAME" "$root" 32768)"
    check_same "a foreign consumer gets plain packets" "0 $root" "$status $(sha256sum "$leaf" | cut -d' ' -f1)"
    end_process "$proxy_pid"
    end_process "$repository_pid"
}

setup_links
for section in ${SECTIONS:-both one foreign}; do
    started=$SECONDS
    note "---- $section"
    "section_$section"
    note "$section took $((SECONDS - started)) s"
done
finish
