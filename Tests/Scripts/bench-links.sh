#!/bin/bash
# What compression of a connection is worth: a template is read cold through connections of several speeds, with and
# without, and the bytes that crossed and the processor's time of both nodes are told.
#
#   BENCH_ROUNDS   of each (3), with and without in turn; medians are printed
#   LINK_MIB       mebibytes that are read (128): segments of the image that are no zeros
#   LINK_RATES     megabits per second ("0 10000 1000 300 100"); 0 is a direct connection over loopback
#   IMAGE          another raw image than the Debian one
#   BENCH_JSON     a file for the figures
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

rounds=${BENCH_ROUNDS:-3}
mebibytes=${LINK_MIB:-128}
read -ra rates <<< "${LINK_RATES:-0 10000 1000 300 100}"
readonly NAME=ccnx:/mycorp.com/app1/linuxvm
# One of 32 KiB is what goes in one packet.
readonly SEGMENT_BYTES=32768

begin bench-links
command -v jq > /dev/null || skip_all "jq is not installed: make setup"
figures=$work/figures
: > "$figures"

if [ -n "${IMAGE:-}" ]; then
    raw=$(realpath "$IMAGE")
else
    need_image
fi
image=$work/data.raw
python3 - "$raw" "$image" "$SEGMENT_BYTES" $((mebibytes << 20)) << 'PYTHON'
import os
import sys

source, destination, segment, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
zeros, place, written = bytes(segment), 0, 0
with open(source, "rb") as disk, open(destination, "wb") as out:
    size = os.fstat(disk.fileno()).st_size
    while written < wanted and place < size:
        try:
            place = os.lseek(disk.fileno(), place, os.SEEK_DATA) // segment * segment
        except OSError:
            break
        disk.seek(place)
        data = disk.read(segment)
        if len(data) == segment and data != zeros:
            out.write(data)
            written += segment
        place += segment
PYTHON
size=$(stat -c %s "$image")

use_home "$work/repository"
key=$work/publisher.pem
make_key ccnx:/mycorp.com "$key"
ccnfs publish "$image" "$NAME" --key "$key" > /dev/null
face_port=$(free_port)
printf 'listen: [tcp:127.0.0.1:%s]\naccept-compression: true\n' "$face_port" > "$work/repository.yaml"
"$CCNFS" node --config "$work/repository.yaml" > "$work/repository.log" 2>&1 &
repository_pid=$!
on_exit end_process "$repository_pid"
wait_until 20 grep -q '^listening' "$work/repository.log"

# Of a process, in seconds; utime and stime of proc(5), counted from behind the name.
cpu_seconds() {
    awk -v ticks="$(getconf CLK_TCK)" '{ sub(/^.*\) /, ""); printf "%.3f", ($12 + $13) / ticks }' "/proc/$1/stat"
}

# link RATE: sets link_port, which leads to the repository at so many megabits per second
link() {
    link_port=$face_port
    [ "$1" -gt 0 ] || return 0
    local log=$work/link-$1
    if [ ! -f "$log" ]; then
        "$scripts/link-proxy.py" --listen 127.0.0.1:0 --to "127.0.0.1:$face_port" --rate $(($1 * 125000)) \
            > "$log" 2>&1 &
        on_exit end_process $!
        wait_until 20 grep -q '^listening' "$log"
    fi
    link_port=$(sed -n 's/^listening //p' "$log")
}

# cold_read RATE on|off: one line of figures
cold_read() {
    local before here there speed crossed
    rm -rf "$work/reader"
    use_home "$work/reader"
    ccnfs trust add ccnx:/mycorp.com "${key%.pem}.pub" > /dev/null
    {
        printf 'routes: [{prefix: ccnx:/mycorp.com, to: "tcp:127.0.0.1:%s"}]\n' "$link_port"
        [ "$2" = off ] || printf 'compress: ["tcp:127.0.0.1:%s"]\n' "$link_port"
    } > "$work/reader.yaml"
    start_node "$work/mnt" --config "$work/reader.yaml"
    wait_until 20 test -f "$work/mnt/mycorp.com/app1/linuxvm/disk0"
    here=$(cpu_seconds "$node_pid") there=$(cpu_seconds "$repository_pid")
    before=$(crossed_bytes)
    speed=$(LC_ALL=C dd if="$work/mnt/mycorp.com/app1/linuxvm/disk0" of=/dev/null bs=1M 2>&1 |
        sed -n 's/.*copied, \([0-9.e-]*\) s.*/\1/p')
    crossed=$(($(crossed_bytes) - before))
    printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$speed" "$crossed" \
        "$(awk -v a="$here" -v b="$(cpu_seconds "$node_pid")" 'BEGIN { print b - a }')" \
        "$(awk -v a="$there" -v b="$(cpu_seconds "$repository_pid")" 'BEGIN { print b - a }')" >> "$figures"
    check "compression is $2 as it was asked for" face_is "$2"
    stop_node "$work/mnt" "$node_pid"
}
crossed_bytes() { ccnfs face list --json | jq '[.[].traffic.linkBytesReceived // 0] | add'; }
face_is() { [ "$(ccnfs face list --json | jq '.[0].isCompressed')" = "$([ "$1" = on ] && echo true || echo false)" ]; }

for ((round = 1; round <= rounds; round++)); do
    for rate in "${rates[@]}"; do
        printf 'bench-links: %s Mbit/s, round %d of %d\n' "$rate" "$round" "$rounds" >&2
        link "$rate"
        cold_read "$rate" off
        cold_read "$rate" on
    done
done

python3 - "$figures" "${BENCH_JSON:-}" "$size" << 'PYTHON'
import json
import os
import statistics
import sys

figures, json_path, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
rows = {}
for line in open(figures):
    rate, mode, *values = line.split()
    rows.setdefault(int(rate), {}).setdefault(mode, []).append([float(value) for value in values])
report = []
print(f"{size >> 20} MiB of data; off, then on")
print(f"{'link':>12} {'MB/s':>14} {'ratio':>6} {'MB crossed':>14} {'CPU s reader':>14} {'CPU s repository':>17}")
for rate, modes in rows.items():
    medians = {mode: [statistics.median(column) for column in zip(*lines)] for mode, lines in modes.items()}
    off, on = medians["off"], medians["on"]
    speeds = [size / line[0] / 1e6 for line in (off, on)]

    def pair(column, scale=1, digits=2):
        return " ".join(f"{line[column] / scale:.{digits}f}" for line in (off, on))

    name = f"{rate} Mbit/s" if rate else "direct"
    print(f"{name:>12} {speeds[0]:>7.0f} {speeds[1]:>6.0f} {speeds[1] / speeds[0]:>6.2f} {pair(1, 1e6, 1):>14} "
          f"{pair(2):>14} {pair(3):>17}")
    report.append({"megabitsPerSecond": rate, "rounds": modes})
if json_path:
    with open(json_path, "w") as out:
        json.dump({"cpus": os.cpu_count(), "bytes": size, "results": report}, out, indent=2)
        out.write("\n")
PYTHON
finish
