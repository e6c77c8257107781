# shellcheck shell=bash
# For the acceptance scripts about VM disks: nodes with templates, what system calls answer, sections.
#
#     . "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib-disks.sh"
#     begin vm-disks
#     setup_disks
#     run_sections snapshots clones
#
# A section is a function section_NAME. It finds a node at $mnt with the templates small and pair, and leaves
# one behind.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly SEED=${SEED:-$RANDOM}
# sysexits(3)
export USAGE=64 DATA=65 NO_INPUT=66 UNAVAILABLE=69 CANNOT_CREATE=73 IO_ERROR=74 TEMPORARY=75 NO_PERMISSION=77 \
    CONFIGURATION=78
readonly MIB=$((1024 * 1024))

calls() { "$scripts/disk-calls.py" "$@"; }

# answers TEXT SYMBOL CALL PATH [ARGUMENT...]: what one system call answers, OK or EBUSY and the like
answers() { check_same "$1" "$2" "$(calls errno "${@:3}")"; }

# Bytes of the state that VMs' written blocks take.
overlay_bytes() { allocated_bytes "$CCNFS_STATE/overlays"; }
overlays_take_at_most() { [ "$(overlay_bytes)" -le "$1" ]; }

# noise FILE... OFFSET COUNT: random bytes at one place of several files, the same in all
noise() {
    local offset=${*: -2:1} count=${*: -1} file
    head -c "$count" /dev/urandom > "$work/noise"
    for file in "${@:1:$#-2}"; do
        dd if="$work/noise" of="$file" bs=1M seek="$offset" oflag=seek_bytes conv=notrunc status=none || return
    done
}

# deploy VM NAME: as scripts do it
deploy() {
    local disk
    mkdir "$home_vms/$1"
    for disk in "$mnt/mycorp.com/$2"/disk*; do
        cp "$disk" "$home_vms/$1/$(basename "$disk")"
    done
}

# reports FILE COMMAND...: a command of the tool with --json; its report, which is one document, goes to a file
reports() { ccnfs "${@:2}" --json > "$1" && jq -e . "$1"; }

# publish NAME IMAGE...
publish() { ccnfs publish "${@:2}" "ccnx:/mycorp.com/$1" --key "$key" > "$work/publish.log" 2>&1; }

# What `command &` started is ended whatever happens.
background() { on_exit end_process "$1"; }

# hold FILE [--fork]: another process has it open, until end_process "$holder"
hold() {
    "$scripts/disk-calls.py" hold "$@" > "$work/held" 2>&1 &
    holder=$!
    background "$holder"
    wait_until 20 grep -q open "$work/held" || not_ok "a process opens $1" "$(cat "$work/held")"
}

# detach LOOP: returns when its file is closed, too
detach() {
    losetup --detach "$1"
    loop_is_free() { [ -z "$(losetup --noheadings --list --output BACK-FILE "$1" 2> /dev/null)" ]; }
    wait_until 20 loop_is_free "$1"
}

# A node at $mnt, with node_options; sets pid. Not within `check`, whose command is a process of its own.
node_options=()
node() {
    start_node "$mnt" "${node_options[@]}"
    pid=$node_pid
}

restart() {
    stop_node "$mnt" "$pid"
    node
}

kill_node() {
    kill -9 "$pid"
    wait "$pid" 2> /dev/null || true
    unmount_hard "$mnt"
}

# Sets small and second, images; a node runs at $mnt with the templates small, and pair with both.
setup_disks() {
    note "seed $SEED"
    use_home "$work/home"
    key=$work/publisher.pem
    make_key ccnx:/mycorp.com "$key"
    small=$work/small.raw second=$work/second.raw
    small_image "$small" 64
    small_image "$second" 16
    # Not whole blocks at its end.
    truncate -s $((16 * MIB + 1536)) "$second"
    mnt=$work/mnt home_vms=$work/mnt/localhost
    publish small "$small"
    publish pair "$small" "$second"
    node
}

# run_sections NAME...: those that SECTIONS names, or all
run_sections() {
    local section started
    for section in ${SECTIONS:-"$@"}; do
        started=$SECONDS
        note "---- $section"
        "section_$section"
        note "$section took $((SECONDS - started)) s"
    done
    check "the templates still compare equal" cmp "$small" "$mnt/mycorp.com/small/disk0"
    check "verify finds nothing wrong" ccnfs verify
    stop_node "$mnt" "$pid"
}
