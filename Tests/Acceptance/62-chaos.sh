#!/bin/bash
# A repository, a peer and a node that disks are read from and written on, each killed at random and started again, for
# a minute. Every read gives the right bytes or EIO in time; every fsync that was answered holds; afterwards all is as
# it should be, and nothing is left over.
#
#   CHAOS_SECONDS   how long (60)
#   CHAOS_MIB       data of the template (48)
#   SEED            of who is killed when, and of what is read and written; printed
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib.sh"

readonly CHAOS_SECONDS=${CHAOS_SECONDS:-60} CHAOS_MIB=${CHAOS_MIB:-48} SEED=${SEED:-$RANDOM}
readonly NAME=ccnx:/mycorp.com/app1/linuxvm
readonly MACHINES=4

begin chaos
note "seed $SEED"
image=$work/image.raw
head -c $((CHAOS_MIB * 1024 * 1024)) /dev/urandom > "$image"
key=$work/publisher.pem
repository_address=tcp:127.0.0.1:$(free_port) peer_address=tcp:127.0.0.1:$(free_port)
mnt=$work/mnt
to_repository=(--route "ccnx:/mycorp.com=$repository_address")
# Less than the template: there is always something to fetch.
reading=("$mnt" --foreground "${to_repository[@]}" --peer "$peer_address" --cache-limit "$((CHAOS_MIB / 3))M")

# at HOME COMMAND...: a command in another home
at() { CCNFS_STATE=$work/$1/state CCNFS_CACHE=$work/$1/cache "$CCNFS" "${@:2}"; }
# serve HOME [OPTION...]: a node without a mount; its process in serving
serve() {
    CCNFS_STATE=$work/$1/state CCNFS_CACHE=$work/$1/cache "$CCNFS" node "${@:2}" > "$work/$1.log" 2>&1 &
    serving=$!
    on_exit end_process "$serving"
    wait_until 20 grep -q '^listening' "$work/$1.log" || not_ok "$1 starts" "$(tail "$work/$1.log")"
}

# ---- what there is before

at repository key generate --out "$key" > "$work/key.log" 2>&1
for home in repository peer node; do at "$home" trust add ccnx:/mycorp.com "${key%.pem}.pub" > "$work/key.log" 2>&1; done
check "a template is published at the repository" at repository publish "$image" "$NAME" --key "$key"
serve repository --listen "$repository_address"
before=$serving
serve peer --listen "$peer_address" "${to_repository[@]}"
lists() { at "$1" show "$NAME"; }
wait_until 30 lists peer || not_ok "the peer lists it"
check "the peer has all of it" at peer fetch "$NAME"
use_home "$work/node"
start_node "${reading[0]}" "${reading[@]:2}"
template=$mnt/mycorp.com/app1/linuxvm/disk0
wait_until 30 test -f "$template" || not_ok "the node lists it"
machines=()
for ((number = 1; number <= MACHINES; number++)); do machines+=("vm-$number"); done
check "VMs are deployed on the node" ccnfs deploy "$NAME" "${machines[@]}"
stop_node "$mnt" "$node_pid"
end_process "$serving"
end_process "$before"

# ---- the storm

# described HOME COMMAND...: a node as network-storm.py starts it
described() {
    printf '%s\n' "$CCNFS" "${@:2}" |
        jq -Rn --arg name "$1" --arg work "$work" '{name: $name, command: [inputs], log: "\($work)/storm-\($name).log",
            environment: {CCNFS_STATE: "\($work)/\($name)/state", CCNFS_CACHE: "\($work)/\($name)/cache"}}'
}
{
    described repository node --listen "$repository_address"
    described peer node --listen "$peer_address" "${to_repository[@]}"
    described node mount "${reading[@]}" | jq --arg mount "$mnt" '. + {mount: $mount}'
} | jq -s --arg image "$image" --arg template "$template" --arg home "$mnt/localhost" --arg ccnfs "$CCNFS" \
    '{nodes: ., image: $image, template: $template, machines: [$ARGS.positional[] | "\($home)/\(.)/disk0"],
      evict: [$ccnfs, "evict"]}' --args "${machines[@]}" > "$work/plan.json"
report=$work/report.json written=$work/written.json
on_exit unmount_hard "$mnt"
# In the background, so that it is ended with this script, and its nodes with it.
timeout -k 10 $((CHAOS_SECONDS + 240)) "$scripts/network-storm.py" run "$work/plan.json" "$report" "$written" \
    --seed "$SEED" --seconds "$CHAOS_SECONDS" > "$work/storm.log" 2>&1 &
storm=$!
on_exit end_process "$storm"
storm_status=0
wait "$storm" || storm_status=$?
if [ "$storm_status" -ne 0 ]; then
    not_ok "for $CHAOS_SECONDS s nodes are killed and started again" "status $storm_status"$'\n'"$(cat "$work/storm.log")"
    finish
fi
ok "for $CHAOS_SECONDS s nodes are killed and started again"
note "done: $(jq -c .plan "$report"); reads: $(jq -c .reads "$report"); writes: $(jq -c .writes "$report")"

# none KIND TEXT: of what the report lists
none() {
    if [ "$(jq ".$1 | length" "$report")" -eq 0 ]; then ok "$2"; else not_ok "$2" "$(jq -r ".$1[]" "$report")"; fi
}
none wrong "no read gave other bytes than it should"
none hung "none took longer than it may"
none refused "while the node was up reads failed with EIO only, and no write failed"
none lost "each node came up again, and ended when it was told to"
check "most reads gave their bytes" test "$(jq '.reads.right' "$report")" -gt "$(jq '.reads.errors' "$report")"
check "there were writes" test "$(jq '.writes.synchronized' "$report")" -gt 0

# ---- afterwards

serve repository --listen "$repository_address"
before=$serving
serve peer --listen "$peer_address" "${to_repository[@]}"
start_node "${reading[0]}" "${reading[@]:2}"
check "afterwards the template is there" wait_until 20 test -f "$template"
ccnfs evict > /dev/null
check "every byte of it is right" cmp "$image" "$template"
"$scripts/network-storm.py" verify "$work/plan.json" "$report" "$written" || not_ok "what was written can be read"
none wrong "each fsync that was answered holds: $(jq .blocks "$report") blocks"
untouched=$((512 * 4096))
for machine in "${machines[@]}"; do
    check "what nobody wrote of $machine is the template" cmp -i "$untouched" "$image" "$mnt/localhost/$machine/disk0"
done
is_quiet() { [ "$(status_of ccnfs | jq '.parkedRequests + (.pendingInterests - 1 | if . < 0 then 0 else . end)')" = 0 ]; }
check "nothing waits" wait_until 20 is_quiet
for home in repository peer node; do check "verify finds nothing wrong on the $home" at "$home" verify; done
stop_node "$mnt" "$node_pid"
end_process "$serving"
end_process "$before"

# left: processes of this tool that have their state here
left() {
    local process
    for process in /proc/[0-9]*; do
        [ "$(readlink "$process/exe")" = "$CCNFS" ] || continue
        if grep -qzF "CCNFS_STATE=$work" "$process/environ" 2> /dev/null; then basename "$process"; fi
    done
}
check_same "no process is left" "" "$(left)"
check_same "and no mount" "" "$(findmnt -nro TARGET | grep -F "$work" || true)"
finish
