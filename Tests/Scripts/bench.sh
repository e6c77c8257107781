#!/bin/bash
# How fast it is against what it should be measured by, in one run: `make bench`.
#
#   publish      first publish of a raw image        : openssl dgst -sha256 of the same file
#   sequential   read of the template by dd          : the raw file on the same filesystem
#   random read  4 KiB O_DIRECT on the template      : qemu-storage-daemon --export fuse, same file
#   write        4 KiB on a VM disk, with an fsync
#                after each too; 1 MiB in sequence   : the same export of a qcow2 overlay
#   snapshot     mkdir in .snapshots                 : blockdev-snapshot-sync of that export, running
#   first read   of a template on another node       : nbdkit's curl and cache below nbdfuse, from nginx;
#                                                      curl or openssl alone, whichever is slower
#   cold read    4 KiB at random on such a node, with
#                the repository beside it or 20 ms
#                away                                : the same below nbdfuse; one round trip to nginx
#   deploy       100 VMs by mkdir and cp, and by one
#                command                             : 100 overlays by qemu-img create
#
# Each is measured BENCH_ROUNDS times (3), ours and the other in turn, so that a noisy machine hits
# both; medians are printed. BENCH_SECONDS (3) is the length of one fio run. IMAGE names another raw
# image, BENCH_JSON a file for the figures.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

rounds=${BENCH_ROUNDS:-3}
seconds=${BENCH_SECONDS:-3}
readonly VM_COUNT=100
# In each round; between two of them some blocks are written.
readonly SNAPSHOT_COUNT=20 SNAPSHOT_BLOCKS=16
# Of a repository that is far away, there and back.
readonly DELAY_MILLISECONDS=20
readonly NAME=ccnx:/mycorp.com/app1/linuxvm

begin bench
for tool in qemu-storage-daemon qemu-img fio openssl jq; do
    command -v "$tool" > /dev/null || skip_all "$tool is not installed: make setup"
done
figures=$work/figures
: > "$figures"

# record NAME UNIT ours|peer VALUE
record() { printf '%s\t%s\t%s\t%s\n' "$@" >> "$figures"; }

# Sets elapsed to the seconds a command took; its output goes to a log.
timed() {
    local started ended
    started=$(date +%s%N)
    "$@" > "$work/timed.log" 2>&1 || {
        cat "$work/timed.log" >&2
        return 1
    }
    ended=$(date +%s%N)
    elapsed=$(awk -v ns=$((ended - started)) 'BEGIN { printf "%.4f", ns / 1e9 }')
}

progress() { printf 'bench: %s\n' "$*" >&2; }

if [ -n "${IMAGE:-}" ]; then
    source_image=$(realpath "$IMAGE")
    [ "$(qemu-img info --output=json "$source_image" | jq -r .format)" = raw ] ||
        skip_all "IMAGE must be a raw image"
else
    need_image
    source_image=$raw
fi
# On the filesystem of the store, so that both are read from the same one.
image=$work/image.raw
cp --sparse=always "$source_image" "$image"
size=$(stat -c %s "$image")

use_home "$work/first"
key=$work/publisher.pem
make_key ccnx:/mycorp.com "$key"

# ---- publish

cat "$image" > /dev/null
for ((round = 1; round <= rounds; round++)); do
    progress "publish, round $round of $rounds"
    timed openssl dgst -sha256 "$image"
    record "publish, first time" s peer "$elapsed"
    # A store that knows nothing yet, every time.
    use_home "$work/publish-$round"
    ccnfs trust add ccnx:/mycorp.com "${key%.pem}.pub" > /dev/null
    timed ccnfs publish "$image" "$NAME" --key "$key"
    record "publish, first time" s ours "$elapsed"
    rm -rf "$work/publish-$round"
done

# ---- one node, one export

use_home "$work/first"
ccnfs publish "$image" "$NAME" --key "$key" > /dev/null
mnt=$work/mnt
start_node "$mnt"
template=$mnt/mycorp.com/app1/linuxvm/disk0

# start_export FILE FORMAT WRITABLE MOUNTFILE: sets export_pid; $work/qmp.sock is its monitor
start_export() {
    : > "$4"
    qemu-storage-daemon --chardev "socket,path=$work/qmp.sock,server=on,wait=off,id=monitor" --monitor chardev=monitor \
        --blockdev "driver=file,node-name=file,filename=$1,read-only=$([ "$3" = on ] && echo off || echo on)" \
        --blockdev "driver=$2,node-name=disk,file=file,read-only=$([ "$3" = on ] && echo off || echo on)" \
        --export "type=fuse,id=export,node-name=disk,mountpoint=$4,writable=$3" \
        > "$work/export.log" 2>&1 &
    export_pid=$!
    on_exit unmount_hard "$4"
    on_exit end_process "$export_pid"
    wait_until 20 is_mounted "$4" || {
        cat "$work/export.log" >&2
        return 1
    }
}

export_file=$work/export
start_export "$image" raw off "$export_file"

# ---- sequential read, MB/s

# read_speed FILE [DD-FLAGS]: MB/s of one dd over the whole file
read_speed() {
    LC_ALL=C dd if="$1" of=/dev/null bs=1M "${@:2}" 2>&1 |
        sed -n 's/.*copied, \([0-9.e-]*\) s.*/\1/p' |
        awk -v size="$size" '{ printf "%.0f", size / $1 / 1e6 }'
}

# The kernel's pages of this one file, wherever its filesystem keeps its own.
forget_pages() { dd if="$1" iflag=nocache count=0 status=none; }

read_speed "$template" > /dev/null
read_speed "$image" > /dev/null
for ((round = 1; round <= rounds; round++)); do
    progress "sequential read, round $round of $rounds"
    # The round before ended with cold caches.
    read_speed "$image" > /dev/null
    read_speed "$template" > /dev/null
    # Warm store: its files are in the page cache, the mount's pages are not.
    record "read 1M, warm store" MB/s peer "$(read_speed "$image")"
    forget_pages "$template"
    record "read 1M, warm store" MB/s ours "$(read_speed "$template")"
    record "read 1M, in the mount's page cache" MB/s peer "$(read_speed "$image")"
    record "read 1M, in the mount's page cache" MB/s ours "$(read_speed "$template")"
    record "read 1M, O_DIRECT on the mount" MB/s peer "$(read_speed "$image")"
    record "read 1M, O_DIRECT on the mount" MB/s ours "$(read_speed "$template" iflag=direct)"
    if [ "$(id -u)" -eq 0 ]; then
        sync
        echo 3 > /proc/sys/vm/drop_caches
        record "read 1M, nothing cached" MB/s peer "$(read_speed "$image")"
        sync
        echo 3 > /proc/sys/vm/drop_caches
        record "read 1M, nothing cached" MB/s ours "$(read_speed "$template")"
    fi
done

# ---- random read and write, operations per second

# run_fio FILE RW ENGINE DEPTH [OPTION...]: its report is $work/fio.json
run_fio() {
    local options=(--rw="$2" --ioengine="$3" --iodepth="$4")
    case $2 in
        *read) options+=(--readonly) ;;
        *)
            options+=(--overwrite=0 --end_fsync=0)
            # What the other side wrote before is not written back at the cost of this one.
            sync
            ;;
    esac
    fio --name=bench --filename="$1" --size="$size" --bs=4k --direct=1 --time_based --runtime="$seconds" \
        --randrepeat=1 --norandommap --fallocate=none --output-format=json "${options[@]}" "${@:5}" \
        > "$work/fio.json" 2> "$work/fio.log" || {
        cat "$work/fio.log" "$work/fio.json" >&2
        return 1
    }
}

operations() {
    run_fio "$@" || return
    jq '.jobs[0] | (.read.iops + .write.iops) | floor' "$work/fio.json"
}

# Uses half of the memory there is and lets go of it: where a virtual machine's host takes free memory back and gives
# it again page by page, the next to fill pages pays for that, at less than 0.5 GB/s.
touch_free_memory() {
    python3 - << 'PYTHON'
import mmap

available = next(line.split()[1] for line in open("/proc/meminfo") if line.startswith("MemAvailable:"))
mmap.mmap(-1, int(available) * 512, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
PYTHON
}

# write_speed FILE: MB/s of sequential writes of 1 MiB, all over the disk once, while dirty pages fit memory
write_speed() {
    touch_free_memory
    run_fio "$1" write psync 1 --bs=1M --time_based=0 || return
    jq '.jobs[0].write.bw_bytes / 1e6 | floor' "$work/fio.json"
}

cat "$image" "$template" "$export_file" > /dev/null
for ((round = 1; round <= rounds; round++)); do
    progress "random read, round $round of $rounds"
    for engine in psync libaio; do
        record "random read 4k, QD1, $engine" iops peer "$(operations "$export_file" randread "$engine" 1)"
        record "random read 4k, QD1, $engine" iops ours "$(operations "$template" randread "$engine" 1)"
    done
    record "random read 4k, QD16, libaio" iops peer "$(operations "$export_file" randread libaio 16)"
    record "random read 4k, QD16, libaio" iops ours "$(operations "$template" randread libaio 16)"
done
end_process "$export_pid"
unmount_hard "$export_file"

# make_pair NAME: a VM and a qcow2 overlay, both new: the first write of a block is the dear one. Sets vm, overlay
# and exported.
make_pair() {
    vm=$mnt/localhost/$1 overlay=$work/$1.qcow2 exported=$work/export-$1
    mkdir "$vm"
    cp "$template" "$vm/disk0"
    qemu-img create -q -f qcow2 -b "$image" -F raw "$overlay"
    start_export "$overlay" qcow2 on "$exported"
}

remove_pair() {
    end_process "$export_pid"
    unmount_hard "$exported"
    if [ -d "$vm/.snapshots" ]; then
        find "$vm/.snapshots" -mindepth 1 -maxdepth 1 -exec rmdir {} +
    fi
    rm -r "$vm" "$overlay"*
}

for ((round = 1; round <= rounds; round++)); do
    progress "write, round $round of $rounds"
    make_pair "bench-$round"
    for rw in write randwrite; do
        for depth in 1 16; do
            what="$rw 4k, QD$depth"
            record "$what" iops peer "$(operations "$exported" "$rw" libaio "$depth")"
            record "$what" iops ours "$(operations "$vm/disk0" "$rw" libaio "$depth")"
        done
    done
    record "randwrite 4k + fsync, QD1" iops peer "$(operations "$exported" randwrite psync 1 --fsync=1)"
    record "randwrite 4k + fsync, QD1" iops ours "$(operations "$vm/disk0" randwrite psync 1 --fsync=1)"
    remove_pair
    make_pair "sequential-$round"
    record "write 1M, QD1" MB/s peer "$(write_speed "$exported")"
    record "write 1M, QD1" MB/s ours "$(write_speed "$vm/disk0")"
    remove_pair
done

# ---- snapshot

# Milliseconds of one, the median: a request to the monitor and its answer, with writes to the export between.
peer_snapshot() {
    python3 - "$work/qmp.sock" "$exported" "$overlay" "$SNAPSHOT_COUNT" "$SNAPSHOT_BLOCKS" << 'PYTHON'
import json
import mmap
import os
import random
import socket
import statistics
import sys
import time

path, exported, overlay, count, blocks = *sys.argv[1:4], *map(int, sys.argv[4:6])
monitor = socket.socket(socket.AF_UNIX)
monitor.connect(path)
lines = monitor.makefile("rw")
lines.readline()


def execute(command, **arguments):
    lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
    lines.flush()
    while "event" in (answer := json.loads(lines.readline())):
        pass
    if "error" in answer:
        sys.exit(answer["error"]["desc"])


execute("qmp_capabilities")
dice, times, node = random.Random(1), [], "disk"
disk, memory = os.open(exported, os.O_RDWR | os.O_DIRECT), mmap.mmap(-1, 4096)
span = os.fstat(disk).st_size // 4096
for number in range(count):
    memory[:] = dice.randbytes(4096)
    for _ in range(blocks):
        os.pwrite(disk, memory, dice.randrange(span) * 4096)
    started = time.perf_counter_ns()
    execute("blockdev-snapshot-sync", **{
        "node-name": node, "snapshot-file": f"{overlay}.{number}", "format": "qcow2",
        "snapshot-node-name": f"snapshot{number}"})
    times.append((time.perf_counter_ns() - started) / 1e6)
    node = f"snapshot{number}"
print(round(statistics.median(times), 3))
PYTHON
}

our_snapshot() {
    "$scripts/disk-calls.py" snapshots "$vm" --count "$SNAPSHOT_COUNT" --blocks "$SNAPSHOT_BLOCKS" > "$work/snapshots.json" &&
        jq .median "$work/snapshots.json"
}

for ((round = 1; round <= rounds; round++)); do
    progress "snapshot, round $round of $rounds"
    make_pair "snapshot-$round"
    taken=$(peer_snapshot)
    record "snapshot" ms peer "$taken"
    taken=$(our_snapshot)
    record "snapshot" ms ours "$taken"
    remove_pair
done

# ---- deploy

deploy_all() {
    local index
    for ((index = 1; index <= VM_COUNT; index++)); do
        mkdir "$mnt/localhost/many-$index" && cp "$template" "$mnt/localhost/many-$index/disk0" || return
    done
}

create_all() {
    local index
    for ((index = 1; index <= VM_COUNT; index++)); do
        qemu-img create -q -f qcow2 -b "$image" -F raw "$work/many-$index.qcow2" || return
    done
}

deploy_at_once() {
    local index machines=()
    for ((index = 1; index <= VM_COUNT; index++)); do machines+=("many-$index"); done
    ccnfs deploy "$NAME" "${machines[@]}"
}

for ((round = 1; round <= rounds; round++)); do
    progress "deploy, round $round of $rounds"
    for way in deploy_all deploy_at_once; do
        what="deploy $VM_COUNT VMs, $([ "$way" = deploy_all ] && echo mkdir and cp || echo one command)"
        timed create_all
        record "$what" s peer "$elapsed"
        timed "$way"
        record "$what" s ours "$elapsed"
        rm -r "$mnt"/localhost/many-* "$work"/many-*.qcow2
    done
done

stop_node "$mnt" "$node_pid"

# ---- first read of a template that a repository on loopback has

# Ours reads through the mount of a node that has nothing yet; the peer is nbdkit, its cache filter over curl, below
# nbdfuse, from nginx. The other comparison is with the slower of what nothing can do without: copy and hash.
if command -v nginx nbdkit nbdfuse curl > /dev/null; then
    mkdir "$work/served" "$work/cold-peer"
    ln "$image" "$work/served/image.raw"
    chmod 755 "$work" "$work/served"
    chmod 644 "$image"
    web_port=$(free_port) face_port=$(free_port)
    cat > "$work/nginx.conf" << NGINX
worker_processes 1;
daemon off;
user root;
pid $work/nginx.pid;
error_log $work/nginx.log;
events {}
http {
    access_log off;
    sendfile on;
    client_body_temp_path $work/nginx-body;
    proxy_temp_path $work/nginx-proxy;
    fastcgi_temp_path $work/nginx-fastcgi;
    uwsgi_temp_path $work/nginx-uwsgi;
    scgi_temp_path $work/nginx-scgi;
    server { listen 127.0.0.1:$web_port; root $work/served; }
}
NGINX
    nginx -c "$work/nginx.conf" > "$work/nginx.out" 2>&1 &
    on_exit end_process $!
    use_home "$work/first"
    "$CCNFS" node --listen "tcp:127.0.0.1:$face_port" > "$work/repository.log" 2>&1 &
    on_exit end_process $!
    wait_until 20 grep -q '^listening' "$work/repository.log"
    url=http://127.0.0.1:$web_port/image.raw
    is_served() { curl -sfo /dev/null -r 0-0 "$url"; }
    wait_until 20 is_served
    # cold_peer URL: a file at $work/cold-peer/disk; until end_cold_peer
    cold_peer() {
        : > "$work/cold-peer/disk"
        nbdfuse "$work/cold-peer/disk" --command nbdkit -s --filter=cache curl "$1" > "$work/nbdfuse.log" 2>&1 &
        peer_pid=$!
        on_exit unmount_hard "$work/cold-peer/disk"
        on_exit end_process "$peer_pid"
        wait_until 20 is_mounted "$work/cold-peer/disk"
    }
    end_cold_peer() {
        unmount_hard "$work/cold-peer/disk"
        end_process "$peer_pid"
    }
    # cold_node PORT: one that has nothing yet; sets cold to the template's disk. Until stop_node
    cold_node() {
        rm -rf "$work/cold"
        use_home "$work/cold"
        ccnfs trust add ccnx:/mycorp.com "${key%.pem}.pub" > /dev/null
        start_node "$work/cold-mnt" --route "ccnx:/mycorp.com=tcp:127.0.0.1:$1"
        cold=$work/cold-mnt/mycorp.com/app1/linuxvm/disk0
        wait_until 20 test -f "$cold"
    }
    # What comes with a catalog is here: three looks 0.1 s apart see the same.
    nothing_comes() {
        local before
        before=$(came)
        sleep 0.1
        [ "$before" = "$(came)" ] && sleep 0.1 && [ "$before" = "$(came)" ]
    }
    came() { ccnfs status --json | jq .store.fetchedObjects; }
    for ((round = 1; round <= rounds; round++)); do
        progress "first read, round $round of $rounds"
        cat "$image" > /dev/null
        timed curl -sf "$url" -o /dev/null
        copied=$elapsed
        timed openssl dgst -sha256 "$image"
        floor=$(awk -v a="$copied" -v b="$elapsed" -v size="$size" 'BEGIN { printf "%.0f", size / (a > b ? a : b) / 1e6 }')
        record "first read, copied or hashed" MB/s peer "$floor"
        cold_peer "$url"
        record "first read, nbdkit and nbdfuse" MB/s peer "$(read_speed "$work/cold-peer/disk")"
        end_cold_peer
        cold_node "$face_port"
        speed=$(read_speed "$cold")
        record "first read, copied or hashed" MB/s ours "$speed"
        record "first read, nbdkit and nbdfuse" MB/s ours "$speed"
        stop_node "$work/cold-mnt" "$node_pid"
    done

    # ---- small reads at random of what is not here

    # far PORT: sets far_port, which leads there through a proxy that makes it DELAY_MILLISECONDS away
    far() {
        local log=$work/far-$1
        # The proxy's delay is of each way.
        printf '{"delay": %s}\n' "$((DELAY_MILLISECONDS / 2))" > "$work/far.json"
        "$scripts/fault-proxy.py" --listen 127.0.0.1:0 --to "127.0.0.1:$1" --control "$work/far.json" > "$log" 2>&1 &
        on_exit end_process $!
        wait_until 20 grep -q '^listening' "$log"
        far_port=$(sed -n 's/^listening //p' "$log")
    }
    # cold_reads WHERE WEB-PORT FACE-PORT COUNT: all three, as rows
    cold_reads() {
        local where=$1 count=$4 trip times
        trip=$("$scripts/cold-reads.py" trip "$2" /image.raw --count 20)
        cold_peer "http://127.0.0.1:$2/image.raw"
        times=$("$scripts/cold-reads.py" read "$work/cold-peer/disk" "$image" --count "$count" --seed "$round")
        end_cold_peer
        record "cold read 4k, $where, nbdkit" ms peer "${times#* }"
        record "cold read 4k, $where, a round trip" ms peer "$trip"
        record "very first read 4k, $where" ms peer "$trip"
        cold_node "$3"
        wait_until 20 nothing_comes
        times=$("$scripts/cold-reads.py" read "$cold" "$image" --count "$count" --seed "$round")
        stop_node "$work/cold-mnt" "$node_pid"
        record "cold read 4k, $where, nbdkit" ms ours "${times#* }"
        record "cold read 4k, $where, a round trip" ms ours "${times#* }"
        record "very first read 4k, $where" ms ours "${times% *}"
    }
    far "$web_port"
    far_web_port=$far_port
    far "$face_port"
    far_face_port=$far_port
    for ((round = 1; round <= rounds; round++)); do
        progress "cold read, round $round of $rounds"
        cold_reads "here" "$web_port" "$face_port" 200
        cold_reads "$DELAY_MILLISECONDS ms" "$far_web_port" "$far_face_port" 50
    done
else
    progress "no first read: it wants nginx, nbdkit, nbdfuse (libnbd-bin) and curl"
fi

python3 - "$figures" "${BENCH_JSON:-}" "$size" << 'PYTHON'
import json
import os
import statistics
import sys

figures, json_path, size = sys.argv[1:4]
# What the ratio must keep, and in which direction it is good.
goals = {
    "publish, first time": ("<=", 2.0),
    # Both files in the page cache, each in its own filesystem's.
    "read 1M, in the mount's page cache": (">=", 1 / 3),
    "random read 4k, QD1, psync": (">=", 1.0),
    "random read 4k, QD1, libaio": (">=", 1.0),
    "write 4k, QD1": (">=", 1.0),
    "write 4k, QD16": (">=", 1.0),
    "randwrite 4k, QD1": (">=", 1.0),
    "randwrite 4k, QD16": (">=", 1.0),
    "randwrite 4k + fsync, QD1": (">=", 1.0),
    "write 1M, QD1": (">=", 1.0),
    # The peer's is not synchronized when it is answered, ours is.
    "snapshot": ("<=", 0.2),
    "deploy 100 VMs, mkdir and cp": ("<=", 0.2),
    "deploy 100 VMs, one command": ("<=", 0.2),
    "first read, nbdkit and nbdfuse": (">=", 2.0),
    "first read, copied or hashed": (">=", 0.3),
    # One round trip, not two.
    "cold read 4k, 20 ms, a round trip": ("<=", 1.5),
    "very first read 4k, 20 ms": ("<=", 1.5),
}
rows = {}
for line in open(figures):
    name, unit, side, value = line.rstrip("\n").split("\t")
    rows.setdefault((name, unit), {"ours": [], "peer": []})[side].append(float(value))

report = []
print(f"{'name':36} {'ours':>12} {'peer':>12} {'ratio':>7}  goal")
for (name, unit), values in rows.items():
    ours, peer = statistics.median(values["ours"]), statistics.median(values["peer"])
    ratio = ours / peer if peer else float("inf")
    entry = {"name": name, "unit": unit, "ours": ours, "peer": peer, "ratio": round(ratio, 3),
             "rounds": values}
    verdict = ""
    if name in goals:
        sign, limit = goals[name]
        met = ratio <= limit if sign == "<=" else ratio >= limit
        entry["goal"], entry["met"] = f"{sign} {limit:.2f}", met
        verdict = f"{sign} {limit:.2f} " + ("met" if met else "MISSED")
    report.append(entry)
    digits = 3 if unit in ("s", "ms") else 0
    print(f"{name:36} {ours:>7.{digits}f} {unit:4} {peer:>7.{digits}f} {unit:4} {ratio:>7.2f}  {verdict}")
if json_path:
    with open(json_path, "w") as out:
        json.dump({"cpus": os.cpu_count(), "image_bytes": int(size), "results": report}, out, indent=2)
        out.write("\n")
PYTHON
finish
