#!/bin/bash
# A node whose repository is behind a bad network: answers late, lost, twice, damaged, under the wrong name, cut off,
# dripping, or not at all; the repository killed and started again; its old catalog played back. Whatever comes, a
# read gives the right bytes or an error with its cause, in bounded time; never other bytes, never nothing for ever.
#
#   SECTIONS      clean delay loss duplicate drip flip swap truncate reset stall mixed restart replay udp refuse
#   READ_SECONDS  that a read of a whole disk may take, with whatever is done to it (60)
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib-disks.sh"

readonly READ_SECONDS=${READ_SECONDS:-60}
# How long it may take until a node asks again that was cut off from all others.
readonly RECOVERY_SECONDS=45
readonly BIG_MIB=48 SMALL_MIB=8
# The attribute that keeps the cause of the last error of a file.
readonly ERROR_ATTRIBUTE=user.ccnfs.error
# A reader that is killed ends only when its last request was answered.
readonly RELEASE_SECONDS=25
# What timeout(1) says of a command that it ended, and of one that it had to kill.
readonly ENDED=124 KILLED=137

begin network-faults
first=$work/first
control=$work/faults.json stats=$work/faults-stats.json

# ---- the repository, the proxy, and the node behind it

# at_first COMMAND...: in the home of the repository
at_first() { (use_home "$first" && "$@"); }

listens() { (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }

start_repository() {
    # Not by at_first: the process to kill is the node itself.
    CCNFS_STATE=$first/state CCNFS_CACHE=$first/cache "$CCNFS" node --listen "tcp:127.0.0.1:$port" \
        --listen "udp:127.0.0.1:$port" >> "$work/repository.log" 2>&1 &
    repository_pid=$!
    background "$repository_pid"
    wait_until 20 listens "$port" || not_ok "the repository listens" "$(tail -n 5 "$work/repository.log")"
    kill -0 "$repository_pid" || not_ok "the repository runs" "$(tail -n 5 "$work/repository.log")"
}

kill_repository() {
    kill -9 "$repository_pid"
    wait "$repository_pid" 2> /dev/null || true
}

# start_proxy [OPTION...]: controlled by $control; sets proxy_port and proxy_pid
start_proxy() {
    "$scripts/fault-proxy.py" --listen 127.0.0.1:0 --to "127.0.0.1:$port" --control "$control" --stats "$stats" \
        --seed "$SEED" "$@" > "$work/proxy.out" 2> "$work/proxy.log" &
    proxy_pid=$!
    background "$proxy_pid"
    wait_until 20 grep -q listening "$work/proxy.out" || not_ok "the proxy listens" "$(cat "$work/proxy.log")"
    proxy_port=$(awk '{ print $2 }' "$work/proxy.out")
}

# faults JSON: from when it returns, these and no others
fault_lines=0
faults() {
    fault_lines=$((fault_lines + 1))
    jq -c --arg tag "$fault_lines" '. + {tag: $tag}' <<< "$1" > "$control.new"
    mv "$control.new" "$control"
    wait_until 30 in_force || not_ok "the proxy takes over $1" "$(cat "$work/proxy.log")"
}
in_force() { [ "$(jq -r .tag "$stats")" = "$fault_lines" ]; }

# applied KIND: how often so far. The statistics are a tenth of a second old.
applied() { sleep 0.2 && jq -r ".faults.$1" "$stats"; }
applied_more() { [ "$(applied "$1")" -gt "$2" ]; }

# Of the node behind the proxy; its home is the one in use.
status() { status_of timeout 10 "$CCNFS" 2> /dev/null; }
counter() { status | jq -r "$1 // 0"; }
fetched_beyond() { [ "$(counter .store.fetchedBytes)" -gt "$1" ]; }
error_of() { timeout 10 getfattr --only-values -n "$ERROR_ATTRIBUTE" "$1" 2> /dev/null; }
waiting() { status | jq -c '{parkedRequests, pendingInterests}'; }
# The node looks for a new catalog whatever else there is.
nothing_waits() { status | jq -e '.parkedRequests == 0 and .pendingInterests <= 1'; }

setup_network() {
    note "seed $SEED"
    key=$work/publisher.pem
    big=$work/big.raw small=$work/small.raw news=$work/news.raw
    mnt=$work/mnt
    port=$(free_port)
    head -c $((BIG_MIB * MIB)) /dev/urandom > "$big"
    head -c $((SMALL_MIB * MIB)) /dev/urandom > "$small"
    head -c "$MIB" /dev/urandom > "$news"
    at_first make_key ccnx:/mycorp.com "$key"
    at_first publish big "$big"
    at_first publish small "$small"
    at_first publish news "$news"
    start_repository
    start_proxy
    node_options=(--route "ccnx:/mycorp.com=tcp:127.0.0.1:$proxy_port")
    use_home "$work/second"
    ccnfs trust add ccnx:/mycorp.com "${key%.pem}.pub" > /dev/null
    node
    disk=$mnt/mycorp.com/big/disk0 small_disk=$mnt/mycorp.com/small/disk0 news_disk=$mnt/mycorp.com/news/disk0
    # The mount is there at once; what the repository lists comes a moment later.
    check "the templates are there by their names" wait_until 20 test -f "$disk"
    check "the smaller one, too" wait_until 20 test -f "$small_disk"
}

# ---- a read, and what may come of it

# Everything is asked for again.
cold() {
    ccnfs evict > /dev/null
    forget_pages "$disk"
    forget_pages "$small_disk"
    forget_pages "$news_disk"
}

# compare SOURCE FILE: as cmp says it, in bounded time. Through the page cache: the kernel reads ahead, and a page
# that it could not have it asks for once more when its turn comes.
compare() { timeout -k "$RELEASE_SECONDS" "$READ_SECONDS" cmp "$@"; }

# direct SOURCE FILE: likewise past the page cache, as a VM without a cache of the host reads; one error is the
# reader's.
direct() {
    timeout -k "$RELEASE_SECONDS" "$READ_SECONDS" python3 - "$@" << 'PYTHON'
import concurrent.futures
import mmap
import os
import sys
import threading

PIECE, READERS = 256 * 1024, 4
failed = threading.Event()
source, disk = os.open(sys.argv[1], os.O_RDONLY), os.open(sys.argv[2], os.O_RDONLY | os.O_DIRECT)


def wrong(place):
    buffer = mmap.mmap(-1, PIECE)
    # One error is enough: nothing new is begun, which would have to be waited for.
    if failed.is_set():
        return ""
    try:
        count = os.preadv(disk, [buffer], place)
    except OSError as error:
        failed.set()
        return f"{error.strerror} at {place}"
    return "" if buffer[:count] == os.pread(source, PIECE, place) else f"other bytes at {place}"


with concurrent.futures.ThreadPoolExecutor(READERS) as readers:
    said = [text for text in readers.map(wrong, range(0, os.fstat(source).st_size, PIECE)) if text]
if said:
    # Other bytes before errors: those are what must not be.
    print(max(said))
    sys.exit(2)
PYTHON
}

# What whole disks are read by: compare or direct.
reads=compare

# begin_read SOURCE FILE: beside what follows; read_ends waits for it
begin_read() {
    read_started=$(milliseconds) read_sent=$(counter .interestsSent) read_bytes=$(counter .store.fetchedBytes)
    "$reads" "$@" > "$work/read.said" 2>&1 &
    reader=$!
    background "$reader"
}

# Sets read_status, read_said and read_note. Not even kill -9 ends a reader whose request the node keeps, so that then
# the node is killed, too, and another one started.
read_ends() {
    read_status=0
    wait "$reader" || read_status=$?
    count_read
    if [ "$read_status" -eq "$KILLED" ]; then
        faults '{}'
        kill_node
        node_again
    fi
    read_said=$(cat "$work/read.said")
    note "$read_note"
}

count_read() {
    read_note="status $read_status after $(($(milliseconds) - read_started)) ms"
    read_note+=", $(($(counter .interestsSent) - read_sent)) Interests"
    read_note+=", $(($(counter .store.fetchedBytes) - read_bytes)) bytes, $(waiting)"
}

read_whole() {
    begin_read "$@"
    read_ends
}

# some_came: once the first megabytes of a read are here
some_came() { wait_until 20 fetched_beyond $((read_bytes + 3 * MIB)) || note "less than 3 MiB came in 20 s"; }

node_again() {
    node
    wait_until 20 test -f "$disk" || true
}

is_error() { grep -q 'Input/output error' <<< "$read_said"; }

# judge TEXT FILE: of the last read: in time, and either all of the right bytes or an error that has a cause
judge() {
    local text=$1 file=$2 cause
    case $read_status in
        "$ENDED")
            not_ok "$text: the read ends within $READ_SECONDS s" "$read_note"
            return
            ;;
        "$KILLED")
            not_ok "$text: the read ends within $READ_SECONDS s" "it hangs until the node is killed; $read_note"
            return
            ;;
    esac
    ok "$text: the read ends within $READ_SECONDS s"
    if [ "$read_status" -eq 0 ]; then
        ok "$text: all bytes are right"
    elif is_error; then
        cause=$(error_of "$file" || true)
        check "$text: it is an error, and has a cause" test -n "$cause"
        note "$cause"
    else
        not_ok "$text: no wrong byte comes" "$read_said"
    fi
}

# succeeds TEXT: the last read gave the whole
succeeds() {
    if [ "$read_status" -eq 0 ]; then
        ok "$1: the read succeeds"
    else
        not_ok "$1: the read succeeds" "status $read_status: $read_said"$'\n'"$(error_of "$disk" || true)"
    fi
}

# recovers TEXT SOURCE FILE: with a good network again
recovers() {
    local began=$SECONDS reads=compare
    read_whole "$2" "$3"
    while is_error && [ $((SECONDS - began)) -lt "$RECOVERY_SECONDS" ]; do
        sleep 0.5
        read_whole "$2" "$3"
    done
    check_same "$1: then the whole is read" 0 "$read_status"
    if ! wait_until 30 nothing_waits; then
        not_ok "$1: nothing is left waiting" "$(waiting)"
        # What hangs here must not fail what follows.
        kill_node
        node_again
    fi
}

# under KIND TEXT JSON [SOURCE FILE]: the whole is read with these faults, then without
under() {
    local kind=$1 text=$2 source=${4:-$big} file=${5:-$disk} before
    cold
    before=$(applied "$kind")
    faults "$3"
    read_whole "$source" "$file"
    check "$text: it was done to the answers" wait_until 30 applied_more "$kind" "$before"
    faults '{}'
    judge "$text" "$file"
}

# bears KIND TEXT JSON [SOURCE FILE]: a fault that a reader must not notice
bears() {
    under "$@"
    succeeds "$2"
    recovers "$2" "${4:-$big}" "${5:-$disk}"
}

# survives KIND TEXT JSON [SOURCE FILE]: a fault that may end as an error
survives() {
    under "$@"
    recovers "$2" "${4:-$big}" "${5:-$disk}"
}

# ---- faults of packets

section_clean() {
    cold
    read_whole "$big" "$disk"
    succeeds "through the proxy"
}

section_delay() {
    bears delay "10 ms each way" '{"delay": 10}' "$small" "$small_disk"
    # Answers come in the moment in which their Interests of 2 s expire. What names the segments is here already.
    compare "$news" "$news_disk"
    reads=direct survives delay "as late as an Interest lives" '{"delay": 998}' "$news" "$news_disk"
}

section_loss() {
    bears loss "5 % of the answers lost" '{"loss": 0.05}'
    survives loss "half of the answers lost" '{"loss": 0.5}' "$news" "$news_disk"
}

section_duplicate() { bears duplicate "each answer twice" '{"duplicate": true}'; }

section_drip() { bears drip "2 MiB a second" "{\"drip\": $((2 * MIB))}" "$small" "$small_disk"; }

section_flip() {
    bears flip "a bit flipped in each 50th" '{"flip": {"every": 50}}'
    reads=direct bears flip "a bit flipped in each 50th, read directly" '{"flip": {"every": 50}}'
    survives flip "a bit flipped in each" '{"flip": true}'
}

section_swap() {
    bears swap "another payload in each 50th" '{"swap": {"every": 50}}'
    reads=direct bears swap "another payload in each 50th, read directly" '{"swap": {"every": 50}}'
    survives swap "another payload in each" '{"swap": true}'
}

# ---- faults of connections

section_truncate() {
    local twice='{"truncate": {"every": 300, "times": 2}}'
    bears truncate "cut off in the midst of an answer, twice" "$twice"
    reads=direct bears truncate "cut off in the midst of an answer, twice, read directly" "$twice"
}

section_reset() {
    local twice='{"reset": {"value": 200, "times": 2}}'
    bears reset "reset after 200 answers, twice" "$twice"
    reads=direct bears reset "reset after 200 answers, twice, read directly" "$twice"
}

section_stall() {
    local text="no answers for 3 s" before
    cold
    compare "$small" "$small_disk"
    faults "{\"drip\": $((16 * MIB))}"
    begin_read "$big" "$disk"
    some_came
    before=$(applied stall)
    faults '{"stall": "swallow"}'
    sleep 3
    check "$text: there were some to hold back" wait_until 30 applied_more stall "$before"
    forget_pages "$small_disk"
    check "$text: what is here is read meanwhile" timeout 10 cmp "$small" "$small_disk"
    faults '{}'
    read_ends
    judge "$text" "$disk"
    succeeds "$text"
    recovers "$text" "$big" "$disk"
    # Those that were held back come afterwards, when nobody waits for them.
    reads=direct survives stall "no answers at all" '{"stall": true}'
}

section_refuse() { reads=direct survives refuse "connections refused" '{"refuse": true}'; }

# Several at once, and two readers.
section_mixed() {
    local text="late, lost, twice and damaged at once"
    cold
    faults '{"delay": 3, "loss": 0.02, "duplicate": {"every": 7}, "flip": {"every": 97}, "swap": {"every": 101}}'
    compare "$small" "$small_disk" > "$work/other.said" 2>&1 &
    other=$!
    background "$other"
    read_whole "$big" "$disk"
    faults '{}'
    judge "$text" "$disk"
    check "$text: another reader ends" wait_until "$READ_SECONDS" process_is_gone "$other"
    # All the same, or an error.
    check "$text: and got no wrong byte" test -z "$(grep -v 'Input/output error' "$work/other.said")"
    recovers "$text" "$big" "$disk"
}

# ---- the repository

# paced SOURCE FILE: 64 KiB at a time, two mebibytes a second
paced() {
    timeout -k "$RELEASE_SECONDS" "$READ_SECONDS" python3 - "$@" << 'PYTHON'
import sys
import time

PIECE, SECONDS = 65536, 1 / 32
place, began = 0, time.monotonic()
with open(sys.argv[1], "rb") as source, open(sys.argv[2], "rb", buffering=0) as disk:
    while expected := source.read(PIECE):
        try:
            if disk.read(PIECE) != expected:
                sys.exit(f"other bytes at {place}")
        except OSError as error:
            sys.exit(f"{error.strerror} at {place}")
        place += PIECE
        time.sleep(max(began + place / PIECE * SECONDS - time.monotonic(), 0))
PYTHON
}

# away SECONDS: the repository is killed, and comes back
away() {
    local started
    started=$(milliseconds)
    kill_repository
    sleep "$1"
    start_repository
    note "the repository was away for $(($(milliseconds) - started)) ms"
}

section_restart() {
    local text="the repository killed and back"
    cold
    # So that Interests are under way at any moment.
    faults "{\"drip\": $((8 * MIB))}"
    reads=direct begin_read "$big" "$disk"
    some_came
    away 1
    read_ends
    faults '{}'
    judge "$text" "$disk"
    succeeds "$text"
    recovers "$text" "$big" "$disk"

    text="the repository killed under a slow reader"
    cold
    reads=paced begin_read "$small" "$small_disk"
    some_came
    away 2
    read_ends
    judge "$text" "$small_disk"
    succeeds "$text"
    recovers "$text" "$small" "$small_disk"
}

latest() { ccnfs versions ccnx:/mycorp.com/news --json | jq -r 'map(.version) | max'; }
is_latest() { [ "$(latest)" = "$1" ]; }
catalog_problem() { status | jq -r '.catalogs[] | select(.namespace == "ccnx:/mycorp.com") | .problem // ""'; }
has_problem() { [ -n "$(catalog_problem)" ]; }
has_no_problem() { [ -z "$(catalog_problem)" ]; }

# An old pointer, signed and all, must not take a node back.
section_replay() {
    local before listed
    check_same "version 1 is what the node knows" 1 "$(latest)"
    noise "$news" 65536 65536
    check "version 2 is published" at_first publish news "$news"
    check "the node sees it" wait_until 30 is_latest 2
    listed=$(ccnfs list)
    before=$(applied replay)
    faults '{"replay": true}'
    check "the old catalog is played back" wait_until 30 applied_more replay $((before + 1))
    check_same "version 2 stays" 2 "$(latest)"
    check_same "list says the same" "$listed" "$(ccnfs list)"
    check "its bytes are those of version 2" compare "$news" "$news_disk"
    check "status says what is wrong with the catalog" wait_until 30 has_problem
    note "$(catalog_problem)"
    noise "$news" 131072 65536
    at_first publish news "$news"
    faults '{}'
    check "version 3 is seen as soon as the true catalog comes" wait_until 30 is_latest 3
    check "and nothing is wrong any more" wait_until 30 has_no_problem
    check "its bytes are those of version 3" compare "$news" "$news_disk"
}

# ---- datagrams

wrong_objects() { counter '[.sources[].wrongObjects] | add'; }

# Another node, whose way to the repository is UDP.
section_udp() {
    local control=$work/udp-faults.json stats=$work/udp-stats.json mnt=$work/udp-mnt
    local pid proxy_port proxy_pid disk small_disk news_disk node_options before
    start_proxy --udp
    node_options=(--route "ccnx:/mycorp.com=udp:127.0.0.1:$proxy_port")
    use_home "$work/udp"
    ccnfs trust add ccnx:/mycorp.com "${key%.pem}.pub" > /dev/null
    node
    disk=$mnt/mycorp.com/big/disk0 small_disk=$mnt/mycorp.com/small/disk0 news_disk=$mnt/mycorp.com/news/disk0
    check "over UDP the templates are there by their names" wait_until 20 test -f "$small_disk"
    wait_until 20 test -f "$news_disk" || true
    read_whole "$small" "$small_disk"
    succeeds "over UDP"
    bears delay "over UDP 5 ms each way" '{"delay": 5}' "$small" "$small_disk"
    bears loss "over UDP 5 % of the datagrams lost" '{"loss": 0.05}' "$small" "$small_disk"
    bears duplicate "over UDP each answer twice" '{"duplicate": true}' "$small" "$small_disk"
    bears reorder "over UDP each tenth answer overtaken" '{"reorder": {"every": 10}}' "$small" "$small_disk"
    reads=direct bears truncate "over UDP each 50th answer cut short" '{"truncate": {"every": 50}}' "$news" "$news_disk"
    check "malformed datagrams are counted" test "$(counter .malformedDatagrams)" -gt 0
    before=$(wrong_objects)
    bears flip "over UDP a bit flipped in each 3,000th" '{"flip": {"every": 3000}}' "$small" "$small_disk"
    check "wrong objects are counted" test "$(wrong_objects)" -gt "$before"
    survives flip "over UDP a bit flipped in each" '{"flip": true}' "$news" "$news_disk"
    survives loss "over UDP half of the datagrams lost" '{"loss": 0.5}' "$news" "$news_disk"
    bears loss "over UDP late, lost, twice and overtaken" \
        '{"delay": 3, "loss": 0.02, "duplicate": {"every": 7}, "reorder": {"every": 11}}' "$small" "$small_disk"
    reads=direct survives stall "over UDP no answers at all" '{"stall": "swallow"}' "$news" "$news_disk"
    stop_node "$mnt" "$pid"
    end_process "$proxy_pid"
    use_home "$work/second"
}

setup_network
run_sections clean delay loss duplicate drip flip swap truncate reset stall mixed restart replay udp refuse
finish
