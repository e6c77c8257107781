#!/bin/bash
# Nodes that find each other on a link, each in a network namespace of its own on one bridge, and a repository that they
# were told of: who finds whom, what the repository has to send then, who is gone when, and what garbage and forged
# announcements lead to.
#
#   SEED      of the garbage; printed
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib.sh"

readonly NAME=ccnx:/mycorp.com/app1/linuxvm PREFIX=ccnx:/mycorp.com SEED=${SEED:-$RANDOM}
readonly NO_PERMISSION=77 CONFIGURATION=78
readonly PORT=9695
# Of a host, in Sources/Faces/FoundNeighbours.swift.
readonly NODES_OF_A_HOST=8
# Three and a half times the interval of a second, and one for the looking.
readonly SILENT_MILLISECONDS=4500

begin discovery
need_root
command -v ip > /dev/null || skip_all "there is no ip"
ip netns add "ccnfs$$hub" 2> /dev/null || skip_all "network namespaces cannot be made here"
on_exit ip netns delete "ccnfs$$hub"
note "seed $SEED"

# ---- a bridge, and namespaces on it

ip -n "ccnfs$$hub" link add br0 type bridge
ip -n "ccnfs$$hub" link set br0 up
# host HOME: a namespace for its node, not yet on the bridge
host() {
    ip netns add "ccnfs$$$1"
    on_exit ip netns delete "ccnfs$$$1"
    ip -n "ccnfs$$$1" link set lo up
}
# plug HOME [ADDRESS]: gives it an eth0 on the bridge
plug() {
    ip -n "ccnfs$$hub" link add "to-$1" type veth peer name eth0 netns "ccnfs$$$1"
    ip -n "ccnfs$$hub" link set "to-$1" master br0 up
    if [ $# -gt 1 ]; then ip -n "ccnfs$$$1" address add "$2/24" dev eth0; fi
    ip -n "ccnfs$$$1" link set eth0 up
}
# Not `ip netns exec`, which changes mounts, too. What goes on in the background is entered without this: a function there
# is a process of its own.
within() { nsenter --net="/run/netns/ccnfs$$$1" "${@:2}"; }
declare -A address=([repository]=10.77.0.1 [a]=10.77.0.2 [b]=10.77.0.3 [quiet]=10.77.0.4)
for home in repository a b quiet; do
    host "$home"
    plug "$home" "${address[$home]}"
done

# at HOME COMMAND...: a command in another home
at() { CCNFS_STATE=$work/$1/state CCNFS_CACHE=$work/$1/cache "$CCNFS" "${@:2}"; }
# of HOME EXPRESSION: a part of its status
of() { status_of at "$1" | jq "$2"; }
# serve HOME [OPTION...]: a node in its namespace; its process in pids[HOME]
declare -A pids
serve() {
    : > "$work/$1.log"
    CCNFS_STATE=$work/$1/state CCNFS_CACHE=$work/$1/cache \
        nsenter --net="/run/netns/ccnfs$$$1" "$CCNFS" node "${@:2}" > "$work/$1.log" 2>&1 &
    pids[$1]=$!
    on_exit end_process "${pids[$1]}"
    wait_until 20 grep -q '^listening' "$work/$1.log" || not_ok "$1 starts" "$(tail "$work/$1.log")"
}
# begin_node HOME LISTEN [DISCOVER]: with the repository's route
begin_node() {
    printf 'listen: ["%s"]\nroutes: [{prefix: %s, to: "tcp:%s:%s"}]\ncatalogs: {interval: 500ms}\n' \
        "$2" "$PREFIX" "${address[repository]}" "$PORT" > "$work/$1.yaml"
    [ $# -lt 3 ] || echo "discover: $3" >> "$work/$1.yaml"
    serve "$1" --config "$work/$1.yaml"
}
# peers HOME: addresses of those that it found and is connected to
peers() { at "$1" peer list --json | jq -c '[.[] | select(.isFound and .isUp) | .address]'; }
has_peers() { [ "$(peers "$1")" = "$2" ]; }
# gone_within MILLISECONDS HOME: it has no peers any more
gone_within() {
    local started
    started=$(milliseconds)
    until has_peers "$2" '[]'; do
        [ $(($(milliseconds) - started)) -lt "$1" ] || return 1
        sleep 0.05
    done
    note "after $(($(milliseconds) - started)) ms"
}
tcp() { echo "[\"tcp:$1:$PORT\"]"; }

image=$work/image.raw
small_image "$image" 64
key=$work/publisher.pem
at repository key generate --out "$key" > "$work/key.log" 2>&1
for home in repository a b; do
    at "$home" trust add "$PREFIX" "${key%.pem}.pub" >> "$work/key.log" 2>&1
done
check "a template is published" at repository publish "$image" "$NAME" --key "$key"
data=$(at repository show "$NAME" --json | jq '[.disks[].dataBytes] | add')

# ---- who finds whom

serve repository --listen "tcp:${address[repository]}:$PORT"
begin_node quiet "tcp:0.0.0.0:$PORT"
nsenter --net="/run/netns/ccnfs$$a" "$scripts/neighbour.py" hear "${address[a]}" 60 > "$work/heard.log" 2>&1 &
on_exit end_process $!
begin_node a "tcp:0.0.0.0:$PORT" '{devices: [eth0], interval: 1s}'
begin_node b "tcp:0.0.0.0:$PORT" '{devices: all, interval: 1s}'
check "a finds b" wait_until 30 has_peers a "$(tcp "${address[b]}")"
check "b finds a" wait_until 30 has_peers b "$(tcp "${address[a]}")"
check "the list says that it was found" grep -qE "tcp:${address[b]}:$PORT +found +up" <(at a peer list)
check_same "one connection leads there" 1 \
    "$(at a face list --json | jq '[.[] | select(.direction == "outgoing" and .purposes == ["peer"])] | length')"
check "whoever reads the format alone hears both" wait_until 30 grep -qE "^${address[b]} tcp $PORT 3500 [0-9a-f]{32}$" "$work/heard.log"
check "status says where a is announced" test \
    "$(of a '.discovery.links | map(select(.address == "'"${address[a]}"'%eth0" and .isAnnounced)) | length')" = 1
check_same "a node that was not told to finds nobody" '[]' "$(at quiet peer list --json | jq -c .)"
check_same "and looks for nobody" null "$(of quiet .discovery)"
refuses "a peer that was found is not removed" "$NO_PERMISSION" 'found on the local link' \
    at a peer remove "tcp:${address[b]}:$PORT"

# ---- what the repository has to send

listed() { at a show "$NAME" && at b show "$NAME"; }
check "both list the template" wait_until 30 listed
check "a reads every byte" at a fetch "$NAME"
check "b does" at b fetch "$NAME"
check "they are the right ones" at b export "$NAME" "$work/copy.raw"
check "as published" cmp "$image" "$work/copy.raw"
from_repository=$(of b '[.sources[] | select(.isPeer | not) | .bytes] | add')
from_peer=$(of b '[.sources[] | select(.isPeer) | .bytes] | add')
note "of $data bytes b took $from_peer from the neighbour it found, $from_repository from the repository"
check "b took them from the neighbour that it found" test "$from_peer" -ge $((data * 7 / 8))
check "and next to nothing from the repository" test "$from_repository" -lt $((data / 8))

# ---- garbage, and what is forged

refused() { of a .discovery.refusedDatagrams; }
before=$(refused)
check "garbage is sent to the group" within quiet "$scripts/neighbour.py" noise "${address[quiet]}" 300 "$SEED"
all_counted() { [ "$(refused)" -ge $((before + 300)) ]; }
check "it is counted" wait_until 30 all_counted
check_same "and leads to nobody" "$(tcp "${address[b]}")" "$(peers a)"
mapfile -t ports < <(seq 2001 2040)
check "forty nodes of one host are announced" within quiet "$scripts/neighbour.py" say "${address[quiet]}" \
    "${ports[@]}" --lifetime 8000
some() { [ "$(at a peer list --json | jq length)" -gt 1 ]; }
check "some are taken for neighbours" wait_until 30 some
check_same "no more than one host may have, at the address that they came from" \
    "$NODES_OF_A_HOST [\"tcp:${address[quiet]}\"]" "$(at a peer list --json | jq -r --arg b "tcp:${address[b]}:$PORT" \
        '[.[].address | select(. != $b)] | "\(length) \([.[] | sub(":[0-9]+$"; "")] | unique | tojson)"')"
ip -n "ccnfs$$quiet" address add 10.99.0.1/24 dev eth0
check "a node is announced from an address that is not on the link" within quiet \
    "$scripts/neighbour.py" say 10.99.0.1 2099
only_b() { [ "$(at a peer list --json | jq -c '[.[].address]')" = "$(tcp "${address[b]}")" ]; }
check "all are gone with the lifetime that was announced" wait_until 30 only_b
check "the neighbour was there all the time" test "$(at a face list --json | jq \
    '[.[] | select(.address == "'"tcp:${address[b]}:$PORT"'")][0].traffic.upSeconds')" -ge 3

# ---- who is gone when

kill -9 "${pids[b]}"
check "a node that was killed is gone when three announcements are missing" gone_within "$SILENT_MILLISECONDS" a
wait "${pids[b]}" 2> /dev/null || true
begin_node b "tcp:0.0.0.0:$PORT" '{devices: all, interval: 1s}'
check "it comes back" wait_until 30 has_peers a "$(tcp "${address[b]}")"
kill "${pids[b]}"
check "one that ends says so" gone_within 2000 a
wait "${pids[b]}" 2> /dev/null || true

# ---- a device that appears later, IPv6 alone

host late
begin_node late "tcp:[::]:$PORT" '{devices: [eth0], interval: 1s}'
check_same "without its device a node runs, and finds nobody" '[] []' "$(of late .discovery.links | jq -c .) $(peers late)"
if [ -e /proc/net/if_inet6 ]; then
    plug late
    linked() { peers a | grep -qE '^\["tcp:\[fe80::[0-9a-f:]+%eth0\]:9695"\]$'; }
    check "when the device appears it is found, at its link-local address" wait_until 30 linked
else
    plug late 10.77.0.5
    check "when the device appears it is found" wait_until 30 has_peers a "$(tcp 10.77.0.5)"
fi

# ---- settings

printf 'discover: {devices: all, interval: 1ms}\n' > "$work/wrong.yaml"
refuses "a wrong value is named with its line" "$CONFIGURATION" 'wrong.yaml:1:36: discover.interval must be from' \
    at a config check "$work/wrong.yaml"
finish
