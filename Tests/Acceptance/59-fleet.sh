#!/bin/bash
# Many VMs on one node, of a template that a repository elsewhere has: all boot at once on a cold node, read what is
# here by then, and write while another template is fetched. Counted and printed: seconds, what crosses the wire, memory.
#
#   FLEET        VMs (200)
#   FLEET_MIB    data of the template (256)
#   RUN_SECONDS  of one run of fio (4)
#   SEED         of the boot set; printed
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib.sh"

readonly FLEET=${FLEET:-200} FLEET_MIB=${FLEET_MIB:-256} RUN_SECONDS=${RUN_SECONDS:-4} SEED=${SEED:-$RANDOM}
readonly NAME=ccnx:/mycorp.com/app1/linuxvm OTHER=ccnx:/mycorp.com/other
readonly MIB=$((1024 * 1024))
# The goal is 0.9; what else the machine does must not fail it.
readonly LEAST_RATIO=0.6

begin fleet
command -v fio > /dev/null || skip_all "fio is not installed: make setup"
# fio leaves its notes where it runs.
cd "$work"
note "seed $SEED"
image=$work/image.raw other=$work/other.raw
head -c $((FLEET_MIB * MIB)) /dev/urandom > "$image"
head -c $((2 * FLEET_MIB * MIB)) /dev/urandom > "$other"
key=$work/publisher.pem
port=$(free_port)

use_home "$work/repository"
make_key ccnx:/mycorp.com "$key"
check "a template is published at the repository" ccnfs publish "$image" "$NAME" --key "$key"
check "another one, too" ccnfs publish "$other" "$OTHER" --key "$key"
"$CCNFS" node --listen "tcp:127.0.0.1:$port" > "$work/repository.log" 2>&1 &
on_exit end_process $!
wait_until 20 grep -q '^listening' "$work/repository.log" || not_ok "the repository starts" "$(cat "$work/repository.log")"

use_home "$work/node"
ccnfs trust add ccnx:/mycorp.com "${key%.pem}.pub" > "$work/key.log"
mnt=$work/mnt
start_node "$mnt" --route "ccnx:/mycorp.com=tcp:127.0.0.1:$port"
wait_until 30 test -f "$mnt/mycorp.com/other/disk0" || not_ok "the node lists the templates" "$(ccnfs status)"

# fetched: bytes that the node got from others so far
fetched() { status_of ccnfs | jq '[.sources[].bytes] | add'; }
# The node looks for a new catalog whatever else there is.
is_quiet() { status_of ccnfs | jq -e '.parkedRequests == 0 and .pendingInterests <= 1'; }
resident() { awk '/^VmRSS:/ { print $2 }' "/proc/$node_pid/status"; }
# The kernel's count of what came over the node's connection: bytes of the stream, with all headers of packets.
received() {
    ss -tinH state established "( dport = :$port )" | sed -n 's/.*bytes_received:\([0-9]*\).*/\1/p' | sort -n | tail -n 1
}

# ---- all boot at once

machines=()
for ((number = 1; number <= FLEET; number++)); do machines+=("vm-$number"); done
disks=("${machines[@]/#/$mnt/localhost/}")
disks=("${disks[@]/%//disk0}")
started=$(milliseconds) memory=$(resident)
check "$FLEET VMs are deployed by one command" ccnfs deploy "$NAME" "${machines[@]}"
note "in $(($(milliseconds) - started)) ms; memory of the node $memory KiB before, $(resident) after"

before=$(fetched)
"$scripts/fleet.py" boot "$image" "${disks[@]}" --seed "$SEED" > "$work/boot.json"
# What is read ahead comes later.
wait_until 20 is_quiet || not_ok "nothing is fetched any more"
sent=$(($(fetched) - before)) union=$(jq .unionBytes "$work/boot.json")
note "cold: $(jq -c 'del(.wrong)' "$work/boot.json")"
check_same "every VM reads its boot set, all bytes right" "" "$(jq -r '.wrong[]' "$work/boot.json")"
note "fetched $sent bytes, $(awk -v a="$sent" -v b="$union" 'BEGIN { printf "%.3f", a / b }') of what all read, each once"
if command -v ss > /dev/null; then note "the connection received $(received) bytes since it was made, as the kernel counts"; fi
# What names the segments, the catalog's pointer every two seconds, and somewhat that was read ahead in vain.
check "that is one copy, not $FLEET" test "$sent" -lt $((union * 5 / 4 + MIB))
check "and all of it" test "$sent" -ge "$union"
note "memory of the node: $(resident) KiB after $FLEET VMs booted"
check "which is bounded" test $(($(resident) - memory)) -lt $((512 * 1024))
before=$(fetched)
"$scripts/fleet.py" boot "$image" "${disks[@]}" --seed "$SEED" > "$work/boot.json"
note "warm: $(jq -c 'del(.wrong)' "$work/boot.json")"
check_same "the same again" "" "$(jq -r '.wrong[]' "$work/boot.json")"
check "is not fetched again" test $(($(fetched) - before)) -lt $((union / 10))

# ---- warm, one against all

check "the rest of the template is fetched" ccnfs fetch "$NAME"

# run_fio VMs [OPTION...]: of each of the first so many VMs one job; the report is fio.json
run_fio() {
    local count=$1 index jobs=()
    shift
    for ((index = 0; index < count; index++)); do jobs+=(--name="vm-$index" --filename="${disks[index]}"); done
    # Options before the first job are those of all.
    fio --thread --ioengine=psync --direct=1 --size="${FLEET_MIB}M" --fallocate=none --norandommap --time_based \
        --runtime="$RUN_SECONDS" --group_reporting --output-format=json "$@" "${jobs[@]}" > "$work/fio.json" 2> "$work/fio.log"
}
read_speed() { run_fio "$1" --rw="$2" --bs="$3" --readonly && jq '.jobs[0].read.bw_bytes / 1e6 | floor' "$work/fio.json"; }

# What is read first by either is read once before, of all disks.
read_speed 1 read 1M > /dev/null
for way in "read 1M" "randread 4k"; do
    read -r pattern size <<< "$way"
    # In turns, the better of two: what else the machine does hits one or the other.
    alone=0 together=0
    for _ in 1 2; do
        speed=$(read_speed 1 "$pattern" "$size")
        alone=$((speed > alone ? speed : alone))
        speed=$(read_speed "$FLEET" "$pattern" "$size")
        together=$((speed > together ? speed : together))
    done
    ratio=$(awk -v a="$together" -v b="$alone" 'BEGIN { printf "%.2f", b ? a / b : 0 }')
    note "$way, warm: one VM $alone MB/s, $FLEET VMs $together MB/s in sum: $ratio (goal 0.9)"
    check "$way of $FLEET VMs in sum is not less than of one" awk -v r="$ratio" -v l="$LEAST_RATIO" 'BEGIN { exit !(r >= l) }'
done

# ---- all write, while another template is fetched

# fsync_times OPTION...: milliseconds of the median, of one in a hundred, and of the longest fsync, of all VMs writing
fsync_times() {
    run_fio "$FLEET" --rw=randwrite --bs=4k --fsync=1 "$@" || return
    jq -r '.jobs[0] | "\(.sync.lat_ns.percentile["50.000000"] / 1e6) \(.sync.lat_ns.percentile["99.000000"] / 1e6) \(
        .sync.lat_ns.max / 1e6) \(.write.iops | floor) \(.error)"' "$work/fio.json"
}
# times TEXT OPTION...: prints them
times() {
    local text=$1 median longest writes
    shift
    read -r median late longest writes error <<< "$(fsync_times "$@")"
    note "$(printf '%s: fsync median %.1f ms, p99 %.1f, longest %.1f; %d writes/s' "$text" "$median" "$late" "$longest" "$writes")"
}
readonly PACED=(--rate_iops=4)
# The first writes of all disks are dearer.
times "first writes" "${PACED[@]}"
times "$FLEET VMs write 4 times a second, nothing else" "${PACED[@]}"
quiet_late=$late
times "$FLEET VMs write as fast as they can, nothing else"
before=$(fetched)
hydrate() {
    while [ ! -e "$work/enough" ]; do
        ccnfs evict > /dev/null
        ccnfs fetch "$OTHER" > "$work/fetch.log" 2>&1
    done
}
hydrate &
hydration=$!
on_exit touch "$work/enough"
times "$FLEET VMs write 4 times a second, beside a hydration" "${PACED[@]}"
check_same "no write fails meanwhile" 0 "$error"
beside_late=$late
times "$FLEET VMs write as fast as they can, beside a hydration"
check_same "none of those either" 0 "$error"
touch "$work/enough"
wait "$hydration"
note "hydrated $((($(fetched) - before) / MIB)) MiB meanwhile"
check "there was a hydration" test $(($(fetched) - before)) -gt $((32 * MIB))
note "p99 of fsync beside it / without: $(awk -v a="$beside_late" -v b="$quiet_late" 'BEGIN { printf "%.1f", b ? a / b : 0 }')"
check "99 of 100 fsyncs are answered within 2 s beside a hydration" \
    awk -v late="$beside_late" 'BEGIN { exit !(late < 2000) }'
note "memory of the node: $(resident) KiB at the end"
stop_node "$mnt" "$node_pid"
check "verify finds nothing wrong" ccnfs verify
finish
