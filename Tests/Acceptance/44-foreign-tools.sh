#!/bin/bash
# Random operations by tools that this project did not write, on disks of VMs: every one checks what it reads.
#
# Debian has no fsx (it is in no package that can be installed alone), so these are stress-ng with --verify, on
# files in the mount, and fio with trims and --verify, on a loop device as a guest's discards come. Of stress-ng:
#
#   copy-file         copy_file_range of 128 KiB from and to random places, each read back and compared
#   fallocate         every mode of fallocate, sizes compared
#   fpunch            five processes punch, zero and fill one file
#   seek-punch        random writes and reads with holes punched between
#   hdd               every way to open and write (O_DIRECT, O_DSYNC, O_SYNC, fadvise …), read back and compared
#   iomix             several processes read, write, map, copy and synchronize one file
#   mmap              a shared mapping of a file, synchronously and not, compared
#   readahead         random reads, compared
#   revio, sync-file  writes in reverse order; sync_file_range
#   lockofd           locks of open files
#
#   STRESS_SECONDS  of each stressor (2)
#   FIO_MIB         that fio writes and trims in each of its jobs (48)
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib.sh"

readonly STRESS_SECONDS=${STRESS_SECONDS:-2} FIO_MIB=${FIO_MIB:-48}

begin foreign-tools
# fio leaves its notes where it runs.
cd "$work"
for tool in stress-ng fio; do
    command -v "$tool" > /dev/null || skip_all "$tool is not installed: make setup"
done
use_home "$work/home"
key=$work/publisher.pem
make_key ccnx:/mycorp.com "$key"
image=$work/image.raw
small_image "$image" 256
check "an image is published" ccnfs publish "$image" ccnx:/mycorp.com/disk --key "$key"
mnt=$work/mnt
start_node "$mnt"

# ---- stress-ng: the folder that it makes for each worker is a VM, the files in it are disks

# stress NAME OPTION...: works for STRESS_SECONDS, finds nothing wrong, and does something
stress() {
    local name=$1 said status=0
    shift
    said=$(timeout -k 5 $((STRESS_SECONDS * 4 + 60)) stress-ng "$@" --timeout "$STRESS_SECONDS" --verify --metrics \
        --temp-path "$mnt/localhost" 2>&1) || status=$?
    # The last row of the table of operations has their count.
    if [ "$status" -eq 0 ] && grep -qE 'successful run' <<< "$said" && ! grep -qiE 'fail|skipp' <<< "$said" &&
        awk -v name="$name" '$4 == name && $5 > 0 { found = 1 } END { exit !found }' <<< "$said"; then
        ok "stress-ng $*"
    else
        not_ok "stress-ng $*" "status $status"$'\n'"$said"$'\n'"$(tail -n 5 "$node_log")"
    fi
}
stress copy-file --copy-file 2 --copy-file-bytes 128M
stress fallocate --fallocate 2 --fallocate-bytes 8M
stress fpunch --fpunch 2
stress seek --seek 2 --seek-size 16M --seek-punch
stress hdd --hdd 1 --hdd-bytes 16M --aggressive
for option in direct dsync sync direct,utimes rd-rnd,wr-rnd iovec,wr-seq; do
    stress hdd --hdd 1 --hdd-bytes 8M --hdd-opts "$option"
done
stress iomix --iomix 2 --iomix-bytes 16M
stress mmap --mmap 1 --mmap-file --mmap-bytes 8M
stress mmap --mmap 1 --mmap-file --mmap-async --mmap-bytes 8M
stress readahead --readahead 1 --readahead-bytes 16M
stress revio --revio 2 --revio-bytes 32M
stress sync-file --sync-file 1 --sync-file-bytes 8M
stress lockofd --lockofd 2
check_same "what stress-ng made is gone" "" "$(ls "$mnt/localhost")"

# ---- fio: trims through a loop device, on a clone with a snapshot below it

if [ "$(id -u)" -eq 0 ]; then
    mkdir "$mnt/localhost/trims"
    cp "$mnt/mycorp.com/disk/disk0" "$mnt/localhost/trims/disk0"
    for direct in off on; do
        loop=$(losetup --find --show --direct-io="$direct" "$mnt/localhost/trims/disk0")
        on_exit losetup --detach "$loop"
        check "the loop device takes discards, direct I/O $direct" \
            test "$(cat "/sys/block/$(basename "$loop")/queue/discard_max_bytes")" -gt 0
        # job OPTION...
        job() {
            fio --name=job --filename="$loop" --ioengine=libaio --iodepth=8 --direct=1 --randrepeat=1 --verify_fatal=1 \
                --verify_dump=0 --group_reporting "$@"
        }
        for size in --bs=4k --bs=64k --bssplit=4k/60:16k/30:128k/10; do
            check "fio trims and writes in random order, $size, and verifies, direct I/O $direct" \
                job --rw=randtrimwrite "$size" --size="${FIO_MIB}M" --verify=crc32c --do_verify=1
        done
        check "fio writes ${FIO_MIB} MiB" job --rw=randwrite --bs=4k --size="${FIO_MIB}M" --verify=crc32c --do_verify=1
        check "a snapshot is taken between" mkdir "$mnt/localhost/trims/.snapshots/$direct"
        third=$((FIO_MIB / 3))
        check "fio trims the third in the middle" job --rw=randtrim --bs=4k --offset="${third}M" --size="${third}M"
        check "which then reads as zeros" \
            cmp -n $((third * 1024 * 1024)) -i "$((third * 1024 * 1024)):0" "$mnt/localhost/trims/disk0" /dev/zero
        sync "$mnt/localhost/trims/disk0"
        # The rest, in the order in which it was written, is what fio's verification expects.
        snapshot=$mnt/localhost/trims/.snapshots/$direct/disk0
        check "before the trimmed third nothing has changed" \
            cmp -n $((third * 1024 * 1024)) "$snapshot" "$mnt/localhost/trims/disk0"
        check "nor behind it" cmp -i $((2 * third * 1024 * 1024)) "$snapshot" "$mnt/localhost/trims/disk0"
        losetup --detach "$loop"
        mkdir "$mnt/localhost/copy"
        check "the snapshot's disk is copied to another VM" cp "$snapshot" "$mnt/localhost/copy/disk0"
        loop=$(losetup --find --show --direct-io="$direct" "$mnt/localhost/copy/disk0")
        on_exit losetup --detach "$loop"
        check "and verifies there" \
            job --rw=randwrite --bs=4k --size="${FIO_MIB}M" --verify=crc32c --verify_only
        losetup --detach "$loop"
        rm -r "$mnt/localhost/copy"
        check "the snapshot goes" rmdir "$mnt/localhost/trims/.snapshots/$direct"
    done
else
    skip "fio trims through a loop device" "needs root"
fi
check "verify finds nothing wrong" ccnfs verify
check "the template still compares equal" cmp "$image" "$mnt/mycorp.com/disk/disk0"
stop_node "$mnt" "$node_pid"
finish
