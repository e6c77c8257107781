#!/bin/bash
# The node dies at every crash point there is, in the midst of everything it can do with VMs, and loses nothing.
#
# For each point that Sources/Files/CrashPoint.swift names, but for those of mirrors, a debug build runs with CCNFS_CRASH_AT while
# Tests/Scripts/kill-matrix.py takes VMs, snapshots, clones and versions through all operations. The node sends
# itself SIGKILL at the point, and where work is left for the next start, there once more. Started anew it must
# show what was answered, the operation under way wholly or not at all, and go on; with everything deleted its
# space comes back. A point that is never reached is a failure.
#
#   CCNFS_DEBUG  the debug build (.build/debug/ccnfs)
#   POINTS       some points instead of all, each NAME or NAME:N for the Nth time
#   PASSES       how often all points are gone through (1); from the second on at a later time that is drawn
#   SEED         of offsets and bytes; printed
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib.sh"

CCNFS=$(realpath -m "${CCNFS_DEBUG:-$repository/.build/debug/ccnfs}")
readonly PASSES=${PASSES:-1} SEED=${SEED:-$RANDOM}
# Later than that most points are not come to again.
readonly LATEST=6
readonly RUN_SECONDS=180
# kill-matrix.py's
readonly LIVES_ON=3
# The status of a process that SIGKILL ended; a trap of Swift has another.
readonly KILLED=137

[ -x "$CCNFS" ] || skip_all "there is no debug build, $CCNFS: make build"
begin kill-matrix
matrix() { timeout -k 5 "$RUN_SECONDS" "$scripts/kill-matrix.py" "$@" --ccnfs "$CCNFS" --seed "$SEED$number"; }

# ---- a home with a template and an exported VM, copied for each point

number=0
key=$work/publisher.pem
first=$work/first.raw second=$work/second.raw
# Over more than one page of a block map (16 MiB), with holes.
truncate -s 20M "$first"
for place in 0 5 15 16 19; do
    dd if=/dev/urandom of="$first" bs=1M seek="$place" count=1 conv=notrunc status=none
done
dd if=/dev/urandom of="$first" bs=4608 seek=2000 count=37 conv=notrunc status=none
# Not whole blocks.
head -c $((2 * 1024 * 1024 + 1536)) /dev/urandom > "$second"
mnt=$work/mnt
use_home "$work/prepared"
make_key ccnx:/mycorp.com "$key"
check "a template of two disks is published" ccnfs publish "$first" "$second" ccnx:/mycorp.com/base --key "$key"
start_node "$mnt"
check "a VM is deployed" ccnfs deploy ccnx:/mycorp.com/base origin
dd if=/dev/urandom of="$mnt/localhost/origin/disk0" bs=1000 seek=3000 count=300 conv=notrunc status=none
check "and exported" ccnfs export-vm origin "$work/origin.vm" --keep
stop_node "$mnt" "$node_pid"

# ---- one point

# die POINT: the node dies there; sets reached
die() {
    local status=0 ended=0 said
    number=$((number + 1))
    use_home "$work/home-$number"
    rmdir "$work/home-$number"
    cp -a --sparse=always "$work/prepared" "$work/home-$number"
    CCNFS_CRASH_AT=$1 start_node "$mnt" || return
    said=$(matrix run "$mnt" "$work/notes" --pid "$node_pid" --template "$first" --template "$second" \
        --key "$key" --export "$work/origin.vm" 2>&1) || status=$?
    reached=yes
    case $status in
        0) note "$1: ${said//$'\n'/ }" ;;
        "$LIVES_ON") reached=no ;;
        *)
            not_ok "$1: operations are answered until the node dies" "$said"$'\n'"$(tail -n 5 "$node_log")"
            reached=failed
            ;;
    esac
    if [ "$reached" = yes ]; then
        wait "$node_pid" 2> /dev/null || ended=$?
        check_same "$1: it is the crash point that ends the node" "$KILLED" "$ended"
    else
        stop_node "$mnt" "$node_pid"
    fi
    unmount_hard "$mnt"
}

# die_again POINT: once more on the way up, or soon after, where what was cut off is finished
die_again() {
    local again
    CCNFS_CRASH_AT=$1 "$CCNFS" mount "$mnt" --foreground >> "$node_log" 2>&1 &
    again=$!
    on_exit end_process "$again"
    wait_until "$NODE_DEADLINE_SECONDS" node_is_up "$again" "$mnt" || true
    wait_until 1 process_is_gone "$again" || kill -9 "$again"
    wait "$again" 2> /dev/null || true
    unmount_hard "$mnt"
}

# survive POINT: the node starts again, shows what was answered, goes on
survive() {
    case $1 in
        reclaim.* | merge.* | delete.* | flush.*) die_again "$1" ;;
    esac
    start_node "$mnt" || return
    check "killed at $1, all that was answered is there" matrix check "$mnt" "$work/notes"
    check "killed at $1, verify finds nothing wrong" ccnfs verify
    check "killed at $1, it goes on, and space comes back" matrix on "$mnt" "$work/notes"
    stop_node "$mnt" "$node_pid"
    rm -r "$CCNFS_STATE" "$CCNFS_CACHE"
}

# Those of a mirror are come to in 55-mirror.sh.
points=${POINTS:-$(sed -n 's/^ *case [A-Za-z]* = "\([^"]*\)".*/\1/p' "$repository/Sources/Files/CrashPoint.swift" |
    grep -v '^mirror\.')}
check "there is a list of crash points" test -n "$points"
die none
check_same "without a crash point the node lives on" no "$reached"
survive none
for ((pass = 1; pass <= PASSES; pass++)); do
    for point in $points; do
        started=$SECONDS
        if [ "$pass" -gt 1 ] && [[ $point != *:* ]]; then
            point=$point:$((2 + RANDOM % (LATEST - 1)))
        fi
        die "$point" || continue
        if [ "$reached" = yes ]; then
            survive "$point" || true
        elif [ "$reached" = no ] && [ "$pass" -eq 1 ]; then
            not_ok "the crash point $point is reached"
        fi
        note "$point took $((SECONDS - started)) s"
    done
done
finish
