#!/bin/bash
# The power is cut: the filesystem of the state directory, ext4 and then xfs, stops without writing its
# journal, the machine "boots" with another boot id, and everything that was promised is there: what an fsync or
# an O_DSYNC write answered, every snapshot that was answered, each of one moment, and no byte that was never there.
#
# Before each cut writers write, holes are punched, snapshots and clones come and go, a disk is shrunk and grown,
# a VM is rolled back, republished, exported and imported (Tests/Scripts/power-cut.py, answered-writes.py). The
# cuts differ in what happens right before them:
#
#   plain     nothing
#   foreign   an fsync of a file beside the state: the filesystem's journal is written, SQLite's file is not
#   pages     the pages of the overlays are written out, then as foreign
#   other     an fsync of another disk: the node commits, but not what was written to the first
#   evict     `ccnfs evict`; the template is another node's, so what was evicted has to be fetched again
#   twice     nothing; and a second cut as soon as the node is up again
#
#   CUTS         cuts in all, half on each filesystem (50)
#   FILESYSTEMS  "ext4 xfs"
#   SEED         of what is written; printed
#   HOW          ways to cut, instead of all of them in turn
if [ "$(id -u)" -eq 0 ] && [ -z "${POWER_CUT_NAMESPACE:-}" ]; then
    # A mount namespace of its own, in which the boot id can be another one.
    POWER_CUT_NAMESPACE=1 exec unshare --mount --propagation private "$BASH" "$0" "$@"
fi
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib.sh"

readonly CUTS=${CUTS:-50} FILESYSTEMS=${FILESYSTEMS:-ext4 xfs} SEED=${SEED:-$RANDOM}
readonly HOW=${HOW:-plain foreign pages other evict twice}
readonly NAME=ccnx:/mycorp.com/app1/base
# mkfs.xfs makes none below 300 MiB.
readonly POWER_MIB=1024
# Bytes of disk that answered-writes.py writes in.
readonly REGION=67108864

begin power-cut
need_root
for tool in mkfs.ext4 mkfs.xfs xfs_repair; do
    command -v "$tool" > /dev/null || skip_all "$tool is not installed: make setup"
done
cuts="$scripts/power-cut.py"

boot_number=0
another_boot() {
    boot_number=$((boot_number + 1))
    printf '00000000-0000-4000-8000-%012d\n' "$boot_number" > "$work/boot_id"
}
another_boot
mount --bind "$work/boot_id" /proc/sys/kernel/random/boot_id

# ---- the node that has the template: its power stays

image=$work/base.raw
dd if=/dev/urandom of="$image" bs=1M count=20 status=none
truncate -s 96M "$image"
key=$work/publisher.pem
use_home "$work/repository"
make_key ccnx:/mycorp.com "$key"
check "a template is published" ccnfs publish "$image" "$NAME" --key "$key"
port=$(free_port)
start_node "$work/repository-mnt" --listen "tcp:127.0.0.1:$port"
note "seed $SEED"

# ---- the node whose power is cut

power=$work/power mnt=$work/mnt
mkdir "$power"
start_power() { mount -o loop "$work/power.$filesystem" "$power"; }
start_cut_node() { start_node "$mnt" --route "ccnx:/mycorp.com=tcp:127.0.0.1:$port"; }
template=$mnt/mycorp.com/app1/base/disk0
disk=$mnt/localhost/cut/disk0

make_filesystem() {
    truncate -s "${POWER_MIB}M" "$work/power.$filesystem"
    case $filesystem in
        ext4) mkfs.ext4 -q -F "$work/power.$filesystem" ;;
        xfs) mkfs.xfs -q -f "$work/power.$filesystem" ;;
    esac
}
is_clean() {
    case $filesystem in
        ext4) e2fsck -fn "$work/power.$filesystem" ;;
        xfs) xfs_repair -n "$work/power.$filesystem" ;;
    esac
}

# What begins the cut has to be the last thing before it, so the tool that cuts does it.
cut_power() {
    local foreign=$power/foreign
    case $1 in
        plain | twice) "$cuts" cut "$power" ;;
        foreign) "$cuts" cut "$power" --fsync "$foreign" ;;
        pages) "$cuts" cut "$power" --write-out "$CCNFS_STATE/overlays" --fsync "$foreign" ;;
        other) "$cuts" cut "$power" --fsync "$mnt/localhost/other/disk0" ;;
        evict) "$cuts" cut "$power" --run "'$CCNFS' evict" ;;
    esac
}

# The machine is off, then on again.
after_the_cut() {
    kill -9 "$node_pid"
    wait "$node_pid" 2> /dev/null || true
    for loader in "$@"; do
        wait "$loader" || true
    done
    unmount_hard "$mnt"
    umount "$power"
    another_boot
    start_power
    check "databases are whole after $what" "$cuts" databases "$power/home"
    start_cut_node
}

# round NUMBER HOW
round() {
    local number=$1 how=$2 log=$work/writes-$filesystem loaders
    what="cut $number on $filesystem, $how"
    : > "$log"
    rm -f "$notes/ready" "$notes/story"
    "$scripts/answered-writes.py" write "$disk" "$log" --seed "$SEED$number" --seconds 60 > "$work/writer.log" 2>&1 &
    loaders=("$!")
    "$cuts" load "$mnt" "$notes" --disk "$template" --ccnfs "$CCNFS" --key "$key" --seed "$SEED$number" \
        --seconds 60 > "$work/load.log" 2>&1 &
    loaders+=("$!")
    on_exit end_process "${loaders[0]}"
    on_exit end_process "${loaders[1]}"
    wait_until 30 test -e "$notes/ready" || not_ok "$what: the load is under way" "$(cat "$work/load.log" "$node_log")"
    wait_until 30 grep -q 'answered dsync' "$log" || not_ok "$what: writes are answered" "$(cat "$work/writer.log")"
    sleep "0.$((RANDOM % 10))"
    check "$what" cut_power "$how"
    after_the_cut "${loaders[@]}"
    if [ "$how" = twice ]; then
        sleep "0.0$((RANDOM % 10))"
        cut_power plain
        after_the_cut
    fi
    note "$what: $(cat "$work/load.log"); $(cat "$work/writer.log")"
    check "after $what, writes that were promised are there" \
        "$scripts/answered-writes.py" verify "$disk" "$log" --seed "$SEED$number" --base "$base" \
        --adopt "$work/adopted-$((number % 2))" --power-cut
    base=$work/adopted-$((number % 2))
    check "after $what, snapshots and clones are there and of one moment" "$cuts" verify "$mnt" "$notes"
    check "after $what, the template compares equal" cmp "$image" "$template"
    check "after $what, verify finds nothing wrong" verify_again
}

# What was fetched is marked as here before it is on disk: after a cut the first look may drop some of it. Of what
# is published nothing may be damaged, and the second look finds nothing.
verify_again() {
    local said status=0
    said=$(ccnfs verify 2>&1) || status=$?
    case $status in
        0) return ;;
        65) grep -E '^published .* 0 damaged' <<< "$said" > /dev/null && ccnfs verify ;;
        *) echo "$said" && return 1 ;;
    esac
}

# all_of FILESYSTEM CUTS
all_of() {
    local number ways
    filesystem=$1
    notes=$work/notes-$filesystem
    base=$image
    mkdir "$notes"
    make_filesystem
    start_power
    on_exit umount -l "$power"
    use_home "$power/home"
    ccnfs trust add ccnx:/mycorp.com "${key%.pem}.pub" > "$work/trust.log" 2>&1
    # What is published here: the load republishes a VM.
    ccnfs trust add ccnx:/own.org "${key%.pem}.pub" >> "$work/trust.log" 2>&1
    start_cut_node
    wait_until 30 test -f "$template" || not_ok "the template is there" "$(tail -n 20 "$node_log")"
    mkdir "$mnt/localhost/cut" "$mnt/localhost/other"
    cp "$template" "$disk"
    truncate -s 1M "$mnt/localhost/other/disk0"
    check "the load's VMs are made on $filesystem" "$cuts" make "$mnt" "$notes" --template "$image" --disk "$template"
    check "fsync makes the new disks durable" sync "$disk"
    read -ra ways <<< "$HOW"
    for ((number = 1; number <= $2; number++)); do
        round "$number" "${ways[(number - 1) % ${#ways[@]}]}"
    done
    check "what no writer touched is the template" cmp -i "$REGION" "$image" "$disk"
    stop_node "$mnt" "$node_pid"
    umount "$power"
    check "the filesystem below, $filesystem, is clean" is_clean
    rm "$work/power.$filesystem"
}

read -ra kinds <<< "$FILESYSTEMS"
for kind in "${kinds[@]}"; do
    all_of "$kind" $(((CUTS + ${#kinds[@]} - 1) / ${#kinds[@]}))
done
finish
