#!/bin/bash
# VM disks by ordinary tools: snapshots, clones, holes, sizes, and random operations against bytes in memory.
#
#   SECTIONS    which parts run, in this order: "snapshots moments orders clones pieces cost holes discards
#               busy templates foreign storm"
#   SEED        of what is drawn at random; printed
#   BLOCKS      blocks of 4 KiB that are written to the disk of 100 GiB whose clone is timed (20000)
#   MOMENTS     snapshots that are taken under two writers (20)
#   DROPS       rounds of dropping snapshots while others are read (8)
#   CLOSES      how often a disk is shrunk right after it was closed (200)
#   OPERATIONS  random operations, before the node is killed and again after it (2000)
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib-disks.sh"

readonly BLOCKS=${BLOCKS:-20000} MOMENTS=${MOMENTS:-20} DROPS=${DROPS:-8} CLOSES=${CLOSES:-200} OPERATIONS=${OPERATIONS:-2000}
readonly GIB=$((1024 * 1024 * 1024))
# A copy of bytes would need minutes for 100 GiB; a clone takes milliseconds.
readonly CLONE_MILLISECONDS=5000
# What a clone may add to the store, whatever its size.
readonly CLONE_BYTES=$((8 * MIB))
readonly PINNED='a clone pinned one moment of a disk that is open for writing'

begin vm-disks

# ---- snapshots

section_snapshots() {
    local vm=$home_vms/snap model0=$work/model0 model1=$work/model1 inode name
    deploy snap pair
    cp --sparse=always "$small" "$model0"
    cp --sparse=always "$second" "$model1"
    noise "$vm/disk0" "$model0" $((3 * MIB + 1000)) 300000
    noise "$vm/disk1" "$model1" $((16 * MIB - 100)) 1600
    check "mkdir takes a snapshot" mkdir "$vm/.snapshots/one"
    cp "$model0" "$model0.one"
    cp "$model1" "$model1.one"
    noise "$vm/disk0" "$model0" $((3 * MIB + 5000)) 70000
    noise "$vm/disk0" "$model0" $((40 * MIB)) 4096
    noise "$vm/disk1" "$model1" 511 2

    same_as_written() {
        cmp "$model0" "$vm/disk0" && cmp "$model1" "$vm/disk1" &&
            cmp "$model0.one" "$vm/.snapshots/one/disk0" && cmp "$model1.one" "$vm/.snapshots/one/disk1"
    }
    check "it shows what was there, the disks what was written since" same_as_written
    check_same "ls lists it" one "$(ls "$vm/.snapshots")"
    check_same "and its disks" "disk0 disk1" "$(find "$vm/.snapshots/one" -name 'disk*' -printf '%f\n' | sort | xargs)"
    check_same ".snapshots is in no listing" "" "$(find "$vm" -mindepth 1 -maxdepth 1 -name '.*')"
    check_same "a snapshot's disk has the disk's size" "$(stat -c %s "$small")" "$(stat -c %s "$vm/.snapshots/one/disk0")"
    check "and as many blocks, so that cp clones it" \
        test $(($(stat -c %b "$vm/.snapshots/one/disk0") * 512)) -ge "$(stat -c %s "$small")"
    check "it has xattrs" grep -q 'user.ccnfs.size' <(getfattr -d -m '^user\.ccnfs\.' "$vm/.snapshots/one/disk0" 2> /dev/null)

    # ---- read-only, and how it says so
    answers "opening it for writing is EROFS" EROFS open-write "$vm/.snapshots/one/disk0"
    answers "truncating it is EROFS" EROFS truncate "$vm/.snapshots/one/disk0" 0
    answers "removing its disk is EROFS" EROFS unlink "$vm/.snapshots/one/disk0"
    check "no file is made in it" test "$(calls errno create "$vm/.snapshots/one/disk9")" != OK
    check "dd says read-only" grep -qi 'read-only' \
        <(dd if=/dev/zero of="$vm/.snapshots/one/disk0" count=1 conv=notrunc 2>&1)
    answers "a snapshot of that name again is EEXIST" EEXIST mkdir "$vm/.snapshots/one"
    answers "a name that cannot be one is EINVAL" EINVAL mkdir "$vm/.snapshots/.one"
    answers "dropping one that is not there is ENOENT" ENOENT rmdir "$vm/.snapshots/none"

    # ---- copied out
    check "cp takes a disk out of a snapshot" cp --sparse=always "$vm/.snapshots/one/disk0" "$work/out"
    check "with the snapshot's bytes" cmp "$model0.one" "$work/out"
    check "qemu-img reads it" qemu-img compare -f raw -F raw "$model0.one" "$vm/.snapshots/one/disk0"
    rm "$work/out"

    # ---- the tool
    check "ccnfs snapshot takes one" ccnfs snapshot snap two
    check "ccnfs snapshots lists both" test "$(ccnfs snapshots snap | grep -cwE 'one|two')" -eq 2
    check "and without a VM all" grep -q snap <(ccnfs snapshots)
    check "as JSON too" reports "$work/snapshots.json" snapshots snap
    note "$(jq -c . "$work/snapshots.json")"
    refuses "one of that name again" "$CANNOT_CREATE" 'two' ccnfs snapshot snap two
    refuses "a snapshot of no VM" "$NO_INPUT" 'nowhere' ccnfs snapshot nowhere two
    refuses "dropping none" "$NO_INPUT" 'none' ccnfs snapshot snap none --delete
    noise "$vm/disk0" "$model0" $((50 * MIB)) 9000
    exec 8< "$vm/.snapshots/two/disk0"
    check "ccnfs snapshot --delete drops it" ccnfs snapshot snap two --delete
    check "who has its disk open reads on" cmp -n $((50 * MIB)) "$model0" - <&8
    exec 8<&-
    check_same "the other is left" one "$(ls "$vm/.snapshots")"

    # ---- nothing is lost to rm
    answers "rmdir of a VM with snapshots is ENOTEMPTY" ENOTEMPTY rmdir "$vm"
    answers "rm of its disk is EBUSY" EBUSY unlink "$vm/disk0"
    check "rm -r of it is refused" test -z "$(rm -r "$vm" 2> /dev/null && echo removed)"
    check "and nothing is lost" same_as_written
    check "its vm.json is there" jq -e . "$vm/vm.json"

    # ---- moved, rolled back
    check "mv renames a VM with snapshots" mv "$vm" "$home_vms/moved"
    vm=$home_vms/moved
    check "and they go with it" same_as_written
    restart
    check "after a restart all is there" same_as_written
    inode=$(stat -c %i "$vm/disk0")
    hold "$vm/disk1"
    refuses "rollback while a disk is open" "$TEMPORARY" 'open|use|busy' ccnfs rollback moved one
    check "changes nothing" same_as_written
    end_process "$holder"
    check "right after it was closed it rolls back" ccnfs rollback moved one
    check "to what the snapshot shows" cmp "$model0.one" "$vm/disk0"
    check "all its disks" cmp "$model1.one" "$vm/disk1"
    check "with other inodes" test "$inode" != "$(stat -c %i "$vm/disk0")"
    cp "$model0.one" "$model0"
    cp "$model1.one" "$model1"
    noise "$vm/disk0" "$model0" $((3 * MIB)) 500000
    check "the snapshot outlives the rollback, and what is written then" same_as_written
    refuses "rollback to none" "$NO_INPUT" 'none' ccnfs rollback moved none

    # ---- differences
    check "ccnfs diff compares a VM with its snapshot" reports "$work/diff.json" diff moved moved@one
    check "it counts what was written" jq -e '[.disks[] | select(.name == "disk0")][0].changedBytes |
        . >= 500000 and . <= 600000' "$work/diff.json"
    check_same "and says where" $((3 * MIB)) \
        "$(jq '[.disks[] | select(.name == "disk0")][0].ranges[0].start' "$work/diff.json")"
    check "a VM against its template too" reports "$work/diff.json" diff moved
    check_same "both disks" 2 "$(jq '.disks | length' "$work/diff.json")"
    check "in words" grep -q disk0 <(ccnfs diff moved)
    check "rmdir drops a snapshot" rmdir "$vm/.snapshots/one"
    for name in disk0 disk1; do rm "$vm/$name"; done
    check "then the VM can be removed" rmdir "$vm"
}

# ---- one moment of two disks under two writers

section_moments() {
    local number writer bad=''
    deploy moments pair
    "$scripts/disk-calls.py" ping-pong "$home_vms/moments/disk0" "$home_vms/moments/disk1" > "$work/writing" 2>&1 &
    writer=$!
    background "$writer"
    wait_until 20 grep -q writing "$work/writing" || not_ok "two writers write" "$(cat "$work/writing")"
    for ((number = 1; number <= MOMENTS; number++)); do
        mkdir "$home_vms/moments/.snapshots/m$number"
        sleep "0.0$((RANDOM % 10))"
    done
    # One disk copied in pieces with time between: a clone is one moment as well.
    : > "$home_vms/moments/copied"
    check "an open disk is copied in pieces" calls copy "$home_vms/moments/disk0" "$home_vms/moments/copied" \
        --piece $((4 * MIB)) --pause 0.02
    check "a disk being written is cloned by cp" cp "$home_vms/moments/disk1" "$home_vms/moments/cloned"
    end_process "$writer"
    for ((number = 1; number <= MOMENTS; number++)); do
        calls moment "$home_vms/moments/.snapshots/m$number"/disk{0,1} > "$work/moment" ||
            bad+="m$number: $(cat "$work/moment")"$'\n'
    done
    check_same "each of $MOMENTS snapshots under two writers is one moment of both disks" "" "$bad"
    note "the last: $(cat "$work/moment")"
    check "the last is not the first" grep -q '^[1-9]' "$work/moment"
    check "the copy in pieces is one moment" calls moment "$home_vms/moments/copied"
    check "so is the clone" calls moment "$home_vms/moments/cloned"
    check "the node's log says so" grep -qF "$PINNED" "$node_log"
    for ((number = 1; number <= MOMENTS; number++)); do rmdir "$home_vms/moments/.snapshots/m$number"; done
    rm -r "$home_vms/moments"
    mkdir "$home_vms/drops"
    cp "$mnt/mycorp.com/pair/disk1" "$home_vms/drops/disk0"
    check "while snapshots are dropped the others show what they showed" \
        calls drops "$home_vms/drops" --rounds "$DROPS" --seed "$SEED"
    rm -r "$home_vms/drops"
}

# ---- removal in every order

section_orders() {
    local order step before bad='' number=0 wrong
    small_image "$work/tiny.raw" 8
    # What sections before this one left is gone.
    ccnfs reclaim > "$work/reclaim.log"
    before=$(find "$CCNFS_STATE/overlays" -mindepth 1 -maxdepth 1 2> /dev/null | wc -l)
    # Each letter removes one: template, origin, snapshot, clone of the snapshot, clone of the origin. An origin
    # cannot go before its snapshots.
    for order in $(python3 -c '
import itertools
for order in itertools.permutations("toscd"):
    if order.index("s") < order.index("o"):
        print("".join(order))'); do
        number=$((number + 1))
        publish "tiny-$number" "$work/tiny.raw"
        local template=$mnt/mycorp.com/tiny-$number/disk0 origin=$home_vms/origin-$number clones=$home_vms/clones-$number
        mkdir "$origin" "$clones"
        cp "$template" "$origin/disk0"
        cp --sparse=always "$work/tiny.raw" "$work/model-s"
        noise "$origin/disk0" "$work/model-s" $((MIB + 3000)) 50000
        mkdir "$origin/.snapshots/s"
        cp "$work/model-s" "$work/model-o"
        noise "$origin/disk0" "$work/model-o" $((MIB + 40000)) 50000
        cp "$origin/.snapshots/s/disk0" "$clones/c"
        cp "$origin/disk0" "$clones/d"
        cp "$work/model-s" "$work/model-c"
        cp "$work/model-o" "$work/model-d"
        noise "$clones/c" "$work/model-c" $((MIB + 20000)) 20000
        noise "$clones/d" "$work/model-d" $((MIB + 20000)) 20000
        local -A there=([t]=$template [o]=$origin/disk0 [s]=$origin/.snapshots/s/disk0 [c]=$clones/c [d]=$clones/d)
        for step in $(fold -w1 <<< "$order"); do
            wrong=''
            case $step in
                t) ccnfs delete "ccnx:/mycorp.com/tiny-$number" > "$work/step.log" 2>&1 || wrong=$(cat "$work/step.log") ;;
                o) wrong=$(rm -r "$origin" 2>&1) || true ;;
                s) wrong=$(rmdir "$origin/.snapshots/s" 2>&1) || true ;;
                c | d) wrong=$(rm "$clones/$step" 2>&1) || true ;;
            esac
            [ -z "$wrong" ] || bad+="$order: $step cannot be removed: $wrong"$'\n'
            unset "there[$step]"
            # The kernel's pages would answer for what is gone.
            for left in "${!there[@]}"; do
                forget_pages "${there[$left]}"
                case $left in
                    t) cmp "$work/tiny.raw" "$template" > "$work/step.log" 2>&1 ;;
                    *) cmp "$work/model-$left" "${there[$left]}" > "$work/step.log" 2>&1 ;;
                esac || bad+="$order: after $step was removed, $left differs: $(cat "$work/step.log")"$'\n'
            done
        done
        rmdir "$clones"
    done
    check_same "template, origin, snapshot and two clones are removed in all $number orders, the rest compares equal" "" "$bad"
    check "reclaim ends" ccnfs reclaim
    check_same "no overlay is left behind" "$before" \
        "$(find "$CCNFS_STATE/overlays" -mindepth 1 -maxdepth 1 2> /dev/null | wc -l)"
    check "verify finds nothing wrong" ccnfs verify
}

# ---- clones

section_clones() {
    local vm=$home_vms/clones model=$work/model number before
    deploy clones small
    cp --sparse=always "$small" "$model"
    noise "$vm/disk0" "$model" $((2 * MIB - 77)) $((4 * MIB))
    sync "$vm/disk0"
    before=$(allocated_bytes "$CCNFS_STATE")
    check "cp of a VM's disk" cp "$vm/disk0" "$vm/twin"
    sync "$vm/twin"
    check "copies no byte" test $(($(allocated_bytes "$CCNFS_STATE") - before)) -lt $((2 * MIB))
    check "and has its bytes" cmp "$model" "$vm/twin"
    cp "$model" "$model.twin"
    noise "$vm/twin" "$model.twin" $((3 * MIB)) 6000
    noise "$vm/disk0" "$model" $((3 * MIB + 8000)) 6000
    noise "$vm/twin" "$model.twin" $((20 * MIB)) 6000
    noise "$vm/disk0" "$model" $((20 * MIB + 5000)) 6000
    check "writes to the clone do not show in the origin" cmp "$model" "$vm/disk0"
    check "nor the other way round" cmp "$model.twin" "$vm/twin"
    mkdir "$vm/.snapshots/s"
    cp "$model" "$model.s"
    noise "$vm/disk0" "$model" $((4 * MIB)) 30000
    mkdir "$home_vms/elsewhere"
    check "cp of a snapshot's disk into another VM" cp "$vm/.snapshots/s/disk0" "$home_vms/elsewhere/disk0"
    check "has the snapshot's bytes" cmp "$model.s" "$home_vms/elsewhere/disk0"
    check_same "and the VM notes the template of the other" "$(jq -r .template "$vm/vm.json")" \
        "$(jq -r .template "$home_vms/elsewhere/vm.json")"
    mkdir "$home_vms/third"
    cp "$vm/disk0" "$home_vms/third/disk0"
    check "ccnfs diff of a clone of a VM's disk compares with that" reports "$work/diff.json" diff third
    rm -r "$home_vms/third"
    check "cp -a, cat and install clone too" cp -a "$vm/disk0" "$vm/archived"
    check "with the same bytes" cmp "$model" "$vm/archived"
    check "cp over a disk that is there" cp "$home_vms/elsewhere/disk0" "$vm/twin"
    check "replaces it" cmp "$model.s" "$vm/twin"

    # A clone of a clone of a clone; then everything but the last is removed.
    cp "$vm/disk0" "$vm/c0"
    cp "$model" "$model.c"
    for number in {1..20}; do
        cp "$vm/c$((number - 1))" "$vm/c$number"
        noise "$vm/c$number" "$model.c" $((number * MIB + 500)) 5000
    done
    rmdir "$vm/.snapshots/s"
    for number in {0..19}; do rm "$vm/c$number"; done
    rm "$vm/disk0"
    forget_pages "$vm/c20"
    check "the last of twenty clones of clones outlives the others" cmp "$model.c" "$vm/c20"
    restart
    check "also after a restart" cmp "$model.c" "$vm/c20"

    # ---- an open disk is cloned while it is written; see also the moments
    exec 7<> "$vm/c20"
    printf 'before' >&7
    printf 'before' | dd of="$model.c" conv=notrunc status=none
    check "an open disk is cloned by cp" cp "$vm/c20" "$vm/pinned"
    printf 'after' >&7
    check "at the moment of the copy" cmp "$model.c" "$vm/pinned"
    exec 7>&-

    # ---- qemu-img convert -C
    rm "$vm/pinned"
    before=$(allocated_bytes "$CCNFS_STATE")
    check "qemu-img convert -C clones a template" qemu-img convert -C -f raw -O raw "$mnt/mycorp.com/small/disk0" "$vm/converted"
    check "with its bytes" cmp "$small" "$vm/converted"
    check "copying few" test $(($(allocated_bytes "$CCNFS_STATE") - before)) -lt $((2 * MIB))
    check "and a VM's disk onto one that is there" qemu-img convert -C -n -f raw -O raw "$vm/archived" "$vm/converted"
    check "with its bytes" cmp "$model" "$vm/converted"
    rm -r "$vm" "$home_vms/elsewhere"
}

# ---- pieces

section_pieces() {
    local vm=$home_vms/pieces model=$work/model from to length number bad='' before started
    RANDOM=$SEED
    mkdir "$vm"
    cp "$mnt/mycorp.com/small/disk0" "$vm/from"
    cp "$mnt/mycorp.com/small/disk0" "$vm/to"
    cp --sparse=always "$small" "$work/from"
    cp --sparse=always "$small" "$model"
    noise "$vm/from" "$work/from" $((MIB + 100)) $((3 * MIB))
    noise "$vm/to" "$model" $((5 * MIB)) $((3 * MIB))
    for number in {1..40}; do
        from=$((RANDOM * 1500)) to=$((RANDOM * 1500)) length=$((RANDOM * 40 + 1))
        # Half of them aligned to blocks, half of these to segments.
        case $((number % 4)) in
            0) from=$((from / 32768 * 32768)) to=$((to / 32768 * 32768)) length=$((length / 32768 * 32768 + 32768)) ;;
            1) from=$((from / 4096 * 4096)) to=$((to / 4096 * 4096)) length=$((length / 4096 * 4096 + 4096)) ;;
        esac
        calls copy "$vm/from" "$vm/to" --piece "$length" --at "$from" --to "$to" --length "$length" > "$work/copy.log" ||
            bad+="$from to $to, $length: $(cat "$work/copy.log")"$'\n'
        dd if="$work/from" of="$model" bs=1M iflag=skip_bytes,count_bytes skip="$from" count="$length" \
            oflag=seek_bytes seek="$to" conv=notrunc status=none
        cmp "$model" "$vm/to" > "$work/copy.log" 2>&1 ||
            { bad+="after $from to $to, $length: $(cat "$work/copy.log")"$'\n'; break; }
    done
    check_same "copy_file_range of aligned and unaligned pieces gives the bytes" "" "$bad"
    check "the source is as it was" cmp "$work/from" "$vm/from"
    check "within one disk too" calls copy "$vm/to" "$vm/to" --piece "$MIB" --at 0 --to $((32 * MIB)) --length $((8 * MIB))
    dd if="$model" of="$model" bs=1M count=8 seek=32 conv=notrunc status=none
    check "with its bytes" cmp "$model" "$vm/to"

    # ---- as older kernels cut the copy of a large disk
    truncate -s 9G "$vm/large" "$work/large"
    for from in 0 $((4 * GIB - 6000)) $((4 * GIB + 100)) $((8 * GIB - 8192)) $((9 * GIB - 5000)); do
        noise "$vm/large" "$work/large" "$from" 5000
    done
    before=$(allocated_bytes "$CCNFS_STATE")
    : > "$vm/joined"
    started=$(milliseconds)
    check "9 GiB are copied in pieces of 4 GiB less 4 KiB" calls copy "$vm/large" "$vm/joined" --piece $((4 * GIB - 4096))
    started=$(($(milliseconds) - started))
    note "in $started ms"
    sync "$vm/joined"
    check "in no time" test "$started" -lt "$CLONE_MILLISECONDS"
    check "the store does not grow" test $(($(allocated_bytes "$CCNFS_STATE") - before)) -lt "$CLONE_BYTES"
    check_same "as many bytes are data" "$(calls data --quick "$vm/large")" "$(calls data --quick "$vm/joined")"
    check "they are the bytes" python3 - "$work/large" "$vm/joined" << 'PYTHON'
import os
import sys

a, b = (os.open(path, os.O_RDONLY) for path in sys.argv[1:3])
assert os.fstat(a).st_size == os.fstat(b).st_size
for place in (0, (4 << 30) - 65536, (8 << 30) - 65536, (9 << 30) - 65536, 5 << 30):
    assert os.pread(a, 131072, place) == os.pread(b, 131072, place), place
PYTHON
    # The template's pieces join: as few runs as in one piece.
    rm -f "$work/nine.raw"
    truncate -s 9G "$work/nine.raw"
    noise "$work/nine.raw" $((4 * GIB - 70000)) 100000
    publish nine "$work/nine.raw"
    : > "$vm/nine"
    check "a template of 9 GiB is copied so" calls copy "$mnt/mycorp.com/nine/disk0" "$vm/nine" --piece $((4 * GIB - 4096))
    runs() { ccnfs map "$1" --json | jq '.runs | length'; }
    check_same "and is mapped as when it is copied at once" \
        "$(cp "$mnt/mycorp.com/nine/disk0" "$vm/whole" && runs "$vm/whole")" "$(runs "$vm/nine")"
    rm -r "$vm"
}

# ---- what a clone costs

section_cost() {
    local vm=$home_vms/cost before milliseconds
    # clone_cost TEXT FROM TO: sets milliseconds
    clone_cost() {
        local text=$1
        before=$(allocated_bytes "$CCNFS_STATE" "$CCNFS_CACHE")
        milliseconds=$(milliseconds)
        cp "$2" "$3"
        milliseconds=$(($(milliseconds) - milliseconds))
        sync "$3"
        before=$(($(allocated_bytes "$CCNFS_STATE" "$CCNFS_CACHE") - before))
        note "cp of $text: $milliseconds ms, the store grows by $before bytes"
        check "cp of $text is a clone" test "$milliseconds" -lt "$CLONE_MILLISECONDS" -a "$before" -lt "$CLONE_BYTES"
    }
    mkdir "$vm"
    truncate -s 100G "$vm/disk0"
    clone_cost "a blank disk of 100 GiB" "$vm/disk0" "$vm/blank"
    check "blocks are written all over it" fio --name=fill --filename="$vm/disk0" --size=100G --bs=4k --rw=randwrite \
        --ioengine=libaio --iodepth=16 --direct=1 --number_ios="$BLOCKS" --fallocate=none --randrepeat=1 --end_fsync=1
    clone_cost "a disk of 100 GiB with $BLOCKS blocks written" "$vm/disk0" "$vm/twin"
    milliseconds=$(milliseconds)
    mkdir "$vm/.snapshots/s"
    note "a snapshot of it: $(($(milliseconds) - milliseconds)) ms"
    clone_cost "its snapshot" "$vm/.snapshots/s/disk0" "$vm/old"
    rmdir "$vm/.snapshots/s"
    milliseconds=$(milliseconds)
    rm -r "$vm"
    note "its removal: $(($(milliseconds) - milliseconds)) ms"
}

# ---- holes

section_holes() {
    local vm=$home_vms/holes model=$work/model before taken
    deploy holes small
    cp "$small" "$model"
    disk=$vm/disk0
    noise "$disk" "$model" $((2 * MIB + 5)) $((6 * MIB))
    # both COMMAND [OPTION...]: on the disk and on a file beside it
    both() { "$@" "$disk" && "$@" "$model"; }
    check "fallocate -p punches blocks" both fallocate -p -o "$MIB" -l $((2 * MIB))
    check "they read as zeros" cmp "$model" "$disk"
    check "fallocate -p punches parts of blocks" both fallocate -p -o $((4 * MIB + 1000)) -l 10000
    check "which read as zeros" cmp "$model" "$disk"
    check "fallocate -p beyond the end changes no size" both fallocate -p -o $((63 * MIB)) -l $((4 * MIB))
    check "and is the same" cmp "$model" "$disk"
    check "fallocate -z zeroes" both fallocate -z -o $((6 * MIB + 77)) -l 100000
    check "what it should" cmp "$model" "$disk"
    check "fallocate -z over the end grows" both fallocate -z -o $((64 * MIB - 500)) -l $((MIB + 9))
    check_same "to the same size" "$(stat -c %s "$model")" "$(stat -c %s "$disk")"
    check "fallocate -z -n keeps the size" both fallocate -z -n -o $((65 * MIB)) -l $((3 * MIB))
    check "both are the same" cmp "$model" "$disk"
    check "fallocate -l reserves, and grows" both fallocate -l $((70 * MIB + 3))
    check "without changing a byte" cmp "$model" "$disk"
    check "fallocate -n keeps the size" both fallocate -n -l $((90 * MIB))
    check "and the bytes" cmp "$model" "$disk"
    check "collapsing is not supported, and says so" grep -qi 'not supported' <(fallocate -c -o "$MIB" -l "$MIB" "$disk" 2>&1)
    check "nor is inserting" grep -qi 'not supported' <(fallocate -i -o "$MIB" -l "$MIB" "$disk" 2>&1)
    check "fallocate -d digs holes" fallocate -d "$disk"
    check "and the bytes are the same" cmp "$model" "$disk"
    restart
    check "after a restart they are the same" cmp "$model" "$disk"

    # ---- what is data
    check "holes that SEEK_HOLE tells of are zeros" calls data "$disk"
    noise "$disk" "$model" $((30 * MIB)) $((2 * MIB))
    check_same "SEEK_DATA finds what was written" $((30 * MIB)) \
        "$(python3 -c 'import os, sys; print(os.lseek(os.open(sys.argv[1], 0), int(sys.argv[2]), os.SEEK_DATA))' "$disk" $((30 * MIB)))"
    fallocate -p -o $((30 * MIB)) -l "$MIB" "$disk"
    check_same "and not what was punched" $((31 * MIB)) \
        "$(python3 -c 'import os, sys; print(os.lseek(os.open(sys.argv[1], 0), int(sys.argv[2]), os.SEEK_DATA))' "$disk" $((30 * MIB)))"
    fallocate -p -l "$(stat -c %s "$disk")" "$disk"
    check_same "a disk that is punched whole has no data" 0 "$(calls data "$disk")"

    # ---- qemu-io
    rm "$disk"
    cp "$mnt/mycorp.com/small/disk0" "$disk"
    cp "$small" "$model"
    disk_io() { qemu-io -f raw -d unmap "${@}" "$disk" > "$work/io.log" 2>&1 && ! grep -qiE 'fail|error' "$work/io.log"; }
    check "qemu-io write -z" disk_io -c "write -z 1M 1M"
    check "qemu-io write -z -u" disk_io -c "write -z -u 3M 1M"
    check "qemu-io write -z of a part" disk_io -c "write -z 5000k 1k"
    check "qemu-io discard" disk_io -c "discard 6M 2M" -c "flush"
    for before in "1M 1M" "3M 1M" "5000K 1K" "6M 2M"; do
        fallocate -z -n -o "${before% *}iB" -l "${before#* }iB" "$model"
    done
    check "leaves the right bytes" cmp "$model" "$disk"

    # ---- space
    sync
    before=$(overlay_bytes)
    noise "$disk" "$model" $((10 * MIB)) $((16 * MIB))
    sync "$disk"
    taken=$(overlay_bytes)
    check "16 MiB written take 16 MiB" test $((taken - before)) -ge $((16 * MIB))
    fallocate -p -o $((10 * MIB)) -l $((12 * MIB)) "$disk"
    sync "$disk"
    check "12 MiB punched come back after a sync" wait_until 30 overlays_take_at_most $((taken - 11 * MIB))
    note "overlays: $before bytes, $taken after writing, $(overlay_bytes) after punching"
    mkdir "$vm/.snapshots/s"
    fallocate -p -o $((22 * MIB)) -l $((4 * MIB)) "$disk"
    sync "$disk"
    check "punched after a snapshot the disk has zeros" cmp <(head -c $((4 * MIB)) /dev/zero) \
        <(dd if="$disk" bs=1M skip=22 count=4 status=none)
    check "and the snapshot what was there" cmp <(dd if="$model" bs=1M skip=22 count=4 status=none) \
        <(dd if="$vm/.snapshots/s/disk0" bs=1M skip=22 count=4 status=none)
    taken=$(overlay_bytes)
    rmdir "$vm/.snapshots/s"
    check "without it the space comes back" wait_until 30 overlays_take_at_most $((taken - 3 * MIB))
    noise "$disk" "$model" $((40 * MIB)) $((8 * MIB))
    sync "$disk"
    taken=$(overlay_bytes)
    truncate -s 40M "$disk"
    check "what is cut off comes back" wait_until 30 overlays_take_at_most $((taken - 7 * MIB))
    noise "$disk" "$model" 0 $((8 * MIB))
    sync "$disk"
    taken=$(overlay_bytes)
    rm "$disk"
    check "and what is removed" wait_until 30 overlays_take_at_most $((taken - 7 * MIB))
    check "ccnfs status tells of overlays" reports "$work/status.json" status
    check "how many, their bytes, and what is on its way back" jq -e \
        '.overlays | (.count, .allocatedBytes | . >= 0), has("isReclaiming")' "$work/status.json"
    check "in words too" grep -q overlays <(ccnfs status)
    rmdir "$vm"

    # ---- a republish of what was punched is smaller
    new_segments() {
        deploy "$1" small
        noise "$home_vms/$1/disk0" $((8 * MIB)) $((16 * MIB))
        [ -z "${2:-}" ] || fallocate -p -o $((8 * MIB)) -l $((12 * MIB)) "$home_vms/$1/disk0"
        ccnfs republish "$1" "ccnx:/mycorp.com/$1" --key "$key" --json | jq -s '.[-1].newSegments'
    }
    taken=$(new_segments kept)
    check "a republish has what was written" test "$taken" -ge $((16 * 32))
    before=$(new_segments punched yes)
    note "new segments: $taken, with 12 of 16 MiB punched $before"
    check "and little of what was punched" test "$before" -le $((4 * 32 + 4))
    rm -r "$home_vms/kept" "$home_vms/punched"
}

# ---- what guests discard

section_discards() {
    local vm=$home_vms/discards taken nbd loop
    mkdir "$vm"
    disk=$vm/disk0
    truncate -s 64M "$disk"
    noise "$disk" 0 $((32 * MIB))
    cp --sparse=always "$disk" "$work/model"
    sync "$disk"
    taken=$(overlay_bytes)
    qemu-nbd --discard=unmap --persistent --format=raw --socket="$work/nbd.sock" "$disk" > "$work/nbd.log" 2>&1 &
    nbd=$!
    background "$nbd"
    wait_until 20 test -S "$work/nbd.sock" || not_ok "qemu-nbd serves the disk" "$(cat "$work/nbd.log")"
    check "a guest's TRIM through qemu-nbd" qemu-io -f raw -d unmap "nbd+unix:///?socket=$work/nbd.sock" \
        -c "discard 4M 16M" -c "write -z -u 24M 4M" -c flush
    end_process "$nbd"
    fallocate -p -o 4MiB -l 16MiB "$work/model"
    fallocate -p -o 24MiB -l 4MiB "$work/model"
    check "leaves zeros" cmp "$work/model" "$disk"
    check "and gives the space back" wait_until 30 overlays_take_at_most $((taken - 19 * MIB))

    : > "$work/export"
    qemu-storage-daemon --blockdev "driver=file,node-name=file,filename=$disk,discard=unmap" \
        --blockdev driver=raw,node-name=disk,file=file,discard=unmap \
        --export "type=fuse,id=export,node-name=disk,mountpoint=$work/export,writable=on" > "$work/export.log" 2>&1 &
    nbd=$!
    background "$nbd"
    on_exit unmount_hard "$work/export"
    wait_until 20 is_mounted "$work/export" || not_ok "qemu-storage-daemon serves the disk" "$(cat "$work/export.log")"
    taken=$(overlay_bytes)
    check "a hole through qemu-storage-daemon" fallocate -p -o 28MiB -l 4MiB "$work/export"
    sync "$work/export"
    fallocate -p -o 28MiB -l 4MiB "$work/model"
    check "reads as zeros" cmp -n $((64 * MIB)) "$work/model" "$disk"
    end_process "$nbd"
    unmount_hard "$work/export"
    check "and gives the space back" wait_until 30 overlays_take_at_most $((taken - 3 * MIB))

    if [ "$(id -u)" -ne 0 ]; then
        skip "discards of a loop device" "needs root"
        return
    fi
    truncate -s 256M "$disk"
    loop=$(losetup --find --show "$disk")
    on_exit losetup --detach "$loop"
    check "blkdiscard of a loop device on the disk" blkdiscard "$loop"
    check "gives all of it back" wait_until 30 overlays_take_at_most $((taken - 11 * MIB))
    check "which reads as zeros" cmp -n $((256 * MIB)) "$disk" /dev/zero
    mke2fs -q -F -t ext4 -E nodiscard "$loop"
    mkdir "$work/guest"
    mount "$loop" "$work/guest"
    on_exit umount -l "$work/guest"
    head -c $((64 * MIB)) /dev/urandom > "$work/guest/large"
    head -c $((8 * MIB)) /dev/urandom | tee "$work/kept" > "$work/guest/kept"
    sync -f "$work/guest"
    taken=$(overlay_bytes)
    rm "$work/guest/large"
    sync -f "$work/guest"
    check "fstrim of a filesystem in it" fstrim "$work/guest"
    sync -f "$work/guest"
    check "gives the space of a removed file back" wait_until 30 overlays_take_at_most $((taken - 60 * MIB))
    umount "$work/guest"
    detach "$loop"
    # After a restart nothing comes from the kernel's pages.
    restart
    loop=$(losetup --find --show --read-only "$disk")
    on_exit losetup --detach "$loop"
    check "e2fsck is clean" e2fsck -fn "$loop"
    mount -o ro "$loop" "$work/guest"
    check "what was kept is whole" cmp "$work/kept" "$work/guest/kept"
    umount "$work/guest"
    detach "$loop"
    rm -r "$vm"
}

# ---- open elsewhere

section_busy() {
    local disk=$home_vms/busy/disk0 number bad='' how
    deploy busy small
    mkdir "$home_vms/busy/.snapshots/s"
    for how in '' --fork; do
        # shellcheck disable=SC2086 # one word or none
        hold "$disk" $how
        note "held by another process${how:+, whose child has ended}"
        answers "shrinking a disk that another has open is EBUSY" EBUSY truncate "$disk" 1000000
        answers "so is opening it with O_TRUNC" EBUSY open-truncate "$disk"
        check "truncate says so" grep -qi 'busy' <(truncate -s 1M "$disk" 2>&1)
        check "cp over it too" grep -qi 'busy' <(cp "$mnt/mycorp.com/small/disk0" "$disk" 2>&1)
        refuses "so does a rollback" "$TEMPORARY" 'open|use|busy' ccnfs rollback busy s
        check "and nothing is lost" cmp -n $((64 * MIB)) "$small" "$disk"
        answers "growing it is allowed" OK truncate "$disk" $((65 * MIB))
        answers "the same size is too" OK truncate "$disk" $((65 * MIB))
        end_process "$holder"
        answers "closed it shrinks at once" OK truncate "$disk" $((64 * MIB))
        check "to what it was" cmp "$small" "$disk"
    done
    rmdir "$home_vms/busy/.snapshots/s"
    # The kernel tells the node of a close after close(2) returned.
    for ((number = 1; number <= CLOSES; number++)); do
        printf x | dd of="$disk" bs=1 seek=5000 conv=notrunc status=none
        bad+=$(truncate -s $((64 * MIB - number * 4096)) "$disk" 2>&1) || true
    done
    check_same "$CLOSES times right after dd closed it" "" "$bad"
    check "$CLOSES times right after it was closed in one process" python3 - "$disk" "$CLOSES" << 'PYTHON'
import os
import sys

disk, count = sys.argv[1], int(sys.argv[2])
size = os.stat(disk).st_size
for number in range(count):
    first, second = os.open(disk, os.O_RDWR), os.open(disk, os.O_RDONLY)
    os.pwrite(first, b"x", 4096)
    os.pread(second, 10, 0)
    os.close(first)
    os.close(second)
    os.truncate(disk, size - number * 1000)
    file = os.open(disk, os.O_RDWR)
    # One's own handle is not another's.
    os.ftruncate(file, size - number * 1000 - 500)
    os.close(file)
PYTHON
    bad=''
    for number in {1..20}; do
        cat "$disk" > /dev/null
        bad+=$(cp "$mnt/mycorp.com/small/disk0" "$disk" 2>&1) || true
        # O_TRUNC
        bad+=$({ : > "$disk"; } 2>&1) || true
    done
    check_same "cp over a disk and O_TRUNC right after it was read" "" "$bad"
    check_same "it is empty then" 0 "$(stat -c %s "$disk")"
    rm -r "$home_vms/busy"
}

# ---- several disks, blank disks

section_templates() {
    local vm=$home_vms/two disk
    check "ccnfs deploy makes all disks of a template" ccnfs deploy ccnx:/mycorp.com/pair two
    check "the first" cmp "$small" "$vm/disk0"
    check "and the second" cmp "$second" "$vm/disk1"
    check "with a size that is not whole blocks" test "$(stat -c %s "$vm/disk1")" -eq $((16 * MIB + 1536))
    check "one command deploys several VMs" ccnfs deploy ccnx:/mycorp.com/pair many-{1..5}
    check "each with its disks" test "$(find "$home_vms"/many-* -name 'disk?' | wc -l)" -eq 10
    check "and the template's bytes" cmp "$second" "$home_vms/many-5/disk1"
    refuses "if one of the names is taken" "$CANNOT_CREATE" 'many-3' ccnfs deploy ccnx:/mycorp.com/pair many-6 many-3
    check "none is made" test ! -e "$home_vms/many-6"
    rm -r "$home_vms"/many-*
    check "cp -r of a template's disks" cp "$mnt/mycorp.com/pair"/disk* "$vm"
    disk=$vm/disk2
    check "truncate makes a blank disk" truncate -s 20G "$disk"
    check_same "of its size" $((20 * GIB)) "$(stat -c %s "$disk")"
    check "that reads as zeros" cmp -n $((4 * MIB)) "$disk" /dev/zero
    check_same "and has no data" 0 "$(calls data --quick "$disk")"
    check "a filesystem is made on it" mke2fs -q -F -t ext4 -E nodiscard,lazy_itable_init=1,lazy_journal_init=1 "$disk"
    check "and is clean" e2fsck -fn "$disk"
    check "xattrs tell what was written" test "$(getfattr --only-values -n user.ccnfs.written "$disk" 2> /dev/null)" -gt 0
    check "a snapshot has all three" mkdir "$vm/.snapshots/s"
    check_same "disks" 3 "$(find "$vm/.snapshots/s" -name 'disk?' | wc -l)"
    rmdir "$vm/.snapshots/s"
    check "mv renames a disk" mv "$disk" "$vm/data"
    check "which is as it was" e2fsck -fn "$vm/data"
    answers "onto one that is there it does not" EEXIST rename "$vm/data" "$vm/disk1"
    rm -r "$vm"
}

# ---- files from elsewhere

section_foreign() {
    local vm=$home_vms/foreign
    mkdir "$vm"
    check "cp brings a file in" cp "$second" "$vm/cp"
    check "as it is" cmp "$second" "$vm/cp"
    check "cp --sparse=always too" cp --sparse=always "$small" "$vm/sparse"
    check "as it is" cmp "$small" "$vm/sparse"
    check "dd too" dd if="$second" of="$vm/dd" bs=1M status=none
    check "as it is" cmp "$second" "$vm/dd"
    check "dd conv=sparse too" dd if="$small" of="$vm/dd" bs=64k conv=sparse status=none
    check "as it is" cmp "$small" "$vm/dd"
    qemu-img convert -f raw -O qcow2 "$small" "$work/small.qcow2"
    check "qemu-img convert makes a disk" qemu-img convert -f qcow2 -O raw "$work/small.qcow2" "$vm/converted"
    check "as it is" cmp "$small" "$vm/converted"
    truncate -s 64M "$vm/blank"
    check "qemu-img convert -n fills one" qemu-img convert -n -f qcow2 -O raw "$work/small.qcow2" "$vm/blank"
    check "as it is" cmp "$small" "$vm/blank"
    cp "$mnt/mycorp.com/small/disk0" "$vm/over"
    noise "$vm/over" $((9 * MIB)) $((9 * MIB))
    check "and one that has other data" qemu-img convert -n -f qcow2 -O raw "$work/small.qcow2" "$vm/over"
    check "as it is" cmp "$small" "$vm/over"
    check "ccnfs vms lists them" test "$(ccnfs vms | grep -c foreign)" -ge 6
    rm -r "$vm"
}

# ---- random operations

section_storm() {
    storm() {
        "$scripts/disk-storm.py" run "$mnt" "$work/storm.raw" "$mnt/mycorp.com/storm/disk0" "$work/models" \
            --ccnfs "$CCNFS" --key "$key" --seed "$1" --operations "$OPERATIONS"
    }
    small_image "$work/storm.raw" 4
    truncate -s $((4 * MIB - 1536)) "$work/storm.raw"
    publish storm "$work/storm.raw"
    check "random operations agree with bytes in memory" storm "${SEED}1"
    kill_node
    node
    check "after kill -9 of the node all is as it was" "$scripts/disk-storm.py" verify "$mnt" "$work/models"
    check "random operations go on" storm "${SEED}2"
    restart
    check "after a restart all is as it was" "$scripts/disk-storm.py" verify "$mnt" "$work/models"
    check "verify finds nothing wrong" ccnfs verify
    local snapshot
    for snapshot in "$home_vms"/storm-*; do
        find "$snapshot/.snapshots" -mindepth 1 -maxdepth 1 -exec rmdir {} +
    done
    check "rm -r removes all of it" rm -r "$home_vms"/storm-*
    rm -r "$work/models"
}

setup_disks
run_sections snapshots moments orders clones pieces cost holes discards busy templates foreign storm
finish
