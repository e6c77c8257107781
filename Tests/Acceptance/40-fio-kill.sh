#!/bin/bash
# fio verifies what it wrote; then the node is killed while writers write, and nothing answered is lost.
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib.sh"

readonly KILLS=${KILLS:-4}

begin fio-kill
# fio leaves its notes where it runs.
cd "$work"
command -v fio > /dev/null || skip_all "fio is not installed: make setup"
use_home "$work/home"
key=$work/publisher.pem
make_key ccnx:/mycorp.com "$key"
image=$work/image.raw
small_image "$image" 512
check "an image is published" ccnfs publish "$image" ccnx:/mycorp.com/disk --key "$key"
mnt=$work/mnt
start_node "$mnt"
template=$mnt/mycorp.com/disk/disk0

# ---- fio

mkdir "$mnt/localhost/fio"
disk=$mnt/localhost/fio/disk0
cp "$template" "$disk"

# fio_job DIRECT OFFSET BLOCK-OPTIONS... -- MORE
fio_job() {
    local direct=$1 offset=$2
    shift 2
    fio --name=verify --filename="$disk" --offset="$offset" --size=32M --rw=randwrite --ioengine=libaio \
        --iodepth=8 --direct="$direct" --verify=crc32c --verify_fatal=1 --verify_dump=0 --randrepeat=1 \
        --fallocate=none --group_reporting "$@"
}

sizes=(512 4k 64k 1M)
for index in 0 1 2 3; do
    for direct in 0 1; do
        place=$(((index * 2 + direct) * 32))M
        how=$([ "$direct" = 1 ] && echo direct || echo buffered)
        check "fio verifies ${sizes[index]}, $how" fio_job "$direct" "$place" --bs="${sizes[index]}" --do_verify=1
    done
done
for direct in 0 1; do
    place=$((256 + direct * 32))M
    how=$([ "$direct" = 1 ] && echo direct || echo buffered)
    check "fio verifies mixed sizes, $how" fio_job "$direct" "$place" --bssplit=512/25:4k/25:64k/25:1M/25 --do_verify=1
done
# Both ways at once, in ranges that touch: 1 MiB direct against 512 bytes buffered.
mixed() {
    fio --name=a --filename="$disk" --offset=320M --size=16M --rw=randwrite --bs=512 --direct=0 \
        --ioengine=psync --verify=crc32c --verify_fatal=1 --do_verify=1 --fallocate=none \
        --name=b --filename="$disk" --offset=336M --size=16M --rw=randwrite --bs=1M --direct=1 \
        --ioengine=libaio --iodepth=4 --verify=crc32c --verify_fatal=1 --do_verify=1 --fallocate=none
}
check "fio verifies buffered and direct at once" mixed

stop_node "$mnt" "$node_pid"
start_node "$mnt"
for index in 0 1 2 3; do
    place=$((index * 64))M
    check "after a restart ${sizes[index]} still verifies" fio_job 1 "$place" --bs="${sizes[index]}" --verify_only
done
check "the template still compares equal" cmp "$image" "$template"

# ---- killed

mkdir "$mnt/localhost/killed"
disk=$mnt/localhost/killed/disk0
cp "$template" "$disk"
seed=${SEED:-$RANDOM}
base=$image
for ((round = 1; round <= KILLS; round++)); do
    log=$work/writes-$round
    : > "$log"
    "$scripts/answered-writes.py" write "$disk" "$log" --seed "$seed$round" --seconds 60 > "$work/writer.log" 2>&1 &
    writer_pid=$!
    on_exit end_process "$writer_pid"
    # Not before something was answered; then at a different moment each time.
    wait_until 30 grep -q answered "$log" || not_ok "writes are answered" "$(cat "$work/writer.log" "$node_log")"
    sleep "$((round % 3)).$((RANDOM % 10))"
    kill -9 "$node_pid"
    wait "$node_pid" 2> /dev/null || true
    wait "$writer_pid" || true
    note "round $round, seed $seed$round: $(cat "$work/writer.log")"
    if [ "$round" -eq 1 ]; then
        # A dead mount is left; the next mount says so instead of mounting over it or hanging.
        refuses "a stale mount is named with its remedy" 69,70,71,73,74,75,78 'unmount|stale' \
            ccnfs mount "$mnt"
    fi
    unmount_hard "$mnt"
    start_node "$mnt"
    check "killed in round $round, all that was answered is there" \
        "$scripts/answered-writes.py" verify "$disk" "$log" --seed "$seed$round" --base "$base" --adopt "$work/adopted-$round"
    base=$work/adopted-$round
done
check "what no writer touched is the template" cmp -i 67108864 "$image" "$disk"
check "the template still compares equal" cmp "$image" "$template"
check "verify finds nothing wrong" ccnfs verify
finish
