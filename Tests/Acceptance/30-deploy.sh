#!/bin/bash
# Ten VMs from one template: no cross-talk, and what a deployment costs whatever the size.
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib.sh"

readonly VM_COUNT=10
readonly REPEATS=9
# A cp that copied bytes would need minutes for 100 GiB; a process start alone takes milliseconds.
readonly LIMIT_MILLISECONDS=250
readonly LIMIT_BYTES_PER_VM=$((64 * 1024))

begin deploy
need_image
use_home "$work/home"
key=$work/publisher.pem
make_key ccnx:/mycorp.com "$key"
check "the image is published" ccnfs publish "$raw" ccnx:/mycorp.com/app1/linuxvm --key "$key"
mnt=$work/mnt
start_node "$mnt"
template=$mnt/mycorp.com/app1/linuxvm/disk0

# ---- no cross-talk

deploy_ten() {
    local number
    for ((number = 1; number <= VM_COUNT; number++)); do
        mkdir "$mnt/localhost/vm-$number" && cp "$template" "$mnt/localhost/vm-$number/disk0" || return
    done
}
check "ten VMs are deployed by cp in one loop" deploy_ten

# Each its own bytes, at places that touch each other's: aligned, not aligned, over a segment's edge.
scribble() {
    local file=$1 number=$2 place
    for place in $((number * 4096)) $((number * 32768 - 100)) $((700000001 + number * 513)) 1000000000; do
        python3 -c 'import sys; sys.stdout.buffer.write(bytes([int(sys.argv[1])]) * 70000)' "$number" |
            dd of="$file" bs=70000 seek="$place" oflag=seek_bytes conv=notrunc iflag=fullblock status=none || return
    done
}

# Two of them boot at once while the others are written to.
guests=()
if [ "$(id -u)" -eq 0 ]; then
    for number in 1 2; do
        "$scripts/guest.py" --disk "$mnt/localhost/vm-$number/disk0" --cache none --timeout 500 \
            --log "$work/console-$number.log" --run "echo vm-$number > /root/marker; sync" \
            > "$work/guest-$number.log" 2>&1 &
        guests+=($!)
        on_exit end_process "$!"
    done
fi
for ((number = 3; number <= VM_COUNT; number++)); do
    scribble "$mnt/localhost/vm-$number/disk0" "$number"
done
for index in "${!guests[@]}"; do
    number=$((index + 1)) guest_status=0
    wait "${guests[index]}" || guest_status=$?
    check_same "vm-$number boots beside the others and writes" 0 "$guest_status"
    [ "$guest_status" -eq 0 ] || note "$(cat "$work/guest-$number.log")"
done
for ((number = 3; number <= VM_COUNT; number++)); do
    cp --sparse=always "$raw" "$work/model"
    scribble "$work/model" "$number"
    check "vm-$number has its own bytes and no others" cmp "$work/model" "$mnt/localhost/vm-$number/disk0"
done
for index in "${!guests[@]}"; do
    number=$((index + 1))
    loop=$(losetup --find --show --read-only --offset $((1024 * 1024)) "$mnt/localhost/vm-$number/disk0")
    on_exit losetup --detach "$loop"
    check_same "vm-$number has its own marker" "vm-$number" "$(debugfs -R 'cat /root/marker' "$loop" 2> /dev/null)"
    losetup --detach "$loop"
done
check "the template still compares equal" cmp "$raw" "$template"
check "rmdir of a VM with a disk is refused" test -z "$(rmdir "$mnt/localhost/vm-3" 2> /dev/null && echo removed)"
check "rm -r removes a VM" rm -r "$mnt/localhost/vm-3"
check "and its neighbour is still whole" cmp "$work/model" "$mnt/localhost/vm-$VM_COUNT/disk0"

# ---- sizes

vm=$mnt/localhost/sizes
mkdir "$vm"
cp "$template" "$vm/disk0"
truncate -s 3G "$vm/disk0"
check_same "truncate grows a disk" $((3 * 1024 * 1024 * 1024)) "$(stat -c %s "$vm/disk0")"
check "its old part is the template" cmp -n "$(stat -c %s "$raw")" "$raw" "$vm/disk0"
check "what was added reads as zeros" cmp -n 4194304 -i "$(stat -c %s "$raw"):0" "$vm/disk0" /dev/zero
check "ccnfs deploy --size grows it at once" ccnfs deploy ccnx:/mycorp.com/app1/linuxvm sizes-2 --size 20G
check_same "to that size" $((20 * 1024 * 1024 * 1024)) "$(stat -c %s "$mnt/localhost/sizes-2/disk0")"

# ---- what a deployment costs

# sparse_template NAME SIZE: data in few places, the rest a hole
sparse_template() {
    local file=$work/sparse.raw place
    rm -f "$file"
    truncate -s "$2" "$file"
    for place in 0 1 5 9; do
        dd if=/dev/urandom of="$file" bs=1M count=1 seek=$((place * 97)) conv=notrunc status=none
    done
    ccnfs publish "$file" "ccnx:/mycorp.com/$1" --key "$key" > "$work/sparse.log" 2>&1 ||
        { cat "$work/sparse.log"; return 1; }
    rm "$file"
}

# Milliseconds that one `cp` takes, the whole command: the quickest, since what else the machine does only adds to it.
quickest_deploy() {
    local template=$mnt/mycorp.com/$1/disk0 number started
    for ((number = 1; number <= REPEATS; number++)); do
        mkdir "$mnt/localhost/$1-$number"
        started=$(date +%s%N)
        cp "$template" "$mnt/localhost/$1-$number/disk0"
        echo $((($(date +%s%N) - started) / 10000))
    done | sort -n | awk 'NR == 1 { printf "%.2f", $1 / 100 }'
}

check "a sparse template of 1 GiB is published" sparse_template one 1G
check "a sparse template of 100 GiB is published" sparse_template hundred 100G
small_ms=$(quickest_deploy one)
sync
before=$(allocated_bytes "$CCNFS_STATE" "$CCNFS_CACHE")
large_ms=$(quickest_deploy hundred)
sync
after=$(allocated_bytes "$CCNFS_STATE" "$CCNFS_CACHE")
per_vm=$(((after - before) / REPEATS))
note "cp of a 1 GiB template: $small_ms ms; of a 100 GiB template: $large_ms ms"
note "the store grows by $per_vm bytes for each 100 GiB VM"
check "deploying 100 GiB takes milliseconds" awk -v ms="$large_ms" -v limit="$LIMIT_MILLISECONDS" 'BEGIN { exit !(ms < limit) }'
check "about as many as 1 GiB" awk -v a="$large_ms" -v b="$small_ms" 'BEGIN { exit !(a < 3 * b + 10) }'
check "and kilobytes of the store" test "$per_vm" -lt "$LIMIT_BYTES_PER_VM"
check_same "the disk has its full size" $((100 * 1024 * 1024 * 1024)) "$(stat -c %s "$mnt/localhost/hundred-1/disk0")"
check "and the template's bytes" cmp -n $((512 * 1024 * 1024)) "$mnt/mycorp.com/hundred/disk0" "$mnt/localhost/hundred-1/disk0"
finish
