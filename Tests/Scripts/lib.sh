# shellcheck shell=bash
# For the scripts of Tests/Acceptance: results, nodes of their own, clean-up whatever happens.
#
#     . "$(dirname "$0")/../Scripts/lib.sh"
#     begin publish-read
#     check 'the image is there' test -f "$raw"
#     finish
#
# Each result is a line `ok - text` or `not ok - text`; what a failed command said follows in lines
# that begin with `#`.

set -Eeuo pipefail

scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$scripts/../.." && pwd)
CCNFS=${CCNFS:-$repository/.build/release/ccnfs}
# From anywhere: nodes and tests change directory.
CCNFS=$(realpath -m "$CCNFS")
images=${CCNFS_TEST_IMAGES:-/var/tmp/ccnfs-images}
# A mount may come up slowly on a busy machine; nothing waits longer than this.
readonly NODE_DEADLINE_SECONDS=60
PATH=$PATH:/usr/sbin:/sbin
# The crash reporter of Swift outlives the process it reports on, and its time limit.
export SWIFT_BACKTRACE=enable=no

suite='' work='' finished='' failed_line=''
passed=0 failed=0
clean_ups=()

begin() {
    suite=$1
    # The line of the script itself, also when it was a function of this file that failed.
    trap 'failed_line=$LINENO; [ "${#BASH_LINENO[@]}" -lt 2 ] || failed_line=${BASH_LINENO[-2]}' ERR
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    [ -x "$CCNFS" ] || skip_all "there is no $CCNFS: make release"
    work=$(mktemp -d "${TMPDIR:-/var/tmp}/ccnfs-$suite.XXXXXX")
}

# Runs last what was registered first; nothing here may stop the rest.
clean_up() {
    local status=$? index
    trap - EXIT ERR
    trap '' INT TERM
    set +e
    if [ -z "$finished" ]; then
        printf 'not ok - %s ended early, status %d, line %s\n' "$suite" "$status" "${failed_line:-?}"
        [ "$status" -ne 0 ] || status=1
    fi
    for ((index = ${#clean_ups[@]} - 1; index >= 0; index--)); do
        eval "${clean_ups[index]}"
    done
    if [ -n "$work" ]; then
        if [ -n "${KEEP:-}" ]; then
            printf '# kept: %s\n' "$work"
        else
            rm -rf --one-file-system "$work"
        fi
    fi
    exit "$status"
}

# on_exit COMMAND...: words are kept as given.
on_exit() { clean_ups+=("$(printf '%q ' "$@") > /dev/null 2>&1"); }

finish() {
    finished=yes
    [ "$failed" -eq 0 ] || exit 1
    exit 0
}

ok() {
    passed=$((passed + 1))
    printf 'ok - %s\n' "$1"
}

not_ok() {
    failed=$((failed + 1))
    printf 'not ok - %s\n' "$1"
    [ $# -lt 2 ] || printf '%s\n' "$2" | sed 's/^/# /' | head -n 40
}

note() { printf '# %s\n' "$*"; }

skip() { printf 'ok - %s # SKIP %s\n' "$1" "$2"; }

skip_all() {
    skip "$suite" "$1"
    finished=yes
    exit 0
}

# check TEXT COMMAND...: the command's output shows only if it fails.
check() {
    local text=$1 said
    shift
    if said=$("$@" 2>&1); then
        ok "$text"
    else
        not_ok "$text" "status $? of: $*"$'\n'"$said"
    fi
}

# check_same TEXT EXPECTED ACTUAL
check_same() {
    if [ "$2" = "$3" ]; then
        ok "$1"
    else
        not_ok "$1" "expected: $2"$'\n'"     got: $3"
    fi
}

# refuses TEXT STATUSES PATTERN COMMAND...: fails with one of the sysexits statuses (65,66), one error
# line `ccnfs: …` that matches, and at most hint lines after it. How far it had come may stand before.
refuses() {
    local text=$1 statuses=$2 pattern=$3 said status=0 errors
    shift 3
    said=$("$@" 2>&1 > /dev/null < /dev/null) || status=$?
    errors=$(grep -c '^ccnfs: ' <<< "$said" || true)
    if [[ ",$statuses," == *",$status,"* ]] && [ "$errors" -eq 1 ] && grep -qiE -- "$pattern" <<< "$said" &&
        [ "$(grep -vcE '^$|^progress ' <<< "$said")" -le 4 ]; then
        ok "$text"
    else
        not_ok "$text" "expected status $statuses, one error line matching /$pattern/; status $status:"$'\n'"$said"
    fi
}

# wait_until SECONDS COMMAND...: true as soon as the command is, false at the deadline.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" > /dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}

need_root() { [ "$(id -u)" -eq 0 ] || skip_all "needs root"; }

# Makes the shared Debian image if it is not there; sets raw and qcow2.
need_image() {
    raw=$images/debian.raw
    qcow2=$images/debian.qcow2
    if [ ! -f "$raw" ] || [ ! -f "$qcow2" ]; then
        need_root
    fi
    "$scripts/make-debian-image.sh" "$raw" "$qcow2" | sed 's/^/# /'
}

# use_home DIR: the state and the cache that ccnfs commands work on from now on.
use_home() {
    mkdir -p "$1"
    export CCNFS_STATE=$1/state CCNFS_CACHE=$1/cache
}

ccnfs() { "$CCNFS" "$@"; }

# status_of COMMAND...: `COMMAND... status --json`. Its exit status may say (69) that a catalog or a mirror is behind;
# what it reports comes all the same.
status_of() { "$@" status --json || [ $? -eq 69 ]; }

is_mounted() { findmnt -n --mountpoint "$1" > /dev/null; }

# Unmounts even what a dead node left.
unmount_hard() {
    local try
    for try in 1 2 3 4 5; do
        is_mounted "$1" || return 0
        umount "$1" 2> /dev/null || fusermount3 -u "$1" 2> /dev/null || sleep 0.2
        [ "$try" -lt 4 ] || umount -l "$1" 2> /dev/null || true
    done
}

# start_node MOUNTPOINT [OPTION...]: a node in the background, its id in node_pid, its log in
# node_log. It is ended and unmounted at the end whatever happens.
start_node() {
    local place=$1
    shift
    mkdir -p "$place"
    node_log=$work/node-$(basename "$place").log
    "$CCNFS" mount "$place" --foreground "$@" >> "$node_log" 2>&1 &
    node_pid=$!
    on_exit unmount_hard "$place"
    on_exit end_process "$node_pid"
    if ! wait_until "$NODE_DEADLINE_SECONDS" node_is_up "$node_pid" "$place" || ! is_mounted "$place"; then
        not_ok "a node mounts $place" "$(tail -n 20 "$node_log")"
        return 1
    fi
}

# Also true when it has died: there is nothing more to wait for.
node_is_up() { is_mounted "$2" || ! kill -0 "$1"; }

# end_process PID: of a child of this script; once it was waited for the number is someone else's.
end_process() {
    jobs -p | grep -qx "$1" || return 0
    kill "$1" 2> /dev/null || return 0
    wait_until 20 process_is_gone "$1" || kill -9 "$1" 2> /dev/null || true
    wait "$1" 2> /dev/null || true
}

process_is_gone() { ! kill -0 "$1" || [ "$(ps -o stat= -p "$1" | cut -c1)" = Z ]; }

# stop_node MOUNTPOINT PID: the orderly end.
stop_node() {
    "$CCNFS" unmount "$1"
    wait_until 30 process_is_gone "$2" || {
        not_ok "the node of $1 ends after unmount" "$(tail -n 5 "$node_log")"
        kill -9 "$2" 2> /dev/null || true
    }
    wait "$2" 2> /dev/null || true
}

# A port that nobody has, TCP or UDP. Not one that the kernel gives to connections of others, which could have it
# before a node listens there, or while the node is down; drawn, so that two scripts at once take different ones.
free_port() {
    python3 -c '
import random, socket
with open("/proc/sys/net/ipv4/ip_local_port_range") as range_of_kernel:
    least = int(range_of_kernel.read().split()[0])
while True:
    port = random.randrange(10_000, max(least, 20_000))
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(type=kind) as probe:
                probe.bind(("", port))
    except OSError:
        continue
    print(port)
    break'
}

# Key, trust for its prefix, and the image published: publish_image NAME FILE [OPTION...]
make_key() {
    local prefix=$1 key=$2
    ccnfs key generate --out "$key" > "$work/key.log" 2>&1
    ccnfs trust add "$prefix" "${key%.pem}.pub" >> "$work/key.log" 2>&1
}

milliseconds() { echo $(($(date +%s%N) / 1000000)); }

# A small image with data, zeros that are written and holes: small_image FILE [MEBIBYTES]
small_image() {
    local megabytes=${2:-64}
    rm -f "$1"
    truncate -s "${megabytes}M" "$1"
    dd if=/dev/urandom of="$1" bs=1M count=$((megabytes / 8)) conv=notrunc status=none
    dd if=/dev/zero of="$1" bs=1M seek=$((megabytes / 4)) count=1 conv=notrunc status=none
    # Not at the edge of anything.
    dd if=/dev/urandom of="$1" bs=4608 seek=$((megabytes * 150)) count=37 conv=notrunc status=none
}

# Bytes that a folder takes on disk.
allocated_bytes() { { du -s -B1 "$@" 2> /dev/null || true; } | awk '{ sum += $1 } END { printf "%.0f\n", sum }'; }

# Of the mount only: what the node has in its own page cache stays.
forget_pages() { dd if="$1" iflag=nocache count=0 status=none; }
