#!/bin/bash
# A repository, a publisher elsewhere and nodes that ask each other first: what the repository has to send when they
# read one after another, and at the same time; a peer that dies, and one that lies; fifty readers of the same; readers
# that are killed; a dead repository beside local disks.
#
#   NODES     nodes that read everything (4)
#   READERS   of one cold disk at once (50)
#   KILLED    readers that are killed in the midst of a read (1000)
#   PARKED    reads that wait for a dead repository (400)
#   SEED      of where readers read before they are killed; printed
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib.sh"

readonly NODES=${NODES:-4} READERS=${READERS:-50} KILLED=${KILLED:-1000} PARKED=${PARKED:-400} SEED=${SEED:-$RANDOM}
readonly NAME=ccnx:/mycorp.com/app1/linuxvm
readonly SEGMENT_BYTES=32768

begin peers
note "seed $SEED"
image=$work/image.raw
small_image "$image" 256
other=$work/other.raw
small_image "$other" 256
repository=tcp:127.0.0.1:$(free_port)

# at HOME COMMAND...: a command in another home
at() { CCNFS_STATE=$work/$1/state CCNFS_CACHE=$work/$1/cache "$CCNFS" "${@:2}"; }
# of HOME EXPRESSION: a number of its status
of() { status_of at "$1" | jq "$2"; }
key=$work/publisher.pem
at publisher key generate --out "$key" > "$work/key.log" 2>&1
at repository trust add ccnx:/mycorp.com "${key%.pem}.pub" > "$work/key.log" 2>&1

serve() {
    CCNFS_STATE=$work/repository/state CCNFS_CACHE=$work/repository/cache \
        "$CCNFS" node --listen "$repository" --accept-publish > "$work/repository.log" 2>&1 &
    serving=$!
    on_exit end_process "$serving"
    wait_until 20 grep -q '^listening' "$work/repository.log" || not_ok "the repository starts" "$(cat "$work/repository.log")"
}
serve
repository_key=$(at publisher key show "$work/repository/state/keys/node.pem" --json | jq -r .keyId)
to_repository=(--key "$key" --to "$repository" --repository-key "$repository_key")
check "a fifth node publishes at the repository" at publisher publish "$image" "$NAME" "${to_repository[@]}"
check "another template too" at publisher publish "$other" ccnx:/mycorp.com/other "${to_repository[@]}"

# begin_node HOME [OPTION...]: mounted at $work/HOME.mnt; its process in pids[HOME]
declare -A pids
begin_node() {
    local home=$1
    shift
    at "$home" trust add ccnx:/mycorp.com "${key%.pem}.pub" > "$work/key.log" 2>&1
    use_home "$work/$home"
    start_node "$work/$home.mnt" --route "ccnx:/mycorp.com=$repository" "$@"
    pids[$home]=$node_pid
    wait_until 30 test -f "$work/$home.mnt/mycorp.com/other/disk0" || not_ok "$home lists the templates" "$(ccnfs status)"
}
disk_of() { echo "$work/$1.mnt/mycorp.com/app1/linuxvm/disk0"; }
end_node() {
    use_home "$work/$1"
    stop_node "$work/$1.mnt" "${pids[$1]}"
}

# from_repository HOME...: bytes that the repository sent them
from_repository() {
    local home sum=0
    for home in "$@"; do sum=$((sum + $(of "$home" '[.sources[] | select(.isPeer | not) | .bytes] | add'))); done
    echo "$sum"
}

# ---- one copy from the repository

data=$(at repository show "$NAME" --json | jq '[.disks[].dataBytes] | add')
addresses=()
for ((number = 1; number <= NODES; number++)); do
    address=tcp:127.0.0.1:$(free_port)
    peers=()
    for peer in "${addresses[@]}"; do peers+=(--peer "$peer"); done
    addresses+=("$address")
    begin_node "n$number" --listen "$address" "${peers[@]}"
    check "node $number reads every byte" cmp "$image" "$(disk_of "n$number")"
done
homes=()
for ((number = 1; number <= NODES; number++)); do
    homes+=("n$number")
    note "node $number: $(from_repository "n$number") bytes from the repository, $(
        of "n$number" '[.sources[] | select(.isPeer) | .bytes] | add // 0') from peers"
done
sent=$(from_repository "${homes[@]}")
note "the repository sent $sent bytes for $data bytes of data, read by $NODES nodes"
# Catalogs and records come from it each time.
check "the repository sends one copy, not $NODES" test "$sent" -lt $((data * 5 / 4))

# ---- the same by nodes that read at the same time

# Each knows all others, and has nothing. What one asks for in the moment in which another one does, neither has yet:
# both ask the repository. So it may send more than one copy here; that all of them read everything from it would be
# no use of neighbours.
ports=() homes=()
for ((number = 1; number <= NODES; number++)); do
    ports+=("$(free_port)")
    homes+=("m$number")
done
for ((number = 1; number <= NODES; number++)); do
    options=(--listen "tcp:127.0.0.1:${ports[number - 1]}")
    for ((other_number = 1; other_number <= NODES; other_number++)); do
        [ "$other_number" -eq "$number" ] || options+=(--peer "tcp:127.0.0.1:${ports[other_number - 1]}")
    done
    begin_node "m$number" "${options[@]}"
done
readers=() started=$(milliseconds)
for home in "${homes[@]}"; do
    cmp "$image" "$(disk_of "$home")" > "$work/reader-$home.log" 2>&1 &
    readers+=($!)
done
wrong=0
for reader in "${readers[@]}"; do wait "$reader" || wrong=$((wrong + 1)); done
check_same "$NODES nodes read every byte at the same time" 0 "$wrong"
sent=$(from_repository "${homes[@]}")
note "in $(($(milliseconds) - started)) ms the repository sent $sent bytes for $data bytes of data, $(
    awk -v a="$sent" -v b="$data" 'BEGIN { printf "%.2f", a / b }') copies for $NODES nodes"
check "neighbours take part of that from it" test "$sent" -lt $((data * (NODES - 1)))
for home in "${homes[@]}"; do end_node "$home"; done

# ---- a peer that dies, and one that lies

use_home "$work/n$NODES"
ccnfs evict > /dev/null
forget_pages "$(disk_of "n$NODES")"
kill_soon() {
    sleep 0.2
    kill -9 "${pids[n1]}"
}
kill_soon &
killing=$!
check "a peer is killed while it is read from, and nobody notices" cmp "$image" "$(disk_of "n$NODES")"
wait "$killing"
unmount_hard "$work/n1.mnt"

"$scripts/fault-proxy.py" --listen 127.0.0.1:0 --to "${addresses[1]#tcp:}" --flip > "$work/proxy.log" 2>&1 &
on_exit end_process $!
wait_until 30 grep -q '^listening' "$work/proxy.log" || not_ok "the proxy starts" "$(cat "$work/proxy.log")"
begin_node liar --peer "tcp:127.0.0.1:$(sed -n 's/^listening //p' "$work/proxy.log")"
check "with a peer that sends wrong bytes every byte is right" cmp "$image" "$(disk_of liar)"
check "which is counted" test "$(of liar '[.sources[] | select(.isPeer) | .wrongObjects] | add')" -ge 1
check "and it is not asked any more" test "$(of liar '[.sources[] | select(.isPeer) | .interests] | add')" -lt 200
check "status says so" grep -q 'WRONG BYTES' <(at liar status || true)
end_node liar

# ---- many readers of the same

begin_node crowd
segments=$(($(python3 - "$image" "$SEGMENT_BYTES" << 'PYTHON'
import hashlib
import sys

size, seen = int(sys.argv[2]), set()
with open(sys.argv[1], "rb") as image:
    while data := image.read(size):
        if data.strip(b"\0"):
            seen.add(hashlib.sha256(data).digest())
print(len(seen))
PYTHON
)))
before=$(of crowd .interestsSent) started=$SECONDS
readers=()
for ((number = 0; number < READERS; number++)); do
    cmp "$image" "$(disk_of crowd)" > "$work/reader-$number.log" 2>&1 &
    readers+=($!)
done
wrong=0
for reader in "${readers[@]}"; do wait "$reader" || wrong=$((wrong + 1)); done
check_same "$READERS readers of one cold disk all read every byte" 0 "$wrong"
asked=$(($(of crowd .interestsSent) - before))
note "$asked Interests for $segments segments"
# Nodes of the manifest, and the catalog's pointer every two seconds.
check "each segment crosses the wire once" test "$asked" -le $((segments + 40 + SECONDS - started))

at crowd evict > /dev/null
process=${pids[crowd]}
resident() { awk '/^VmRSS:/ { print $2 }' "/proc/$process/status"; }
threads() { awk '/^Threads:/ { print $2 }' "/proc/$process/status"; }
descriptors() { find "/proc/$process/fd" -mindepth 1 | wc -l; }
# The node looks for a new catalog whatever else there is.
is_quiet() { of crowd 'if .parkedRequests == 0 and .pendingInterests <= 1 then 0 else error("waits") end'; }
# kill_readers COUNT: each in the midst of a read of what is not here, two at a time
kill_readers() {
    python3 - "$(disk_of crowd)" "$1" "$SEED" << 'PYTHON'
import os
import random
import sys
import time

BLOCK, PIECES = 4096, 2
disk, count = sys.argv[1], int(sys.argv[2])
dice = random.Random(sys.argv[3])
size = os.stat(disk).st_size


def read():
    """The child: reads at places that nobody read yet, until it is killed."""
    file = os.open(disk, os.O_RDONLY)
    while True:
        os.pread(file, 16 * BLOCK, dice.randrange(size // BLOCK - 16) * BLOCK)


def begin():
    dice.random()
    child = os.fork()
    if child == 0:
        try:
            read()
        finally:
            os._exit(1)
    return child


for _ in range(count // PIECES):
    children = [begin() for _ in range(PIECES)]
    time.sleep(dice.random() * 0.01)
    for child in children:
        os.kill(child, 9)
    for child in children:
        if os.waitpid(child, 0)[1] != 9:
            sys.exit("a reader ended by itself")
PYTHON
}
# keep_cold: what was fetched goes again, so that readers have something to wait for
keep_cold() {
    while [ ! -e "$work/killed-enough" ]; do
        at crowd evict > /dev/null 2>&1
        sleep 0.3
    done
}
# The first ones are what it takes anyhow: threads, buffers, connections.
kill_readers $((KILLED / 10))
check "$((KILLED / 10)) readers are killed, and nothing is left of them" wait_until 20 is_quiet
memory=$(resident) files=$(descriptors) lines=$(threads)
keep_cold &
keeping=$!
on_exit touch "$work/killed-enough"
started=$(milliseconds)
kill_readers "$KILLED"
took=$(($(milliseconds) - started))
touch "$work/killed-enough"
wait "$keeping"
check "$KILLED more are, and nothing is left of them" wait_until 20 is_quiet
note "in $took ms; the node has $(resident) KiB, $(descriptors) open files, $(threads) threads; before $memory, $files, $lines"
check "no memory either" test $(($(resident) - memory)) -lt $((64 * 1024))
check "no open file" test "$(descriptors)" -le $((files + 8))
check "no thread" test "$(threads)" -le $((lines + 4))
check "the disk is read as before" cmp "$image" "$(disk_of crowd)"

# ---- a repository that is gone, beside disks that are here

use_home "$work/crowd"
mkdir "$work/crowd.mnt/localhost/vm"
truncate -s 64M "$work/crowd.mnt/localhost/vm/disk0"
# speed ENGINE: 4 KiB writes a second, one after another
speed() {
    fio --name=local --filename="$work/crowd.mnt/localhost/vm/disk0" --rw=randwrite --bs=4k --direct=1 --size=64M \
        --ioengine="$1" --time_based --runtime=2 --output-format=json 2> "$work/fio.log" | jq '.jobs[0].write.iops | floor'
}
away=$work/crowd.mnt/mycorp.com/other/disk0
# park ENGINE TURN: a third of the reads that wait, at places of their own, all of them data; their processes go to waiting
waiting=()
park() {
    local engine=$1 count=$((PARKED / 3)) number first
    first=$(($2 * count))
    if [ "$engine" = psync ]; then
        for ((number = first; number < first + count; number++)); do
            dd if="$away" of=/dev/null bs=4k count=1 skip=$((number * 20)) iflag=direct status=none 2>> "$work/parked.log" &
            waiting+=($!)
        done
    else
        # One process that has all of them under way at once, as QEMU has.
        fio --name=parked --filename="$away" --rw=read:76k --bs=4k --direct=1 --readonly --ioengine="$engine" \
            --iodepth="$count" --iodepth_batch_submit="$count" --offset=$((first * 80))k --size=$((count * 80))k \
            > "$work/parked-$engine.log" 2>&1 &
        waiting+=($!)
    fi
}
if command -v fio > /dev/null; then
    engines=(psync libaio)
    # The kernel may not let it.
    if [ "$(speed io_uring)" -gt 0 ] 2> /dev/null; then engines+=(io_uring); else note "no io_uring here: $(head -n 1 "$work/fio.log")"; fi
    declare -A alone
    for engine in "${engines[@]}"; do alone[$engine]=$(speed "$engine"); done
    kill -STOP "$serving"
    for turn in "${!engines[@]}"; do park "${engines[turn]}" "$turn"; done
    many_wait() { [ "$(of crowd .parkedRequests)" -ge $((PARKED * ${#engines[@]} / 6)) ]; }
    # Not long: what waits ends with an error at its deadline.
    wait_until 5 many_wait || true
    parked=$(of crowd .parkedRequests)
    note "$parked reads wait for a repository, of ${engines[*]}"
    check "many reads wait" test "$parked" -ge $((PARKED * ${#engines[@]} / 6))
    for engine in "${engines[@]}"; do
        beside=$(speed "$engine")
        note "$engine: 4 KiB writes a second on a local disk: ${alone[$engine]} alone, $beside beside them"
        # Wide: the machine does other things as well. What is measured is printed.
        check "local disks go on, $engine" test "$beside" -gt $((alone[$engine] / 4))
    done
    check "the reads still wait" test "$(of crowd .parkedRequests)" -gt 0
    ended=0
    for reader in "${waiting[@]}"; do wait "$reader" || ended=$((ended + 1)); done
    check_same "reads of what nobody sends end with an error, all of them" "${#waiting[@]}" "$ended"
    check "and nothing waits" wait_until 20 is_quiet
    kill -CONT "$serving"
    came_back() { cmp -n 4194304 "$other" "$away"; }
    check "they are answered when the repository is back" wait_until 30 came_back
else
    skip "a dead repository beside local disks" "fio is not installed"
fi
check "every byte of it" cmp "$other" "$away"

end_node crowd
for ((number = 2; number <= NODES; number++)); do end_node "n$number"; done
finish
