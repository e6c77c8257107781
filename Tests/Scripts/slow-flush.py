#!/usr/bin/env python3
"""What 47-slow-flush.sh does beside a flush that takes seconds, and what must be there afterwards.

    slow-flush.py write VMS --ccnfs TOOL --mib N
    slow-flush.py look  VMS

VMS is `localhost` in the mount. `write` ends with 3 if the flush was through before blocks were merged. Python's
standard library only.
"""

import argparse
import os
import subprocess
import sys
import threading
import time

BLOCK = 4096
MIB = 1024 * 1024
# Blocks that are written before the snapshot, and after it: more of them, so that the fewer move to these.
EARLY, LATER = range(0, 16, 2), range(200, 328, 2)
# What makes a flush slow lies behind them.
LUMP = 64 * MIB
TOO_QUICK = 3


def bytes_of(number):
    return f"block {number:6}".encode() * 341 + bytes(4)


def open_disk(vms, vm, size=0):
    os.makedirs(os.path.join(vms, vm), exist_ok=True)
    file = os.open(os.path.join(vms, vm, "disk0"), os.O_RDWR | os.O_CREAT, 0o644)
    if size:
        os.ftruncate(file, size)
    return file


class SlowFlush(threading.Thread):
    def __init__(self, file):
        super().__init__(daemon=True)
        self.file = file
        self.seconds = 0

    def run(self):
        started = time.monotonic()
        os.fsync(self.file)
        self.seconds = time.monotonic() - started


def write(arguments):
    size = LUMP + arguments.mib * MIB
    snapshot = os.path.join(arguments.vms, "slow", ".snapshots", "early")
    slow = open_disk(arguments.vms, "slow", size)
    for number in EARLY:
        os.pwrite(slow, bytes_of(number), number * BLOCK)
    os.fsync(slow)
    os.mkdir(snapshot)
    for number in LATER:
        os.pwrite(slow, bytes_of(number), number * BLOCK)
    # The copy and the disk have these blocks in common from here on, and nobody synchronized them.
    copy = open_disk(arguments.vms, "copy")
    left = size
    while left > 0:
        left -= os.copy_file_range(slow, copy, left)
    lump = os.urandom(MIB)
    for number in range(arguments.mib):
        os.pwrite(slow, lump, LUMP + number * MIB)
    flush = SlowFlush(slow)
    flush.start()
    time.sleep(0.1)
    os.fsync(copy)
    # What a copy under way shows is not merged.
    os.close(copy)
    overtaken = flush.is_alive()
    os.rmdir(snapshot)
    # Ends when its blocks are merged.
    subprocess.run([arguments.ccnfs, "reclaim"], check=True, stdout=subprocess.DEVNULL)
    beside = flush.is_alive()
    flush.join()
    # Whatever a flush leaves for later.
    time.sleep(1)
    print(f"the flush took {flush.seconds:.1f} s; overtaken: {overtaken}, also by the reclaimer: {beside}")
    os.close(slow)
    return 0 if beside else TOO_QUICK


def look(arguments):
    wrong = []
    for vm in ("slow", "copy"):
        file = open_disk(arguments.vms, vm)
        wrong += [f"{vm}: block {number}" for number in [*EARLY, *LATER]
                  if os.pread(file, BLOCK, number * BLOCK) != bytes_of(number)]
        os.close(file)
    print(f"{len(wrong)} blocks are not what was written: {wrong[:4]}")
    return 1 if wrong else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["write", "look"])
    parser.add_argument("vms")
    parser.add_argument("--ccnfs")
    parser.add_argument("--mib", type=int, default=2000)
    arguments = parser.parse_args()
    return {"write": write, "look": look}[arguments.action](arguments)


if __name__ == "__main__":
    sys.exit(main())
