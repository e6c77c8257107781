#!/bin/bash
# The main job on one machine, on real input: `make run`, and `run.sh clean` for `make clean-run`.
#
#   IMAGE    disk image to publish; without it a Debian image is made (root, loop mount)
#   MOUNT    where to mount (/ccn)
#   RUN_DIR  image, state, cache and logs of this demonstration (/var/tmp/ccnfs-run); a real
#            installation's state and cache are not touched
#   GUEST=1  boots the VM of an IMAGE too; it must let root in on ttyS0 without a password
#
# May be run again: what is there is kept, a changed image becomes version 2.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
repository=$PWD
export MOUNT=${MOUNT:-/ccn} RUN_DIR=${RUN_DIR:-/var/tmp/ccnfs-run} IMAGE=${IMAGE:-}
PATH=$PATH:/usr/sbin:/sbin

readonly NAME=ccnx:/mycorp.com/app1/linuxvm
readonly PREFIX=ccnx:/mycorp.com
template=$MOUNT/mycorp.com/app1/linuxvm
vm=web-01
# Where the Debian image has its filesystem.
readonly PARTITION_OFFSET=$((1024 * 1024))
ccnfs=$repository/.build/release/ccnfs
export CCNFS_STATE=$RUN_DIR/state CCNFS_CACHE=$RUN_DIR/cache SWIFT_BACKTRACE=enable=no

# ---- what a step is

steps=0
current='' finished='' mounted_here='' check_mount=''
run_started=$(date +%s%N)

# In tenths of a second since the given moment.
tenths_since() { echo $((($(date +%s%N) - $1) / 100000000)); }
in_seconds() { printf '%d.%d' $(($1 / 10)) $(($1 % 10)); }

say() { printf '           %s\n' "$*"; }

# step TEXT COMMAND...: the time it took, then the text; what it says goes to a log.
# `show` as first word of the command shows its output too.
step() {
    local text=$1 started show='' log status=0
    shift
    steps=$((steps + 1))
    current=$text
    log=$RUN_DIR/log/$(printf '%02d' "$steps").log
    if [ "$1" = show ]; then
        show=yes
        shift
    fi
    if [ -n "$show" ]; then
        printf '[   ...  ] %s\n' "$text"
    elif [ -t 1 ]; then
        printf '[   ...  ] %s\r' "$text"
    fi
    started=$(date +%s%N)
    if [ -n "$show" ] && [ -t 1 ]; then
        # Straight to the terminal, so that progress looks as it does for a user.
        ("$@") || status=$?
    elif [ -n "$show" ]; then
        "$@" 2>&1 | tee "$log" | sed 's/^/           /' || status=$?
    else
        # In a subshell, or a trap would write to the log while the redirection stands.
        ("$@") > "$log" 2>&1 || status=$?
    fi
    if [ "$status" -ne 0 ]; then
        printf '\nrun: step failed: %s (status %d)\n' "$text" "$status" >&2
        if [ -s "$log" ]; then
            tail -n 15 "$log" | sed 's/^/  | /' >&2
            printf '  log: %s\n' "$log" >&2
        fi
        exit 1
    fi
    printf '[%6s s] %s\n' "$(in_seconds "$(tenths_since "$started")")" "$text"
}

# A failed or interrupted run leaves no mount behind; state and cache stay for the next.
clean_up() {
    local status=$?
    trap - EXIT
    trap '' INT TERM
    set +e
    if [ -n "$check_mount" ] && mountpoint -q "$check_mount"; then
        umount "$check_mount"
    fi
    if [ -z "$finished" ] && [ -n "$mounted_here" ]; then
        if [ -n "$(mount_device "$MOUNT")" ]; then
            unmount_at "$MOUNT" > /dev/null 2>&1 || umount -l "$MOUNT" 2> /dev/null
            echo "run: $MOUNT was unmounted again; what was published is kept in $RUN_DIR" >&2
        fi
        rm -f "$RUN_DIR/mounted"
    fi
    if [ "$status" -ge 128 ] && [ -n "$current" ]; then
        echo "run: interrupted during: $current" >&2
    fi
    exit "$status"
}

# ---- the mount, and whose it is

# The kernel's number of the mount: a mount that somebody else made there has another.
mount_device() { findmnt -n -o MAJ:MIN --mountpoint "$1" 2> /dev/null | tail -n 1 | tr -d ' ' || true; }

is_ours() {
    local place device
    [ -f "$RUN_DIR/mounted" ] || return 1
    read -r device place < "$RUN_DIR/mounted"
    [ "$place" = "$1" ] && [ -n "$device" ] && [ "$(mount_device "$1")" = "$device" ]
}

mount_ours() {
    local options=()
    [ -z "${ALLOW_OTHER:-}" ] || options+=(--allow-other)
    if [ ! -d "$MOUNT" ]; then
        mkdir -p "$MOUNT" || return
        echo "$MOUNT" > "$RUN_DIR/made-mountpoint"
    fi
    # The node stays behind in the background; it must not hold this script's input.
    "$ccnfs" mount "$MOUNT" "${options[@]}" < /dev/null || return
    echo "$(mount_device "$MOUNT") $MOUNT" > "$RUN_DIR/mounted"
}

unmount_at() { "$ccnfs" unmount "$1" || umount "$1" || fusermount3 -u "$1"; }

unmount_ours() {
    local place
    read -r _ place < "$RUN_DIR/mounted" || return
    if [ -n "$(mount_device "$place")" ]; then
        unmount_at "$place" || return
    fi
    rm -f "$RUN_DIR/mounted"
}

# ---- make clean-run

clean() {
    local place
    if [ ! -e "$RUN_DIR" ]; then
        echo "clean-run: there is no $RUN_DIR, nothing to do"
        return 0
    fi
    if [ ! -f "$RUN_DIR/made-by-make-run" ]; then
        echo "clean-run: $RUN_DIR was not made by make run: left alone" >&2
        return 1
    fi
    if [ -f "$RUN_DIR/mounted" ]; then
        read -r _ place < "$RUN_DIR/mounted"
        if [ -n "$(mount_device "$place")" ]; then
            if ! is_ours "$place"; then
                echo "clean-run: $place is a mount, but not the one make run made: left alone" >&2
                echo "  hint: unmount it yourself, or remove $RUN_DIR/mounted if it is none of yours" >&2
                return 1
            fi
            if ! unmount_ours; then
                echo "clean-run: $place could not be unmounted: is something using it?" >&2
                return 1
            fi
            echo "clean-run: $place unmounted"
        fi
    fi
    if [ -f "$RUN_DIR/made-mountpoint" ]; then
        rmdir "$(cat "$RUN_DIR/made-mountpoint")" 2> /dev/null || true
    fi
    rm -rf --one-file-system "$RUN_DIR"
    echo "clean-run: $RUN_DIR removed"
}

# ---- the steps: `step` runs them where `set -e` has no effect, so each says `|| return` itself

make_key() {
    if [ -f "$RUN_DIR/publisher.pem" ]; then
        echo "the key is there, kept"
    else
        "$ccnfs" key generate --out "$RUN_DIR/publisher.pem" || return
    fi
    "$ccnfs" trust add "$PREFIX" "$RUN_DIR/publisher.pub"
}

# Name, size and time of change: enough to see that an image is another one.
image_stamp() { stat -c '%n %s %Y' "$image"; }

is_published() {
    [ -f "$RUN_DIR/published" ] && [ "$(cat "$RUN_DIR/published")" = "$(image_stamp)" ] &&
        "$ccnfs" versions "$NAME" > /dev/null 2>&1
}

publish() {
    "$ccnfs" publish "$image" "$NAME" --key "$RUN_DIR/publisher.pem" || return
    image_stamp > "$RUN_DIR/published"
}

compare() {
    if [ "$format" = raw ]; then
        cmp "$image" "$template/disk0"
    else
        qemu-img compare -f "$format" -F raw "$image" "$template/disk0"
    fi
}

deploy() {
    mkdir "$MOUNT/localhost/$vm" || return
    cp "$template/disk0" "$MOUNT/localhost/$vm/disk0"
}

boot() {
    Tests/Scripts/guest.py --disk "$MOUNT/localhost/$vm/disk0" --cache none \
        --log "$RUN_DIR/log/console.log" --timeout 300 \
        --run "echo '$marker' >> /root/marker && sync && cat /root/marker"
}

restart() {
    unmount_ours && mount_ours
}

look_for_marker() {
    local found=0
    mkdir -p "$check_mount" || return
    # noload: the guest shut down in order, its journal is empty, and this must not write.
    mount -o "ro,noload,loop,offset=$PARTITION_OFFSET" "$MOUNT/localhost/$vm/disk0" "$check_mount" ||
        return
    grep -F "$marker" "$check_mount/root/marker" || found=1
    umount "$check_mount" && return "$found"
}

run() {
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM

    Tests/Scripts/setup.sh preflight-run || exit 1
    if [ -e "$RUN_DIR" ] && [ ! -f "$RUN_DIR/made-by-make-run" ] && [ -n "$(ls -A "$RUN_DIR")" ]; then
        echo "run: $RUN_DIR is there and not of make run: name another RUN_DIR" >&2
        exit 1
    fi
    mkdir -p "$RUN_DIR/log"
    : > "$RUN_DIR/made-by-make-run"
    if [ -n "$(mount_device "$MOUNT")" ] && ! is_ours "$MOUNT"; then
        echo "run: $MOUNT is a mount that make run did not make: make run MOUNT=/another/place" >&2
        exit 1
    fi

    step "set-up: packages are there" Tests/Scripts/setup.sh all
    local swift
    swift=$(Tests/Scripts/find-swift.sh)
    step "built $ccnfs" "$swift" build -c release -Xswiftc -cross-module-optimization

    if [ -n "$IMAGE" ]; then
        image=$(realpath "$IMAGE")
    else
        image=$RUN_DIR/debian.raw
        step "Debian image $image" Tests/Scripts/make-debian-image.sh "$image"
    fi
    format=$(qemu-img info --output=json "$image" | jq -r .format)
    say "$(qemu-img info "$image" | sed -n 's/^\(file format\|virtual size\|disk size\)/\1/p' | tr '\n' ' ')"

    step "key made, trusted for $PREFIX" make_key
    if is_published; then
        say "$NAME is published from this image already"
    else
        step "published as $NAME" show publish
    fi

    if is_ours "$MOUNT"; then
        say "$MOUNT is mounted already"
        mounted_here=yes
    else
        mounted_here=yes
        step "mounted $MOUNT" mount_ours
    fi
    step "ls -l $template" show ls -l "$template"
    step "disk0 compares equal to the image, byte for byte" compare

    if [ -e "$MOUNT/localhost/$vm/disk0" ]; then
        say "the VM $vm is there already, used again"
    else
        rmdir "$MOUNT/localhost/$vm" 2> /dev/null || true
        step "deployed $vm: mkdir and cp" deploy
    fi
    # shellcheck disable=SC2012 # shown to a reader
    ls -l "$MOUNT/localhost/$vm" | sed 's/^/           /'

    marker="written in the guest at $(date -u +%Y-%m-%dT%H:%M:%SZ)"
    local guest=''
    if [ -z "$IMAGE" ] || [ -n "${GUEST:-}" ]; then
        guest=yes
        step "guest booted from $vm/disk0, wrote /root/marker, powered off" show boot
    else
        say "guest not booted: an image of your own may not let root in; GUEST=1 tries it"
    fi
    step "node stopped and started again" restart
    if [ -n "$guest" ] && [ -z "$IMAGE" ] && [ "$(id -u)" -eq 0 ]; then
        check_mount=$RUN_DIR/check
        step "the marker is in the VM's filesystem" show look_for_marker
    fi
    step "the template still compares equal" compare
    finished=yes

    cat << TEXT

All of it took $(in_seconds "$(tenths_since "$run_started")") s. $MOUNT stays mounted. Try next:

  export PATH=$repository/.build/release:\$PATH CCNFS_STATE=$CCNFS_STATE CCNFS_CACHE=$CCNFS_CACHE
  ls -l $template
  ccnfs list
  ccnfs show $NAME
  mkdir $MOUNT/localhost/web-02 && cp $template/disk0 $MOUNT/localhost/web-02/disk0
  ccnfs status $MOUNT/localhost/web-02/disk0

Stop:    ccnfs unmount $MOUNT
Remove:  make clean-run$([ "$MOUNT" = /ccn ] || printf ' MOUNT=%s' "$MOUNT")$([ "$RUN_DIR" = /var/tmp/ccnfs-run ] || printf ' RUN_DIR=%s' "$RUN_DIR")
TEXT
}

case ${1:-run} in
    run) run ;;
    clean) clean ;;
    *)
        echo "usage: run.sh [run|clean]" >&2
        exit 64
        ;;
esac
