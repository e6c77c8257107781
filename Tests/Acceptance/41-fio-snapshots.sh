#!/bin/bash
# fio verifies eight disks, written 16 deep by libaio and io_uring at once, while snapshots come and go; then
# what snapshots cost: how long writers wait, and how reads are at any number of them.
#
#   FIO_ROUNDS     how often all disks are written and verified under snapshots (2)
#   FIO_MIB        of each disk, for each engine and round (32)
#   PAUSE_SECONDS  length of each measurement of writers (5)
#   DEPTHS         numbers of snapshots at which reads are timed (1 10 100 300)
#   DEPTH_BLOCKS   blocks of 4 KiB that are written, spread over them (9,600)
#   SEED           of offsets; printed
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib-disks.sh"

readonly FIO_ROUNDS=${FIO_ROUNDS:-2} FIO_MIB=${FIO_MIB:-32} PAUSE_SECONDS=${PAUSE_SECONDS:-5}
readonly DEPTHS=${DEPTHS:-1 10 100 300} DEPTH_BLOCKS=${DEPTH_BLOCKS:-9600}
# Four VMs of two disks: a snapshot is of both.
readonly VMS=4 FIO_SECONDS=300
# Wide bounds, for machines that do other work: what is measured is printed.
readonly PAUSE_LIMIT_MICROSECONDS=5000000 READ_LIMIT_RATIO=5

begin fio-snapshots
# fio leaves its notes where it runs.
cd "$work"
command -v fio > /dev/null || skip_all "fio is not installed: make setup"
setup_disks
disks=()
for ((number = 1; number <= VMS; number++)); do
    mkdir "$home_vms/fio-$number"
    for index in 0 1; do
        disk=$home_vms/fio-$number/disk$index
        cp "$mnt/mycorp.com/small/disk0" "$disk"
        truncate -s $((2 * FIO_ROUNDS * FIO_MIB))M "$disk"
        disks+=("$disk")
    done
done

engines=(libaio)
if fio --name=probe --filename="$work/probe" --size=4k --ioengine=io_uring --rw=write > "$work/probe.log" 2>&1; then
    engines+=(io_uring)
else
    skip "io_uring" "the kernel refuses it: $(tail -n 1 "$work/probe.log")"
fi

# fio_all ROUND [DISK...] -- OPTION...: one job for each disk and engine, each in a part of its own
fio_all() {
    local round=$1 jobs=() disk index
    shift
    local files=()
    while [ "$1" != -- ]; do
        files+=("$1")
        shift
    done
    shift
    for disk in "${files[@]}"; do
        for index in "${!engines[@]}"; do
            jobs+=(--name="job-$index" --filename="$disk" --ioengine="${engines[index]}"
                --offset="$(((round * 2 + index) * FIO_MIB))M" --randseed=$((SEED + round * 2 + index)))
        done
    done
    timeout "$FIO_SECONDS" fio --rw=randwrite --size="${FIO_MIB}M" --bssplit=4k/60:16k/30:64k/10 --iodepth=16 --direct=1 \
        --verify=crc32c --verify_fatal=1 --verify_dump=0 --fallocate=none --group_reporting "$@" "${jobs[@]}"
}

# ---- snapshots come and go under writers

# Takes and drops until $work/stop is there; clones some; counts what it did.
come_and_go() {
    local number=0 vm
    while [ ! -e "$work/stop" ]; do
        number=$((number + 1))
        vm=$home_vms/fio-$((number % VMS + 1))
        mkdir "$vm/.snapshots/s$number"
        # Up to three of each VM stay for a while.
        [ "$number" -le $((3 * VMS)) ] || rmdir "$vm/.snapshots/s$((number - 3 * VMS))"
        if [ $((number % 5)) -eq 0 ]; then
            cp "$vm/.snapshots/s$number/disk0" "$home_vms/cloned/disk0"
            rm "$home_vms/cloned/disk0"
        fi
        echo "$number" > "$work/taken"
    done
}

mkdir "$home_vms/cloned"
for ((round = 0; round < FIO_ROUNDS; round++)); do
    rm -f "$work/stop"
    echo 0 > "$work/taken"
    come_and_go > "$work/come-and-go.log" 2>&1 &
    taker=$!
    background "$taker"
    started=$(milliseconds)
    check "round $round: 16 deep by ${engines[*]} on ${#disks[@]} disks at once verifies under snapshots" \
        fio_all "$round" "${disks[@]}" -- --do_verify=1
    : > "$work/stop"
    taker_status=0
    wait "$taker" || taker_status=$?
    check_same "snapshots came and went meanwhile" "0 " "$taker_status $(cat "$work/come-and-go.log")"
    note "$(cat "$work/taken") snapshots in $(($(milliseconds) - started)) ms"
    for vm in "$home_vms"/fio-*; do
        find "$vm/.snapshots" -mindepth 1 -maxdepth 1 -exec rmdir {} +
    done
done

# A snapshot of what is verified; its disks must verify when everything after it was overwritten.
for ((number = 1; number <= VMS; number++)); do
    mkdir "$home_vms/fio-$number/.snapshots/kept"
done
restart
for ((round = 0; round < FIO_ROUNDS; round++)); do
    check "after a restart round $round still verifies" fio_all "$round" "${disks[@]}" -- --verify_only
done
check "the first round's part is written over" fio_all 0 "${disks[@]}" -- --do_verify=1 --verify=md5
mkdir "$home_vms/clones"
clones=()
for ((number = 1; number <= VMS; number++)); do
    for index in 0 1; do
        cp "$home_vms/fio-$number/.snapshots/kept/disk$index" "$home_vms/clones/disk$number$index"
        clones+=("$home_vms/clones/disk$number$index")
    done
done
check "clones of the snapshots verify as the disks did" fio_all 0 "${clones[@]}" -- --verify_only
for ((number = 1; number <= VMS; number++)); do rmdir "$home_vms/fio-$number/.snapshots/kept"; done
rm -r "$home_vms/clones" "$home_vms/cloned" "$home_vms"/fio-*

# ---- how long a snapshot keeps writers

mkdir "$home_vms/pause"
for disk in disk0 disk1; do cp "$mnt/mycorp.com/small/disk0" "$home_vms/pause/$disk"; done
field() { jq -r ".$1" <<< "$2"; }
# load SECONDS: another disk of the VM is written 16 deep meanwhile
load() {
    fio --name=load --filename="$home_vms/pause/disk1" --size=64M --bs=16k --rw=randwrite --ioengine=libaio --iodepth=16 \
        --direct=1 --time_based --runtime="$1" --fallocate=none > "$work/load.log" 2>&1
}
for loaded in no yes; do
    if [ "$loaded" = yes ]; then
        load $((2 * PAUSE_SECONDS + 2)) &
        loader=$!
        background "$loader"
    fi
    without=$(calls latency "$home_vms/pause/disk0" --write --seconds "$PAUSE_SECONDS")
    calls latency "$home_vms/pause/disk0" --write --seconds "$PAUSE_SECONDS" > "$work/with" &
    writer=$!
    background "$writer"
    taken=$(calls snapshots "$home_vms/pause" --count $((PAUSE_SECONDS * 4)) --pause 0.2)
    wait "$writer"
    with=$(cat "$work/with")
    what=$([ "$loaded" = yes ] && echo "another disk of the VM written 16 deep" || echo "no other load")
    note "4 KiB writes, $what: median, 99th percentile, longest in us"
    note "  without snapshots    $(field median "$without") $(field p99 "$without") $(field max "$without")"
    note "  with five a second   $(field median "$with") $(field p99 "$with") $(field max "$with")"
    note "  a mkdir takes        $(field median "$taken") ms, at most $(field max "$taken") ms"
    check "no writer waits for seconds, $what" \
        jq -e ".max < $PAUSE_LIMIT_MICROSECONDS" "$work/with"
    # Snapshots of that name are to be taken again.
    find "$home_vms/pause/.snapshots" -mindepth 1 -maxdepth 1 -exec rmdir {} +
    [ "$loaded" = no ] || wait "$loader"
done
rm -r "$home_vms/pause"

# ---- reads at any number of snapshots

# The same blocks are written and read whatever the number of snapshots between: only that differs.
read -ra depths <<< "$DEPTHS"
for depth in "${depths[@]}"; do
    deploy "deep-$depth" small
    times=$(calls snapshots "$home_vms/deep-$depth" --count "$depth" --places "$DEPTH_BLOCKS" --seed "$SEED")
    note "$depth snapshots: mkdir $(field median "$times") ms, at most $(field max "$times") ms"
    sync "$home_vms/deep-$depth/disk0"
done
for _ in 1 2 3 4 5; do
    for depth in "${depths[@]}"; do
        field median "$(calls latency "$home_vms/deep-$depth/disk0" --read --places "$DEPTH_BLOCKS" --seed "$SEED" --seconds 1)" \
            >> "$work/latency-$depth"
    done
done
middle() { sort -n "$1" | sed -n 3p; }
first=$(middle "$work/latency-${depths[0]}")
for depth in "${depths[@]}"; do
    median=$(middle "$work/latency-$depth")
    ratio=$(awk -v a="$median" -v b="$first" 'BEGIN { printf "%.2f", a / b }')
    note "$depth snapshots: 4 KiB read $median us, $ratio of that at ${depths[0]}"
    check "reads at $depth snapshots are as at ${depths[0]}" \
        awk -v ratio="$ratio" -v limit="$READ_LIMIT_RATIO" 'BEGIN { exit !(ratio < limit) }'
done
taken=${depths[-1]}
for depth in "${depths[@]:0:${#depths[@]}-1}"; do
    find "$home_vms/deep-$depth/.snapshots" -mindepth 1 -maxdepth 1 -exec rmdir {} +
    check "the VM of $depth snapshots is removed once they are dropped" rm -r "$home_vms/deep-$depth"
done
sum=$(sha256sum < "$home_vms/deep-$taken/disk0")
started=$(milliseconds)
restart
note "a restart with $taken snapshots takes $(($(milliseconds) - started)) ms"
check_same "after a restart the disk is the same" "$sum" "$(sha256sum < "$home_vms/deep-$taken/disk0")"
check_same "and all snapshots are there" "$taken" "$(find "$home_vms/deep-$taken/.snapshots" -mindepth 1 -maxdepth 1 | wc -l)"
note "overlays of $taken snapshots take $(overlay_bytes) bytes"
started=$(milliseconds)
find "$home_vms/deep-$taken/.snapshots" -mindepth 1 -maxdepth 1 -exec rmdir {} +
note "dropping them takes $(($(milliseconds) - started)) ms"
check_same "without them the disk is the same" "$sum" "$(sha256sum < "$home_vms/deep-$taken/disk0")"
started=$(milliseconds)
check "reclaim ends" ccnfs reclaim
note "reclaim takes $(($(milliseconds) - started)) ms; overlays then take $(overlay_bytes) bytes"
forget_pages "$home_vms/deep-$taken/disk0"
check_same "then too" "$sum" "$(sha256sum < "$home_vms/deep-$taken/disk0")"
rm -r "$home_vms/deep-$taken"
check "verify finds nothing wrong" ccnfs verify
stop_node "$mnt" "$pid"
finish
