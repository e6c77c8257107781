#!/bin/bash
# A guest boots from a VM disk, writes, shuts down; after a restart of the node it is all there.
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib.sh"

readonly PARTITION_OFFSET=$((1024 * 1024))

begin guest
need_root
need_image
use_home "$work/home"
make_key ccnx:/mycorp.com "$work/publisher.pem"
check "the image is published" ccnfs publish "$raw" ccnx:/mycorp.com/app1/linuxvm --key "$work/publisher.pem"
mnt=$work/mnt
start_node "$mnt"
template=$mnt/mycorp.com/app1/linuxvm/disk0

# Once as scripts deploy, once by the tool.
mkdir "$mnt/localhost/web-none"
check "a VM is deployed by mkdir and cp" cp "$template" "$mnt/localhost/web-none/disk0"
check "a VM is deployed by ccnfs deploy" ccnfs deploy ccnx:/mycorp.com/app1/linuxvm web-writeback

for cache in none writeback; do
    disk=$mnt/localhost/web-$cache/disk0
    check "the guest boots with cache=$cache, writes a marker, powers off" \
        "$scripts/guest.py" --disk "$disk" --cache "$cache" --log "$work/console-$cache.log" --timeout 400 \
        --run "echo marker-$cache > /root/marker" \
        --run 'dd if=/dev/urandom of=/root/noise bs=1M count=8 conv=fsync 2> /dev/null; sha256sum < /root/noise > /root/noise.sum' \
        --run 'sync'
done

stop_node "$mnt" "$node_pid"
start_node "$mnt"

for cache in none writeback; do
    disk=$mnt/localhost/web-$cache/disk0
    loop=$(losetup --find --show --read-only --offset "$PARTITION_OFFSET" "$disk")
    on_exit losetup --detach "$loop"
    check "e2fsck of the $cache guest's filesystem is clean" e2fsck -fn "$loop"
    mkdir -p "$work/guest-$cache"
    mount -o ro "$loop" "$work/guest-$cache"
    on_exit umount "$work/guest-$cache"
    check_same "its marker is there" "marker-$cache" "$(cat "$work/guest-$cache/root/marker" 2>&1)"
    check_same "and a file of 8 MiB reads as the guest summed it" \
        "$(cat "$work/guest-$cache/root/noise.sum" 2>&1)" "$(sha256sum < "$work/guest-$cache/root/noise")"
    umount "$work/guest-$cache"
    losetup --detach "$loop"
done
check "the template still compares equal" cmp "$raw" "$template"
finish
