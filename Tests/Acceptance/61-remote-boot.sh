#!/bin/bash
# A guest boots on a node that has nothing of its template: a fifth machine published it at a repository, a node near by
# has it, too. What the repository and the peer had to send for it is counted.
#
#   BOOT_SECONDS   that a boot may take (400)
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib.sh"

readonly BOOT_SECONDS=${BOOT_SECONDS:-400}
readonly NAME=ccnx:/mycorp.com/app1/linuxvm
readonly MIB=$((1024 * 1024))
readonly PARTITION_OFFSET=$MIB

begin remote-boot
need_root
need_image
repository_address=tcp:127.0.0.1:$(free_port) peer_address=tcp:127.0.0.1:$(free_port)
key=$work/publisher.pem

# at HOME COMMAND...: a command in another home
at() { CCNFS_STATE=$work/$1/state CCNFS_CACHE=$work/$1/cache "$CCNFS" "${@:2}"; }
# serve HOME [OPTION...]: a node without a mount
serve() {
    CCNFS_STATE=$work/$1/state CCNFS_CACHE=$work/$1/cache "$CCNFS" node "${@:2}" > "$work/$1.log" 2>&1 &
    on_exit end_process $!
    wait_until 20 grep -q '^listening' "$work/$1.log" || not_ok "$1 starts" "$(tail "$work/$1.log")"
}
# bytes peer|repository: that these sent the node
bytes() {
    status_of at node | jq --arg kind "$1" '[.sources[] | select(.isPeer == ($kind == "peer")) | .bytes] | add // 0'
}

at publisher key generate --out "$key" > "$work/key.log" 2>&1
for home in repository peer node; do at "$home" trust add ccnx:/mycorp.com "${key%.pem}.pub" > "$work/key.log" 2>&1; done
serve repository --listen "$repository_address" --accept-publish
repository_key=$(at publisher key show "$work/repository/state/keys/node.pem" --json | jq -r .keyId)
started=$(milliseconds)
check "a fifth machine publishes the image at the repository" at publisher publish "$raw" "$NAME" --key "$key" \
    --to "$repository_address" --repository-key "$repository_key"
note "in $(($(milliseconds) - started)) ms"
data=$(at repository show "$NAME" --json | jq '[.disks[].dataBytes] | add')
serve peer --listen "$peer_address" --route "ccnx:/mycorp.com=$repository_address"
is_listed() { at peer show "$NAME"; }
wait_until 30 is_listed || not_ok "the peer lists it"
check "the peer has all of it" at peer fetch "$NAME"

# ---- a VM on a node that has nothing

use_home "$work/node"
mnt=$work/mnt
start_node "$mnt" --route "ccnx:/mycorp.com=$repository_address" --peer "$peer_address"
template=$mnt/mycorp.com/app1/linuxvm/disk0 disk=$mnt/localhost/web/disk0
wait_until 30 test -f "$template" || not_ok "the node lists the template" "$(ccnfs status)"
started=$(milliseconds)
check "a VM is deployed" ccnfs deploy "$NAME" web
check "its guest boots, writes a marker, powers off" "$scripts/guest.py" --disk "$disk" --cache none \
    --log "$work/console.log" --timeout "$BOOT_SECONDS" --run "echo marker-web > /root/marker" --run sync
from_repository=$(bytes repository) from_peer=$(bytes peer)
note "deployed, booted and powered off in $(($(milliseconds) - started)) ms"
note "$from_repository bytes came from the repository, $from_peer from the peer, of $data"
# A boot is not the whole disk.
check "less came than there is" test $((from_repository + from_peer)) -lt "$data"
# The catalog and its pointer come from the repository whoever is near.
check "what a peer has is not asked of the repository" test "$from_repository" -lt "$MIB"
check "the peer had to send something" test "$from_peer" -gt $((4 * MIB))

loop=$(losetup --find --show --read-only --offset "$PARTITION_OFFSET" "$disk")
on_exit losetup --detach "$loop"
check "e2fsck of the guest's filesystem is clean" e2fsck -fn "$loop"
mkdir "$work/guest"
mount -o ro "$loop" "$work/guest"
on_exit umount "$work/guest"
check_same "its marker is there" marker-web "$(cat "$work/guest/root/marker" 2>&1)"
umount "$work/guest"
losetup --detach "$loop"
check "every byte of the template is right" cmp "$raw" "$template"
stop_node "$mnt" "$node_pid"
finish
