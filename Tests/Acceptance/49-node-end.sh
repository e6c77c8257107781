#!/bin/bash
# A node ends in its order at a signal or with its mount, though others never answer; what was written is there.
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib.sh"

readonly NAME=ccnx:/mycorp.com/small
# Nothing here waits for longer than a second; the rest is for a busy machine.
readonly DEADLINE_SECONDS=15
readonly ROUNDS=10

begin node-end
key=$work/publisher.pem
small=$work/small.raw
head -c 64M /dev/urandom > "$small"
repository_home=$work/repository mnt=$work/mnt
port=$(free_port)

use_home "$repository_home"
make_key ccnx:/mycorp.com "$key"
check "an image is published" ccnfs publish "$small" "$NAME" --key "$key"
"$CCNFS" node --listen "tcp:127.0.0.1:$port" > "$work/repository.log" 2>&1 &
repository=$!
on_exit end_process "$repository"
wait_until 20 grep -q '^listening' "$work/repository.log"

use_home "$work/home"
ccnfs trust add ccnx:/mycorp.com "${key%.pem}.pub"

# ends TEXT PID: within the deadline, with success
ends() {
    local status=0
    wait_until "$DEADLINE_SECONDS" process_is_gone "$2" || return 1
    wait "$2" || status=$?
    check_same "$1: exit status" 0 "$status"
}

node() {
    start_node "$mnt" --route "ccnx:/mycorp.com=tcp:127.0.0.1:$port"
    pid=$node_pid
    wait_until 20 test -f "$mnt/mycorp.com/small/disk0" || not_ok "the template shows" "$(tail "$node_log")"
}

# write_block NUMBER: 64 KiB of a VM's disk, synchronized only if the third word says so
write_block() {
    dd if="$work/block-$1" of="$mnt/localhost/vm/disk0" bs=64K seek="$1" conv=notrunc"${2:-}" status=none
}

# blocks_are_there COUNT: as the disk shows them
blocks_are_there() {
    local number
    for ((number = 0; number < $1; number++)); do
        cmp "$work/block-$number" <(dd if="$mnt/localhost/vm/disk0" bs=64K skip="$number" count=1 status=none) || return 1
    done
}

for ((round = 0; round < ROUNDS; round++)); do head -c 65536 /dev/urandom > "$work/block-$round"; done

# ---- a repository that is connected and silent

node
ccnfs deploy "$NAME" vm > "$work/deploy.log"
write_block 0
# Its first segments are here; the rest is not.
kill -STOP "$repository"
on_exit kill -CONT "$repository"
"$CCNFS" fetch "$NAME" > "$work/fetch.log" 2>&1 &
fetch=$!
dd if="$mnt/mycorp.com/small/disk0" of=/dev/null bs=1M skip=8 iflag=direct > "$work/read.log" 2>&1 &
read=$!
both_wait() { [ "$(status_of ccnfs | jq '[.parkedRequests, .pendingInterests] | min')" -gt 0 ]; }
wait_until 20 both_wait || not_ok "both wait" "$(ccnfs status)"
started=$(milliseconds)
kill -TERM "$pid"
if ends "a node whose repository is silent" "$pid"; then
    ok "it ends at a signal though a command and a read wait"
else
    not_ok "it ends at a signal though a command and a read wait" "$(tail "$node_log")"
fi
note "$(($(milliseconds) - started)) ms"
status=0
wait "$fetch" || status=$?
check_same "the command has one error" 1 "$(grep -c '^ccnfs:' "$work/fetch.log" || true)"
check "which says that the node ends" grep -q 'the node ends' "$work/fetch.log"
check "and a status of its own" test "$status" -ge 64
note "exit status $status: $(cat "$work/fetch.log")"
status=0
wait "$read" || status=$?
check "the read failed" test "$status" -ne 0
kill -CONT "$repository"
unmount_hard "$mnt"

# ---- signal and unmount in one moment: the order of the end holds

for ((round = 1; round < ROUNDS; round++)); do
    node
    write_block "$round"
    umount "$mnt" > /dev/null 2>&1 &
    unmounting=$!
    kill -TERM "$pid"
    ends "round $round, signal and unmount" "$pid" || not_ok "round $round: it ends" "$(tail "$node_log")"
    wait "$unmounting" || true
    unmount_hard "$mnt"
done
node
check "everything that was written is there" blocks_are_there "$ROUNDS"
check "no disk was left to be made durable" test "$(grep -c 'not durable' "$node_log")" -eq 0
stop_node "$mnt" "$pid"

finish
