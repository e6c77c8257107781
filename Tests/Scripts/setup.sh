#!/bin/bash
# Sets up a fresh Debian 12 for this project. May be run again at any time.
#
#   setup.sh build          what building needs
#   setup.sh all            and what the tests, `make run` and `make bench` need
#   setup.sh preflight-run  installs nothing; says everything that `make run` would miss
#
# preflight-run reads IMAGE, MOUNT and RUN_DIR as `make run` does.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../.." && pwd)
PATH=$PATH:/usr/sbin:/sbin

# The toolchain's own needs come first: without them `swift --version` may not even start.
readonly BUILD_PACKAGES=(
    binutils ca-certificates git libc6-dev libcurl4 libedit2 libncurses6 libsqlite3-0
    libstdc++-12-dev libxml2 tzdata zlib1g-dev
    libfuse3-dev libnbd-dev libsqlite3-dev libssl-dev libzstd-dev make pkg-config
)
readonly RUN_PACKAGES=(
    attr cpio e2fsprogs extlinux fdisk fio fuse3 jq libnbd-bin mmdebstrap mount openssl
    python3 qemu-system-x86 qemu-utils stress-ng syslinux-common util-linux xfsprogs
)
# Measured: release and debug build 3 GiB; image, its making and a demo's store 3 GiB.
readonly BUILD_SPACE_MIB=4096
readonly RUN_SPACE_MIB=4096

problems=0
problem() {
    problems=$((problems + 1))
    printf 'setup: %s\n' "$1" >&2
    printf '  remedy: %s\n' "$2" >&2
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# Packages of the arguments that are not installed, on one line.
missing_packages() {
    local package missing=()
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null)" = installed ] ||
            missing+=("$package")
    done
    # busybox and busybox-static exclude each other; either will do.
    if [ "${want_busybox:-no}" = yes ] && ! command -v busybox > /dev/null; then
        missing+=(busybox-static)
    fi
    echo "${missing[*]}"
}

check_apt() {
    if ! command -v apt-get > /dev/null || ! command -v dpkg-query > /dev/null; then
        problem "this is not Debian: there is no apt-get" \
            "install by hand what BUILD_PACKAGES and RUN_PACKAGES in Tests/Scripts/setup.sh name"
        return 1
    fi
}

check_packages() {
    local missing
    missing=$(missing_packages "$@")
    if [ -n "$missing" ] && ! is_root; then
        problem "packages are missing, and only root may install them" \
            "sudo apt-get install --no-install-recommends $missing"
    fi
}

install_packages() {
    local missing
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    if ! is_root; then
        problem "packages are missing, and only root may install them" \
            "sudo apt-get install --no-install-recommends $missing"
        return 1
    fi
    echo "setup: installing $missing"
    local log options
    log=$(mktemp)
    options=(-y -q --no-install-recommends -o 'Acquire::Retries=3' -o 'DPkg::Lock::Timeout=120')
    # A fresh machine has no package lists; an old one has stale ones. Both show as a failure.
    # shellcheck disable=SC2086 # a list of package names
    if ! DEBIAN_FRONTEND=noninteractive apt-get install "${options[@]}" $missing > "$log" 2>&1; then
        if ! apt-get update -q -o 'Acquire::Retries=3' >> "$log" 2>&1 ||
            ! DEBIAN_FRONTEND=noninteractive apt-get install "${options[@]}" $missing >> "$log" 2>&1; then
            tail -n 15 "$log" >&2
            rm -f "$log"
            problem "apt-get could not install: $missing" \
                "run it by hand: apt-get update && apt-get install --no-install-recommends $missing"
            return 1
        fi
    fi
    rm -f "$log"
}

check_swift() {
    local said
    if ! said=$("$here/find-swift.sh" 2>&1 > /dev/null); then
        problem "$(head -n 1 <<< "$said")" "$(sed -n 's/^ *remedy: //p; s/^ \{10\}//p' <<< "$said" | tr '\n' ' ')"
    fi
}

check_fuse() {
    if [ ! -e /dev/fuse ]; then
        problem "/dev/fuse is absent" "modprobe fuse; in a container start it with --device /dev/fuse --cap-add SYS_ADMIN"
    elif ! { : <> /dev/fuse; } 2> /dev/null; then
        problem "/dev/fuse cannot be opened" "run as root, or: chmod 666 /dev/fuse"
    fi
}

check_loop() {
    if [ ! -e /dev/loop-control ] || ! losetup -f > /dev/null 2>&1; then
        problem "there are no loop devices" "modprobe loop; in a container start it with --privileged"
    fi
}

# Free space where DIRECTORY lies or will lie.
check_space() {
    local directory=$1 needed_mib=$2 purpose=$3 free_mib
    while [ ! -d "$directory" ]; do
        directory=$(dirname "$directory")
    done
    free_mib=$(df -Pm "$directory" | awk 'NR == 2 { print $4 }')
    if [ "$free_mib" -lt "$needed_mib" ]; then
        problem "$purpose needs $needed_mib MiB in $directory, $free_mib MiB are free" \
            "free some space${4:+, or $4}"
    fi
}

check_run_settings() {
    local mount=${MOUNT:-/ccn} run_dir=${RUN_DIR:-/var/tmp/ccnfs-run} parent kind
    if [ -n "${IMAGE:-}" ]; then
        [ -r "$IMAGE" ] || problem "IMAGE=$IMAGE cannot be read" "name a readable raw, qcow2, vmdk, vhdx or vdi file"
    elif ! is_root; then
        problem "making the Debian image needs root" "sudo make run, or make run IMAGE=/path/to/disk.qcow2 MOUNT=\$HOME/ccn"
    fi
    # statfs on a mount whose node is gone fails; findmnt reads the kernel's table instead.
    kind=$(findmnt -n -o FSTYPE --mountpoint "$mount" 2> /dev/null | tail -n 1 || true)
    if [ -n "$kind" ] && [ ! -f "$run_dir/mounted" ]; then
        problem "$mount is already a mount ($kind) and not one of make run" "make run MOUNT=/another/place, or unmount it"
    fi
    if [ -z "$kind" ] && [ -d "$mount" ] && [ -n "$(ls -A "$mount" 2> /dev/null)" ]; then
        problem "$mount is not empty" "make run MOUNT=/another/place"
    fi
    parent=$mount
    while [ ! -e "$parent" ]; do
        parent=$(dirname "$parent")
    done
    [ -w "$parent" ] || problem "$mount cannot be made or used by $(id -un)" "make run MOUNT=\$HOME/ccn, or run it as root"
    if ! is_root && [ -n "${ALLOW_OTHER:-}" ] && ! grep -qsE '^[[:space:]]*user_allow_other' /etc/fuse.conf; then
        problem "ALLOW_OTHER is set, and /etc/fuse.conf does not allow it" \
            "echo user_allow_other | sudo tee -a /etc/fuse.conf"
    fi
}

finish() {
    if [ "$problems" -gt 0 ]; then
        printf 'setup: %d %s to solve first\n' "$problems" "$([ "$problems" -eq 1 ] && echo problem || echo problems)" >&2
        exit 1
    fi
}

mode=${1:-all}
case $mode in
    build)
        check_apt || finish
        check_space "$repository" "$BUILD_SPACE_MIB" "building"
        install_packages "${BUILD_PACKAGES[@]}" || finish
        check_swift
        finish
        ;;
    all)
        check_apt || finish
        check_space "$repository" "$BUILD_SPACE_MIB" "building"
        check_space "${TMPDIR:-/var/tmp}" "$RUN_SPACE_MIB" "testing" "set TMPDIR"
        want_busybox=yes
        install_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" || finish
        check_swift
        check_fuse
        if is_root; then
            check_loop
        fi
        finish
        ;;
    preflight-run)
        check_apt && check_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}"
        check_swift
        check_fuse
        if [ -z "${IMAGE:-}" ] && is_root; then
            check_loop
        fi
        check_space "$repository" "$BUILD_SPACE_MIB" "building"
        check_space "${RUN_DIR:-/var/tmp/ccnfs-run}" "$RUN_SPACE_MIB" "make run" "set RUN_DIR"
        check_run_settings
        finish
        ;;
    *)
        echo "usage: setup.sh build|all|preflight-run" >&2
        exit 64
        ;;
esac
