#!/bin/bash
# Routes, peers and faces of a node that runs: added, listed, removed; settings that are read anew, trust among them; an
# address that was published to.
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib.sh"

readonly NAME=ccnx:/mycorp.com/app1/linuxvm PREFIX=ccnx:/mycorp.com
readonly NOT_THERE=66 UNAVAILABLE=69 BAD_DATA=65

begin runtime-routes
image=$work/image.raw
small_image "$image" 64
address=tcp:127.0.0.1:$(free_port)
near=tcp:127.0.0.1:$(free_port)

# at HOME COMMAND...: a command in another home
at() { CCNFS_STATE=$work/$1/state CCNFS_CACHE=$work/$1/cache "$CCNFS" "${@:2}"; }
# serve HOME LISTEN [OPTION...]: a node without a mount; sets serving
serve() {
    CCNFS_STATE=$work/$1/state CCNFS_CACHE=$work/$1/cache \
        "$CCNFS" node --listen "$2" "${@:3}" > "$work/$1.log" 2>&1 &
    serving=$!
    on_exit end_process "$serving"
    wait_until 20 grep -q '^listening' "$work/$1.log" || not_ok "$1 starts" "$(tail "$work/$1.log")"
}

key=$work/publisher.pem
at repository key generate --out "$key" > "$work/key.log" 2>&1
for home in repository near node; do
    at "$home" trust add "$PREFIX" "${key%.pem}.pub" >> "$work/key.log" 2>&1
done
check "a template is published" at repository publish "$image" "$NAME" --key "$key"

refuses "without a node there are no routes" "$UNAVAILABLE" 'no node runs' at node route list
refuses "nor faces" "$UNAVAILABLE" 'no node runs' at node face add "$address"
refuses "nor peers" "$UNAVAILABLE" 'no node runs' at node peer remove "$address"

serve repository "$address" --accept-publish
serve near "$near" --route "$PREFIX=$address"

# ---- a route

use_home "$work/node"
config=$work/ccnfs.yaml
echo 'catalogs: {interval: 500ms}' > "$config"
start_node "$work/mnt" --config "$config"
node=$node_pid
disk=$work/mnt/mycorp.com/app1/linuxvm/disk0
check_same "a node that was told of nobody has no route" "[]" "$(ccnfs route list --json | jq -c .)"
check "no template either" test ! -e "$disk"

check "a route is added" grep -q 'until the node ends' <(ccnfs route add "$PREFIX" "$address")
check "the template is there within seconds" wait_until 30 test -f "$disk"
check "and is read" cmp "$image" "$disk"
check_same "the list says where it is from" "[[\"$PREFIX\",10,false,true]]" \
    "$(ccnfs route list --json | jq -c '[.[] | [.prefix, .cost, .isConfigured, .isUp]]')"
check "once more changes nothing" grep -q 'there already' <(ccnfs route add "$PREFIX" "$address")
check "another cost does" ccnfs route add "$PREFIX" "$address" --cost 4
check_same "which is listed" 4 "$(ccnfs route list --json | jq '.[0].cost')"
refuses "a route to no address" "$BAD_DATA" 'begins with' ccnfs route add "$PREFIX" nowhere

# ---- faces

face() { ccnfs face list --json | jq -r ".[0].$1"; }
is_up() { [ "$(face id)" != null ]; }
check_same "the face is there for the route" '["route"]' "$(face 'purposes | tojson')"
check "it counts what came" test "$(face traffic.bytesReceived)" -gt 8388608
first=$(face id)
check "a face that a route needs is closed" grep -q 'comes back' <(ccnfs face remove "$first")
came_back() { is_up && [ "$(face id)" != "$first" ]; }
check "and comes back" wait_until 30 came_back
refuses "a face that is not there" "$NOT_THERE" 'no face' ccnfs face remove "$first"
check "a face is added" ccnfs face add "$near"
added() { ccnfs face list --json | jq -e --arg near "$near" '.[] | select(.address == $near and .id != null)'; }
check "it comes up" wait_until 30 added
incoming() { at near face list --json | jq -r '[.[] | select(.direction == "incoming") | .id] | max // "none"'; }
seen() { [ "$(incoming)" != none ]; }
check "the neighbour sees it" wait_until 30 seen
check "and can close it" at near face remove "$(incoming)"
check "it is connected again" wait_until 30 added
check "removed by its address" ccnfs face remove "$near"
refuses "it stays away" "$NOT_THERE" 'no face' ccnfs face remove "$near"

# ---- a peer

check "the near node has the template" wait_until 30 at near show "$NAME"
check "all of it" at near fetch "$NAME"
check "a peer is added" ccnfs peer add "$near"
peer_is_up() { ccnfs peer list --json | jq -e '.[0].isUp'; }
check "it comes up" wait_until 30 peer_is_up
ccnfs evict > /dev/null
forget_pages "$disk"
check "every byte is read again" cmp "$image" "$disk"
check "from the peer" test "$(status_of ccnfs | jq '[.sources[] | select(.isPeer) | .bytes] | add')" -gt 4194304
check "the peer is removed" ccnfs peer remove "$near"
check_same "and asked no more" 0 "$(status_of ccnfs | jq '[.sources[] | select(.isPeer)] | length')"
refuses "it is no peer" "$NOT_THERE" 'no peer' ccnfs peer remove "$near"

# ---- without the route

ccnfs evict > /dev/null
forget_pages "$disk"
check "the beginning is read" cmp -n 1048576 "$image" "$disk"
check "the route is removed" ccnfs route remove "$PREFIX" "$address"
refuses "there is none any more" "$NOT_THERE" 'no route' ccnfs route remove "$PREFIX" "$address"
check "what was read is here" cmp -n 1048576 "$image" "$disk"
ccnfs evict > /dev/null
forget_pages "$disk"
started=$(milliseconds)
fails() { ! dd if="$disk" of="$work/read" bs=1M count=1 iflag=direct status=none; }
check "what is not here is an error" fails
check "at once" test $(($(milliseconds) - started)) -lt 10000
check "whose cause is told" grep -q . <(ccnfs status "$disk" --json | jq -r '.error // empty')
check_same "nobody is connected to" "[]" "$(ccnfs face list --json | jq -c .)"
check "nobody misses the catalog" ccnfs status

# ---- settings that are read anew

printf 'catalogs: {interval: 500ms}\nroutes: [{prefix: %s, to: "%s"}]\n' "$PREFIX" "$address" > "$config"
kill -HUP "$node"
configured() { [ "$(ccnfs route list --json | jq -c 'map(.isConfigured)')" = '[true]' ]; }
check "SIGHUP takes routes out of the settings" wait_until 30 configured
check "the disk is read" cmp "$image" "$disk"
check "a run-time peer beside them" ccnfs peer add "$near"
# ---- trust that is read anew

key_id=$(at repository key show "${key%.pem}.pub" --json | jq -r .keyId)
check "the key is trusted no more" ccnfs trust remove "$PREFIX" "$key_id"
refuses "what it signed is not served" 77 'not trusted' ccnfs deploy "$NAME" web-01
printf 'catalogs: {interval: 500ms}\nroutes: [{prefix: %s, to: "%s"}]\ntrust: [{prefix: %s, key: "%s", rights: [publish, manage]}]\n' \
    "$PREFIX" "$address" "$PREFIX" "${key%.pem}.pub" > "$config"
kill -HUP "$node"
trusted() { [ "$(ccnfs trust list --json | jq -c 'map([.isConfigured, .rights])')" = "$1" ]; }
check "SIGHUP takes trust out of the settings, with its rights" wait_until 30 trusted '[[true,["publish","manage"]]]'
check "in words too" grep -q " settings  *publish,manage" <(ccnfs trust list)
check "the disk is read" cmp "$image" "$disk"
refuses "no command takes it away" 73 'settings file' ccnfs trust remove "$PREFIX" "$key_id"
printf 'catalogs: {interval: 500ms}\nroutes: [{prefix: %s, to: "%s"}]\ntrust: [{prefix: %s, key: "%s"}]\n' \
    "$PREFIX" "$address" "$PREFIX" "$work/no-such.pub" > "$config"
kill -HUP "$node"
check "a key that is not there is named in the log" wait_until 30 grep -q 'no-such.pub' "$node_log"
check "and the old trust stays" trusted '[[true,["publish","manage"]]]'
printf 'catalogs: {interval: 500ms}\nroutes: [{prefix: %s, to: "%s"}]\n' "$PREFIX" "$address" > "$config"
kill -HUP "$node"
check "what is in the file no more is trusted no more" wait_until 30 trusted '[]'
refuses "nor served" 77 'not trusted' ccnfs deploy "$NAME" web-01
check "it is trusted by a command" ccnfs trust add "$PREFIX" "${key%.pem}.pub"
check "and served" cmp "$image" "$disk"

# ---- a faulty file

printf 'rotues: []\n' > "$config"
kill -HUP "$node"
told() { grep -q "ccnfs.yaml:1:1: there is no key rotues" "$node_log"; }
check "a faulty file is named with its line" wait_until 30 told
check "and the old settings stay" configured
printf 'catalogs: {interval: 700ms}\n' > "$config"
kill -HUP "$node"
gone() { [ "$(ccnfs route list --json | jq -c .)" = '[]' ]; }
check "a route that is in the file no more goes" wait_until 30 gone
check_same "the peer of a command stays" '[false]' "$(ccnfs peer list --json | jq -c 'map(.isConfigured)')"
check "that other settings wait for a start is said" grep -q 'at the next start' "$node_log"
ccnfs peer remove "$near" > /dev/null

# ---- an address that was published to

repository_key=$(at repository key show "$work/repository/state/keys/node.pem" --json | jq -r .keyId)
check "the node publishes elsewhere" ccnfs publish "$image" ccnx:/mycorp.com/other --key "$key" \
    --to "$address" --repository-key "$repository_key"
no_faces() { [ "$(ccnfs face list --json | jq -c .)" = '[]' ]; }
check "and is not connected any more" wait_until 30 no_faces
stop_node "$work/mnt" "$node"
finish
