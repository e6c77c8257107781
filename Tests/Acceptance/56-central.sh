#!/bin/bash
# A repository, two nodes that nobody can connect to, and an administrator without a node: templates listed, tagged and
# withdrawn from there, the VMs of all nodes found, VMs deployed, snapshotted and republished on NODE:VM; every refusal
# named; a node and the repository killed. It takes 100 seconds at least: a dead node is late after 90.
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib.sh"

readonly NAME=ccnx:/mycorp.com/app1/linuxvm
readonly HOST1=ccnx:/mycorp.com/nodes/host1 HOST2=ccnx:/mycorp.com/nodes/host2
readonly NOT_FOUND=66 UNAVAILABLE=69 NO_PERMISSION=77

begin central
port=$(free_port)
repository=tcp:127.0.0.1:$port
small=$work/small.raw
small_image "$small" 16

# at HOME COMMAND...: a command in another home
at() { CCNFS_STATE=$work/$1/state CCNFS_CACHE=$work/$1/cache "$CCNFS" "${@:2}"; }
# admin COMMAND...: of the administrator, who is on no node
admin() { at administrator "$@"; }

# serve HOME OPTION...: a node without a mount; sets serving
serve() {
    local home=$1
    shift
    CCNFS_STATE=$work/$home/state CCNFS_CACHE=$work/$home/cache \
        "$CCNFS" node --listen "unix:$work/$home.sock" "$@" > "$work/$home.log" 2>&1 &
    serving=$!
    on_exit end_process "$serving"
    # Not by asking it: a command that finds no node takes the state for itself.
    wait_until 20 grep -q '^listening' "$work/$home.log" || not_ok "$home starts" "$(tail "$work/$home.log")"
}

serve_repository() {
    serve repository --listen "$repository" "$@"
    repository_process=$serving
}

serve_host() {
    serve "$1" --route "ccnx:/mycorp.com=$repository" --catalog-interval 0.5 --node-name "ccnx:/mycorp.com/nodes/$1" \
        "${@:2}"
}

# ---- keys and what they may do

mkdir -p "$work/keys"
for name in publisher admin stranger; do
    admin key generate --algorithm ec-p384 --out "$work/keys/$name.pem" > /dev/null
done
publisher=$work/keys/publisher.pem administrator=$work/keys/admin.pem stranger=$work/keys/stranger.pem
for home in repository host1 host2; do
    at "$home" trust add ccnx:/mycorp.com "$work/keys/publisher.pub" > /dev/null
done
check "a key gets the right to manage" at repository trust add ccnx:/mycorp.com "$work/keys/admin.pub" --right manage
check "and to operate beside it" at repository trust add ccnx:/mycorp.com "$work/keys/admin.pub" --right operate
check_same "trust list shows both" "manage,operate" \
    "$(at repository trust list --json | jq -r '.[] | select(.rights | index("manage")) | .rights | join(",")')"
refuses "a right that is none" 64 'no right everything' \
    at repository trust add ccnx:/mycorp.com "$work/keys/admin.pub" --right everything
refuses "a key that may only manage publishes nothing" "$NO_PERMISSION" 'may not sign' \
    at repository publish "$small" "$NAME" --key "$administrator"
check "the publisher does" at repository publish "$small" "$NAME" --key "$publisher"
check "twice" at repository publish "$small" "$NAME" --key "$publisher"

# ---- a repository that is not managed from elsewhere

serve_repository
refuses "a repository that was not told to is not managed" "$NO_PERMISSION" 'not managed from elsewhere' \
    admin list --at "127.0.0.1:$port" --key "$administrator"
end_process "$repository_process"
serve_repository --accept-management --accept-publish

# ---- templates

there() { admin "$@" --at "127.0.0.1:$port" --key "$administrator"; }
tags() { there list "$NAME" --json | jq -c '.[0].tags'; }

check_same "the administrator lists what is there" "$NAME 2" \
    "$(there list --json | jq -r '.[] | "\(.name) \(.newestVersion)"')"
check_same "and its versions" "1 2" "$(there versions "$NAME" --json | jq -r '[.[].version] | sort | join(" ")')"
check_same "none of it is here" "[]" "$(admin list --json | jq -c .)"
check "tags a version" there tag "$NAME" stable 1
check_same "which has the tag then" '{"stable":1}' "$(tags)"
check "takes the tag away" there tag "$NAME" stable --remove
check_same "which it has not any more" '{}' "$(tags)"
check "withdraws a version" there delete "$NAME" --version 2
check_same "which is gone" 1 "$(there versions "$NAME" --json | jq -r '[.[].version] | join(" ")')"

refuses "a key that is not trusted there" "$NO_PERMISSION" 'not trusted' \
    admin tag "$NAME" stable 1 --at "127.0.0.1:$port" --key "$stranger"
refuses "a key that may only publish" "$NO_PERMISSION" 'no right manage' \
    admin delete "$NAME" --at "127.0.0.1:$port" --key "$publisher"
refuses "a version that is none: the status of a command there" "$NOT_FOUND" 'no version 7' there tag "$NAME" stable 7
refuses "a template that is none" "$NOT_FOUND" 'no template' there delete ccnx:/mycorp.com/none
refuses "where nobody listens" "$UNAVAILABLE" 'nobody answers' \
    admin list --at "127.0.0.1:$(free_port)" --key "$administrator"
refuses "without a place or a route" "$UNAVAILABLE" 'no route' admin tag "$NAME" stable 1 --key "$administrator"
check_same "nothing of it changed anything" '{}' "$(tags)"

# ---- nodes

for host in host1 host2; do at "$host" trust add ccnx:/mycorp.com "$work/keys/admin.pub" --right operate > /dev/null; done
serve_host host1 --accept-management
host1=$serving
is_refused() { grep -q 'does not take the inventory' "$work/host1.log"; }
check "a node whose key has not the right is not taken" wait_until 20 is_refused
check "its log says what to do about it" grep -q 'may not be the node' "$work/host1.log"
all() { there_all --json | jq -r "$1"; }
there_all() { admin vms --all --at "127.0.0.1:$port" --key "$administrator" "$@"; }
check_same "so there is none" 0 "$(all '.nodes | length')"
for host in host1 host2; do
    at repository trust add "ccnx:/mycorp.com/nodes/$host" "$work/$host/state/keys/node.pub" --right node > /dev/null
done
has_nodes() { [ "$(all '.nodes | length')" = "$1" ]; }
check "with it it is" wait_until 20 has_nodes 1
serve_host host2 --accept-management
host2=$serving
check "and the second as well" wait_until 20 has_nodes 2
check_same "both without VMs" "$HOST1 0 $HOST2 0" "$(all '[.nodes[] | "\(.name) \(.machines | length)"] | join(" ")')"

# ---- VMs on NODE:VM

on() { admin "$@" --at "127.0.0.1:$port" --key "$administrator"; }
has_template() { at host1 list --json | jq -e 'length > 0'; }
check "the node follows the repository" wait_until 20 has_template
check "a VM is deployed on a node by its whole name" on deploy "$NAME" "$HOST1:web-01" --size 32M
check "two by the last segment of it" on deploy "$NAME" host1:web-02 host1:web-03
check_same "they are there" "web-01 web-02 web-03" "$(at host1 vms --json | jq -r '[.[].name] | join(" ")')"
check_same "and on no other" "0 0" "$(at host2 vms --json | jq length) $(admin vms --json | jq length)"
shows() { [ "$(all "[.nodes[] | select(.name == \"$HOST1\") | .machines[].name] | join(\" \")")" = "$1" ]; }
check "vms --all finds them within seconds" wait_until 30 shows "web-01 web-02 web-03"
check_same "with template, version and size" "$NAME 1 33554432" \
    "$(all ".nodes[0].machines[0] | \"\(.template) \(.templateVersion) \(.disks[0].size)\"")"
check "as a table too" grep -q "$HOST1 *web-01 *disk0 *32.0 MiB" <(there_all)

check "a snapshot is taken there" on snapshot "$HOST1:web-01" before
check_same "and listed" before "$(on snapshots "$HOST1:web-01" --json | jq -r '.[].name')"
refuses "twice is refused as it is there" 73 'before' on snapshot "$HOST1:web-01" before
check "and dropped" on snapshot host1:web-01 before --delete
check_same "so there is none" "[]" "$(at host1 snapshots web-01 --json | jq -c .)"

refuses "a VM that is there already" 73 'web-01' on deploy "$NAME" "$HOST1:web-01"
refuses "a VM that is not there" "$NOT_FOUND" 'web-09' on snapshot "$HOST1:web-09" a
refuses "a node that is none" "$NOT_FOUND" 'host9' on snapshot ccnx:/mycorp.com/nodes/host9:web-01 a
refuses "by its last segment as well" "$NOT_FOUND" 'host9' on snapshot host9:web-01 a
refuses "a key that may not operate" "$NO_PERMISSION" 'no right operate' \
    admin snapshot "$HOST1:web-01" a --at "127.0.0.1:$port" --key "$publisher"
refuses "a directory of this machine for a VM of another" 64 'vm-store' \
    on deploy "$NAME" "$HOST1:web-04" --vm-store "$work"
refuses "VMs of two nodes at once" 64 'one node' on deploy "$NAME" "$HOST1:a" "$HOST2:b"

# ---- from another node, by its routes

check "a command on another node finds the way by itself" at host2 deploy "$NAME" "$HOST1:web-04" --key "$administrator"
check_same "and makes it there" "web-01 web-02 web-03 web-04" "$(at host1 vms --json | jq -r '[.[].name] | join(" ")')"
check_same "vms --all needs no address there" "2 0" \
    "$(at host2 vms --all --key "$administrator" --json | jq -r '"\(.nodes | length) \(.problems | length)"')"

# ---- republished, with a signature that is made here

at repository trust add ccnx:/mycorp.com "$work/keys/admin.pub" --right publish > /dev/null
at host1 trust add ccnx:/mycorp.com "$work/keys/admin.pub" --right publish > /dev/null
refuses "the template has to be named" 64 'has to be named' \
    admin republish "$HOST1:web-01" --at "127.0.0.1:$port" --key "$administrator"
check "a VM of a node is republished" \
    admin republish "$HOST1:web-01" "$NAME" --at "127.0.0.1:$port" --key "$administrator" --property from=host1
check_same "as the next version at the repository" "1 3" \
    "$(there versions "$NAME" --json | jq -r '[.[].version] | sort | join(" ")')"
check_same "from that VM, signed by the administrator" "web-01 $(admin key show "$administrator" --json | jq -r .keyId)" \
    "$(at repository show "$NAME" --json | jq -r '"\(.origin.machine) \(.version.publisher)"')"
check "the repository finds nothing wrong with it" at repository verify

# ---- a node that dies, and a repository that does

kill -9 "$host2"
wait "$host2" 2> /dev/null || true
refuses "a node that is gone" "$UNAVAILABLE,75" 'host2|does not answer|no way' on snapshot "$HOST2:web-01" a
end_process "$repository_process"
refuses "no repository, no VMs" "$UNAVAILABLE" 'nobody answers' there_all
check "a node goes on without it" at host1 snapshot web-01 meanwhile
serve_repository --accept-management --accept-publish
check "a repository that was started anew hears of the node within seconds" wait_until 40 has_nodes 1
check_same "as it is now" meanwhile "$(all '.nodes[0].machines[0].snapshots | join(" ")')"
check "and leads to it" on snapshot "$HOST1:web-02" after

serve_host host2 --accept-management
host2=$serving
check "a node that was started anew is back" wait_until 40 has_nodes 2
kill -9 "$host2"
wait "$host2" 2> /dev/null || true
died=$SECONDS
is_late() { [ "$(all ".nodes[] | select(.name == \"$HOST2\") | .isLate")" = true ]; }
check "a node that does not report is late after 90 seconds" wait_until 150 is_late
note "told $((SECONDS - died)) s after its death"
check "which is said" grep -q "$HOST2 is late" <(there_all 2>&1 > /dev/null)
refuses "and nobody is sent there" "$NOT_FOUND" 'host2' on snapshot "$HOST2:web-01" a
check_same "the other is not" false "$(all ".nodes[] | select(.name == \"$HOST1\") | .isLate")"

status=0
said=$(admin vms --all --at "127.0.0.1:$port" --at "127.0.0.1:$(free_port)" --key "$administrator" 2>&1) || status=$?
check_same "a repository that cannot be asked is told by the status" "$UNAVAILABLE" "$status"
check "beside what others know" grep -q "$HOST1 *web-01" <<< "$said"

end_process "$host1"
end_process "$repository_process"
check "the repository finds nothing wrong at the end" at repository verify
finish
