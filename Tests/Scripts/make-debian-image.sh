#!/bin/bash
# Makes a bootable Debian disk image: make-debian-image.sh OUT.raw [OUT.qcow2]
#
# 1,536 MiB virtual, MBR, one ext4 partition at 1 MiB, kernel, systemd and a login prompt on the
# serial line (root, no password). Needs root (loop mount) and what `setup.sh all` installs.
# An image that is already there is kept; delete it to have it made again.
set -euo pipefail

readonly SIZE_MIB=1536
readonly PARTITION_OFFSET=$((1024 * 1024))
# Fixed, so that two images differ only where Debian differs.
readonly FILESYSTEM_UUID=6d1f5a2e-0000-4000-8000-000000000001

fail() {
    printf 'make-debian-image: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf '  hint: %s\n' "$2" >&2
    exit 1
}

case $# in
    1 | 2) ;;
    *) fail "usage: make-debian-image.sh OUT.raw [OUT.qcow2]" ;;
esac
raw=$1
qcow2=${2:-}

work='' loop_mount=''
clean_up() {
    local status=$?
    trap - EXIT
    if [ -n "$loop_mount" ] && mountpoint -q "$loop_mount"; then
        umount "$loop_mount" || umount -l "$loop_mount" || true
    fi
    [ -z "$work" ] || rm -rf --one-file-system "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# A complete image was renamed into place as the last step, so size and boot signature suffice.
is_complete_raw() {
    [ -f "$1" ] && [ "$(stat -c %s "$1")" -eq $((SIZE_MIB * 1024 * 1024)) ] &&
        [ "$(dd if="$1" bs=1 skip=510 count=2 status=none | od -An -tx1 | tr -d ' \n')" = 55aa ]
}

make_qcow2() {
    [ -n "$qcow2" ] || return 0
    if [ -f "$qcow2" ] && [ ! "$raw" -nt "$qcow2" ]; then
        echo "make-debian-image: $qcow2 is there, kept"
        return 0
    fi
    qemu-img convert -f raw -O qcow2 "$raw" "$qcow2.partial"
    mv "$qcow2.partial" "$qcow2"
    echo "make-debian-image: $qcow2 made, $(stat -c %s "$qcow2") bytes"
}

mkdir -p "$(dirname "$raw")"
# Two callers at once: the second waits and then finds the image.
exec 9> "$raw.lock"
flock 9

if is_complete_raw "$raw"; then
    echo "make-debian-image: $raw is there, kept"
    make_qcow2
    exit 0
fi

[ "$(id -u)" -eq 0 ] || fail "loop mounts need root" "run it as root, or give an image of your own"
PATH=$PATH:/usr/sbin:/sbin
for tool in mmdebstrap extlinux sfdisk mke2fs qemu-img; do
    command -v "$tool" > /dev/null || fail "$tool is not installed" "Tests/Scripts/setup.sh all"
done
mbr=''
for candidate in /usr/lib/EXTLINUX/mbr.bin /usr/lib/syslinux/mbr/mbr.bin; do
    if [ -f "$candidate" ]; then
        mbr=$candidate
        break
    fi
done
[ -n "$mbr" ] || fail "mbr.bin is not installed" "Tests/Scripts/setup.sh all"

started=$SECONDS
# /var/tmp rather than /tmp: half a gigabyte does not belong on a tmpfs.
work=$(mktemp -d "${TMPDIR:-/var/tmp}/ccnfs-image.XXXXXX")
# apt inside the new root runs as _apt, which must be able to walk here.
chmod 0755 "$work"
root=$work/root
loop_mount=$work/mount
mkdir "$loop_mount"

# The machine's own Debian mirrors are used (they may be the only ones it reaches); other
# vendors' are not. Without any, mmdebstrap takes deb.debian.org.
suite=bookworm
sources=$work/sources.list
# shellcheck disable=SC2016 # the format's own variables, apt replaces them
apt-get indextargets --format '$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)' \
    'Created-By: Packages' 2> /dev/null |
    awk -F'|' -v suite="$suite" '
        ($1 == "Debian" || $2 ~ /\/debian(-security)?\/?$/) && $4 == "main" &&
        ($3 == suite || $3 == suite "-updates" || $3 == suite "-security") {
            line = "deb " $2 " " $3 " " $4
            if (!seen[line]++) print line
        }' > "$sources" || true
mirror=()
if grep -q " $suite main\$" "$sources"; then
    mirror=("$sources")
fi

# mmdebstrap does not read the machine's apt.conf; what it takes to reach the mirror is passed on.
apt_options=(--aptopt='Acquire::Retries "3"' --aptopt='Acquire::Languages "none"')
for setting in Acquire::http::Proxy Acquire::https::Proxy Acquire::Check-Valid-Until \
    Acquire::Check-Date; do
    value=''
    eval "$(apt-config shell value "$setting" 2> /dev/null || true)"
    [ -z "$value" ] || apt_options+=(--aptopt="$setting \"$value\"")
done

echo "make-debian-image: installing Debian $suite into a folder"
mmdebstrap --quiet --mode=root --variant=minbase \
    --include=linux-image-cloud-amd64,systemd-sysv,udev,login,e2fsprogs,kmod,procps \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "${apt_options[@]}" "$suite" "$root" "${mirror[@]}" > "$work/mmdebstrap.log" 2>&1 || {
    tail -n 20 "$work/mmdebstrap.log" >&2
    fail "mmdebstrap failed" "is a Debian mirror reachable? try: apt-get update"
}

echo "UUID=$FILESYSTEM_UUID / ext4 defaults,noatime 0 1" > "$root/etc/fstab"
# mmdebstrap copies these two from the machine it runs on.
echo linuxvm > "$root/etc/hostname"
: > "$root/etc/resolv.conf"
# Empty: each VM makes its own at first boot.
: > "$root/etc/machine-id"
# Root without a password: the guest has no network, and a script must be able to log in.
sed -i 's/^root:[^:]*:/root::/' "$root/etc/shadow"
# Work that would start some minutes after boot and disturb measurements.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done

kernel=$(cd "$root/boot" && printf '%s\n' vmlinuz-* | sort -V | tail -n 1)
version=${kernel#vmlinuz-}
[ -f "$root/boot/initrd.img-$version" ] || fail "the new root has no initrd for $version"
mkdir -p "$root/boot/extlinux"
cat > "$root/boot/extlinux/extlinux.conf" << CONF
SERIAL 0 115200
DEFAULT linux
PROMPT 0
TIMEOUT 1
LABEL linux
 LINUX /boot/$kernel
 INITRD /boot/initrd.img-$version
 APPEND root=UUID=$FILESYSTEM_UUID ro console=ttyS0 quiet
CONF

echo "make-debian-image: writing the disk"
disk=$raw.partial
rm -f "$disk"
truncate -s "${SIZE_MIB}M" "$disk"
printf 'label: dos\nlabel-id: 0x5a2e0001\nstart=2048, type=83, bootable\n' | sfdisk -q "$disk"
# extlinux reads ext4 only without 64bit and metadata_csum.
mke2fs -q -F -t ext4 -O '^64bit,^metadata_csum' -U "$FILESYSTEM_UUID" \
    -E "offset=$PARTITION_OFFSET,hash_seed=$FILESYSTEM_UUID,lazy_itable_init=0,lazy_journal_init=0" \
    -L root -d "$root" "$disk" "$(((SIZE_MIB - 1) * 1024))k"
mount -o "loop,offset=$PARTITION_OFFSET" "$disk" "$loop_mount"
extlinux --install "$loop_mount/boot/extlinux" > "$work/extlinux.log" 2>&1 || {
    cat "$work/extlinux.log" >&2
    fail "extlinux could not be installed into the image"
}
umount "$loop_mount"
dd if="$mbr" of="$disk" bs=440 count=1 conv=notrunc status=none
sync "$disk"
mv "$disk" "$raw"
echo "make-debian-image: $raw made in $((SECONDS - started)) s," \
    "$(($(stat -c %b "$raw") * 512 / 1048576)) MiB of $SIZE_MIB MiB allocated"
make_qcow2
