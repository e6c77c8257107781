#!/bin/bash
# A repository, a publisher elsewhere and nodes that ask each other first: what the repository has to send; a peer that
# dies, and one that lies; fifty readers of the same; readers that are killed; a dead repository beside local disks.
#
#   NODES     nodes that read everything, one after another (4)
#   READERS   of one cold disk at once (50)
#   KILLED    readers that are killed in the midst of a read (300)
#   PARKED    reads that wait for a dead repository (400)
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib.sh"

readonly NODES=${NODES:-4} READERS=${READERS:-50} KILLED=${KILLED:-300} PARKED=${PARKED:-400}
readonly NAME=ccnx:/mycorp.com/app1/linuxvm
readonly SEGMENT_BYTES=32768

begin peers
image=$work/image.raw
small_image "$image" 256
other=$work/other.raw
small_image "$other" 256
repository=tcp:127.0.0.1:$(free_port)

# at HOME COMMAND...: a command in another home
at() { CCNFS_STATE=$work/$1/state CCNFS_CACHE=$work/$1/cache "$CCNFS" "${@:2}"; }
# of HOME EXPRESSION: a number of its status
of() { at "$1" status --json | jq "$2"; }
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
    wait_until 10 test -f "$work/$home.mnt/mycorp.com/other/disk0" || not_ok "$home lists the templates" "$(ccnfs status)"
}
disk_of() { echo "$work/$1.mnt/mycorp.com/app1/linuxvm/disk0"; }
end_node() {
    use_home "$work/$1"
    stop_node "$work/$1.mnt" "${pids[$1]}"
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
sent=0
for ((number = 1; number <= NODES; number++)); do
    bytes=$(of "n$number" '[.sources[] | select(.isPeer | not) | .bytes] | add')
    note "node $number: $bytes bytes from the repository, $(of "n$number" '[.sources[] | select(.isPeer) | .bytes] | add // 0') from peers"
    sent=$((sent + bytes))
done
note "the repository sent $sent bytes for $data bytes of data, read by $NODES nodes"
# Catalogs and records come from it each time.
check "the repository sends one copy, not $NODES" test "$sent" -lt $((data * 5 / 4))

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
wait_until 10 grep -q '^listening' "$work/proxy.log" || not_ok "the proxy starts" "$(cat "$work/proxy.log")"
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
before=$(of crowd .interestsSent)
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
check "each segment crosses the wire once" test "$asked" -le $((segments + 40))

at crowd evict > /dev/null
resident() { awk '/^VmRSS:/ { print $2 }' "/proc/${pids[crowd]}/status"; }
memory=$(resident)
python3 - "$(disk_of crowd)" "$KILLED" << 'PYTHON'
import os
import random
import signal
import subprocess
import sys
import time

disk, count = sys.argv[1], int(sys.argv[2])
size = os.stat(disk).st_size
for number in range(count):
    reader = subprocess.Popen(
        ["dd", f"if={disk}", "of=/dev/null", "bs=64k", "count=64", "iflag=direct",
         f"skip={random.randrange(size // 65536 - 64)}"], stderr=subprocess.DEVNULL)
    time.sleep(random.random() * 0.01)
    reader.send_signal(signal.SIGKILL)
    reader.wait()
PYTHON
is_quiet() { [ "$(of crowd '.parkedRequests + .pendingInterests')" = 0 ]; }
check "$KILLED readers are killed, and nothing is left of them" wait_until 20 is_quiet
note "memory of the node: $memory KiB before, $(resident) after"
check "no memory either" test $(($(resident) - memory)) -lt 131072
check "the disk is read as before" cmp "$image" "$(disk_of crowd)"

# ---- a repository that is gone, beside disks that are here

use_home "$work/crowd"
mkdir "$work/crowd.mnt/localhost/vm"
truncate -s 64M "$work/crowd.mnt/localhost/vm/disk0"
# speed: 4 KiB writes a second, one after another
speed() {
    fio --name=local --filename="$work/crowd.mnt/localhost/vm/disk0" --rw=randwrite --bs=4k --direct=1 --size=64M \
        --ioengine=psync --time_based --runtime=2 --output-format=json 2> "$work/fio.log" | jq '.jobs[0].write.iops | floor'
}
if command -v fio > /dev/null; then
    alone=$(speed)
    kill -STOP "$serving"
    waiting=()
    for ((number = 0; number < PARKED; number++)); do
        dd if="$work/crowd.mnt/mycorp.com/other/disk0" of=/dev/null bs=4k count=1 skip=$((number * 20)) iflag=direct \
            status=none 2>> "$work/parked.log" &
        waiting+=($!)
    done
    sleep 1
    parked=$(of crowd .parkedRequests)
    beside=$(speed)
    note "4 KiB writes a second on a local disk: $alone alone, $beside beside $parked reads that wait for a repository"
    check "many reads wait" test "$parked" -ge $((PARKED / 8))
    # Wide: the machine starts hundreds of processes meanwhile. What is measured is printed.
    check "local disks go on" test "$beside" -gt $((alone / 10))
    ended=0
    for reader in "${waiting[@]}"; do wait "$reader" || ended=$((ended + 1)); done
    check "reads of what nobody sends end with an error" test "$ended" -ge $((PARKED / 8))
    kill -CONT "$serving"
    came_back() { cmp -n 4194304 "$other" "$work/crowd.mnt/mycorp.com/other/disk0"; }
    check "and are answered when the repository is back" wait_until 30 came_back
else
    skip "a dead repository beside local disks" "fio is not installed"
fi
check "every byte of it" cmp "$other" "$work/crowd.mnt/mycorp.com/other/disk0"

end_node crowd
for ((number = 2; number <= NODES; number++)); do end_node "n$number"; done
finish
