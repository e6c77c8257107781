#!/usr/bin/env python3
"""Writes to a disk and remembers what was answered; later checks that all of it is there.

    answered-writes.py write  DISK LOG --seed N [--seconds S]
    answered-writes.py verify DISK LOG --seed N --base FILE [--adopt FILE] [--power-cut]

`write` runs four writers, each in its own quarter of the first REGION bytes: buffered at any offset
and length, O_DIRECT, O_DSYNC, buffered with now and then a hole punched (a write of zeros) or an fsync.
It notes each write in LOG before it is sent and once more when it was answered, and ends at the first
error (the node was killed) or when the time is over. Offsets, lengths and bytes come from the seed.

`verify` replays the log on what FILE holds. An answered write must be there; one that was sent and
not answered may be there, not, or in part. After a power cut only what an O_DSYNC write or an fsync
answered must be there; each byte of the other writes is the old or a new one. `--adopt` writes down
what was found: the base of the next round.
"""

import argparse
import mmap
import os
import random
import sys
import threading
import time

sys.dont_write_bytecode = True
from disk_history import KEEP_SIZE, PUNCH_HOLE, fallocate  # noqa: E402

REGION = 64 * 1024 * 1024
QUARTER = REGION // 4
KINDS = ["buffered", "direct", "dsync", "fsync"]
SMALL, LARGE = 512, 256 * 1024


def plan(seed, kind, sequence):
    """Where the writer's write of that number goes, and its bytes."""
    dice = random.Random(f"{seed}/{kind}/{sequence}")
    length = dice.choice([1, SMALL, 1000, 4096, 4096, 4096, 12288, 65536, LARGE])
    offset = dice.randrange(0, QUARTER - LARGE)
    if kind == "direct":
        length = max(512, length // 512 * 512)
        offset = offset // 512 * 512
    data = bytes(length) if is_hole(kind, sequence) else dice.randbytes(length)
    return KINDS.index(kind) * QUARTER + offset, data


def is_hole(kind, sequence):
    return kind == "fsync" and sequence % 5 == 0


def writer(kind, disk, log, seed, until, first, errors):
    flags = os.O_RDWR
    if kind == "direct":
        flags |= os.O_DIRECT
    elif kind == "dsync":
        flags |= os.O_DSYNC
    # Page-aligned memory, which O_DIRECT wants.
    memory = mmap.mmap(-1, LARGE)
    try:
        file = os.open(disk, flags)
        sequence = first
        while time.monotonic() < until:
            offset, data = plan(seed, kind, sequence)
            os.write(log, f"sent {kind} {sequence}\n".encode())
            if is_hole(kind, sequence):
                fallocate(file, PUNCH_HOLE | KEEP_SIZE, offset, len(data))
            else:
                memory[: len(data)] = data
                view = memoryview(memory)[: len(data)]
                written = os.pwrite(file, view, offset)
                view.release()
                if written != len(data):
                    raise OSError(0, f"{written} of {len(data)} bytes were written")
            if kind == "fsync" and sequence % 16 == 0:
                os.fsync(file)
            os.write(log, f"answered {kind} {sequence}\n".encode())
            sequence += 1
        os.close(file)
    except OSError as error:
        errors.append(f"{kind}: {error}")


def write(arguments):
    # O_APPEND: each line is one write(2), so lines of several threads do not mix.
    log = os.open(arguments.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    first = 1 + max((sequence for _, _, sequence in read_log(arguments.log)), default=0)
    until = time.monotonic() + arguments.seconds
    errors = []
    threads = [
        threading.Thread(target=writer,
                         args=(kind, arguments.disk, log, arguments.seed, until, first, errors))
        for kind in KINDS
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answered = sum(1 for what, _, _ in read_log(arguments.log) if what == "answered")
    print(f"{answered} writes answered; ended by: {'; '.join(errors) or 'the time'}")
    return 0 if answered else 1


def read_log(path):
    with open(path) as log:
        for line in log:
            words = line.split()
            # The last line may be cut if the writer itself was killed.
            if len(words) == 3 and line.endswith("\n"):
                yield words[0], words[1], int(words[2])


def durable(answered):
    """Parts what survives a power cut from what may not, by kind."""
    kept = {"dsync": answered.get("dsync", [])}
    last = max((number for number in answered.get("fsync", []) if number % 16 == 0), default=0)
    kept["fsync"] = [number for number in answered.get("fsync", []) if number <= last]
    lost = [(kind, number) for kind, numbers in answered.items() for number in numbers
            if number not in set(kept.get(kind, []))]
    return kept, lost


def take_what_is_there(model, actual, data, offset, first, end):
    """Of a write that may be lost: each of its bytes is the old or the new one."""
    there = actual[offset + first:offset + end]
    if model[offset + first:offset + end] == there:
        return
    if data[first:end] == there:
        model[offset + first:offset + end] = there
    elif end - first > 1:
        middle = (first + end) // 2
        take_what_is_there(model, actual, data, offset, first, middle)
        take_what_is_there(model, actual, data, offset, middle, end)


def verify(arguments):
    with open(arguments.base, "rb") as base:
        model = bytearray(base.read(REGION))
    model += bytes(REGION - len(model))
    with open(arguments.disk, "rb") as disk:
        actual = disk.read(REGION)
    answered, sent = {}, {}
    for what, kind, sequence in read_log(arguments.log):
        if what == "sent":
            sent[kind, sequence] = True
        elif (kind, sequence) in sent:
            del sent[kind, sequence]
            answered.setdefault(kind, []).append(sequence)
    count = 0
    if arguments.power_cut:
        answered, lost = durable(answered)
        sent.update(dict.fromkeys(lost, True))
    for kind in KINDS:
        # Each writer waits for its answer, so numbers are the order on the disk.
        for sequence in sorted(answered.get(kind, [])):
            offset, data = plan(arguments.seed, kind, sequence)
            model[offset:offset + len(data)] = data
            count += 1
    undecided = 0
    # The latest first: most of what an earlier one wrote is then known to be there already.
    for kind, sequence in sorted(sent, reverse=True):
        offset, data = plan(arguments.seed, kind, sequence)
        undecided += 1
        take_what_is_there(model, actual, data, offset, 0, len(data))
    if arguments.adopt:
        with open(arguments.adopt, "wb") as out:
            out.write(actual)
    if model == actual:
        print(f"{count} promised writes are there, {undecided} were not promised")
        return 0
    blocks = [place for place in range(0, REGION, 512)
              if model[place:place + 512] != actual[place:place + 512]]
    kinds = {KINDS[place // QUARTER] for place in blocks}
    print(f"{len(blocks)} sectors differ, the first at {blocks[0]}, of: {', '.join(sorted(kinds))}")
    zeros = sum(1 for place in blocks if not actual[place:place + 512].strip(b"\0"))
    print(f"{zeros} of them read as zeros; seed {arguments.seed}")
    return 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["write", "verify"])
    parser.add_argument("disk")
    parser.add_argument("log")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--base")
    parser.add_argument("--adopt")
    parser.add_argument("--power-cut", action="store_true")
    arguments = parser.parse_args()
    if arguments.action == "write":
        return write(arguments)
    if not arguments.base:
        parser.error("verify needs --base")
    return verify(arguments)


if __name__ == "__main__":
    sys.exit(main())
