#!/usr/bin/env python3
"""System calls on disks that no ordinary tool makes, or makes one of at a time.

    disk-calls.py errno CALL PATH [ARGUMENT]...   prints OK or the error's symbol, such as EBUSY
    disk-calls.py hold FILE [--fork]              has it open until it is ended
    disk-calls.py data FILE                       bytes that SEEK_DATA and SEEK_HOLE call data
    disk-calls.py copy FROM TO --piece N [--at N] [--to N] [--length N] [--pause S]
    disk-calls.py dsync FILE BYTE OFFSET... [--cut DIRECTORY]
                                                  4 KiB each by pwritev with RWF_DSYNC, no fsync, no close
    disk-calls.py fill FILE --seed N --first N [--count N] [--verify]
    disk-calls.py ping-pong FIRST SECOND          until it is ended; two writers in turn
    disk-calls.py moment FIRST [SECOND]           whether they show one moment of ping-pong
    disk-calls.py latency FILE --write|--read [--seconds S] [--span BYTES]
    disk-calls.py snapshots VM --count N [--first N] [--blocks N] [--pause S] [--seed N]

    disk-calls.py drops VM [--rounds N] [--seed N]

`drops` takes snapshots with writes to disk0 between, and drops most of them while others are opened and
read over and over. CALL is open-write, open-truncate, truncate SIZE, write OFFSET, read OFFSET, fsync, create, unlink,
mkdir, rmdir, rename TO. What a command finds wrong ends it with status 1. Python's standard library
only.
"""

import argparse
import errno
import fcntl
import hashlib
import json
import mmap
import os
import random
import statistics
import struct
import sys
import threading
import time

BLOCK = 4096
PIECE = 65536
# Where ping-pong writes in its two disks: far from each other, in different pages of any map.
PING_PONG_PLACES = [0, 5 * 1024 * 1024 + BLOCK, 11 * 1024 * 1024]


def aligned(length):
    """Memory that O_DIRECT takes."""
    return mmap.mmap(-1, length)


# ---- one call


def call(arguments):
    path, more = arguments.path, arguments.more

    def opened(flags, action):
        file = os.open(path, flags)
        try:
            action(file)
        finally:
            os.close(file)

    calls = {
        "open-write": lambda: opened(os.O_WRONLY, lambda file: None),
        "open-truncate": lambda: opened(os.O_WRONLY | os.O_TRUNC, lambda file: None),
        "truncate": lambda: os.truncate(path, int(more[0])),
        "write": lambda: opened(os.O_WRONLY, lambda file: os.pwrite(file, b"w" * BLOCK, int(more[0]))),
        # Past the kernel's pages: the node itself has to answer.
        "read": lambda: opened(os.O_RDONLY | os.O_DIRECT,
                               lambda file: os.preadv(file, [aligned(BLOCK)], int(more[0]))),
        "fsync": lambda: opened(os.O_RDWR, os.fsync),
        "create": lambda: os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)),
        "unlink": lambda: os.unlink(path),
        "mkdir": lambda: os.mkdir(path),
        "rmdir": lambda: os.rmdir(path),
        "rename": lambda: os.rename(path, more[0]),
    }
    try:
        calls[arguments.call]()
    except OSError as error:
        print(errno.errorcode.get(error.errno, error.errno))
    else:
        print("OK")
    return 0


def hold(arguments):
    file = os.open(arguments.file, os.O_RDWR)
    os.pread(file, 1, 0)
    if arguments.fork:
        # A child's copy of the descriptor is closed; this one is not.
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
    os.write(1, b"open\n")
    while True:
        time.sleep(60)


# ---- data, holes, copies


def data_runs(file, size):
    place = 0
    while place < size:
        try:
            start = os.lseek(file, place, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return
        place = os.lseek(file, start, os.SEEK_HOLE)
        yield start, place


def data(arguments):
    file = os.open(arguments.file, os.O_RDONLY)
    size = os.fstat(file).st_size
    total, before = 0, 0
    for start, end in data_runs(file, size):
        if not before <= start < end <= size:
            print(f"the run {start}..{end} cannot be, after {before} of {size}")
            return 1
        # What is called a hole reads as zeros.
        check = before
        while check < start:
            piece = os.pread(file, min(start - check, 1 << 20), check)
            if piece.strip(b"\0"):
                print(f"there is data in the hole {before}..{start}")
                return 1
            check += len(piece)
            if arguments.quick:
                break
        total, before = total + end - start, end
    print(total)
    return 0


def copy(arguments):
    source, target = os.open(arguments.source, os.O_RDONLY), os.open(arguments.target, os.O_WRONLY)
    length = arguments.length
    if length is None:
        length = os.fstat(source).st_size - arguments.at
    calls, done = 0, 0
    while done < length:
        count = os.copy_file_range(source, target, min(arguments.piece, length - done),
                                   arguments.at + done, arguments.to + done)
        if count == 0:
            print(f"the source ended after {done} of {length} bytes")
            return 1
        done += count
        calls += 1
        time.sleep(arguments.pause)
    print(calls)
    return 0


def dsync(arguments):
    """Writes; then the filesystem at `--cut` stops, before a close could make anything durable."""
    file = os.open(arguments.file, os.O_WRONLY)
    for offset in arguments.offsets:
        if os.pwritev(file, [bytes([arguments.byte]) * BLOCK], offset, os.RWF_DSYNC) != BLOCK:
            print(f"the write at {offset} was cut short")
            return 1
    if arguments.cut:
        # FS_IOC_SHUTDOWN with FS_SHUTDOWN_FLAGS_NOLOGFLUSH: nothing in memory reaches the disk any more.
        fcntl.ioctl(os.open(arguments.cut, os.O_RDONLY), 0x8004587D, struct.pack("I", 2))
    return 0


# ---- filling a disk


def piece(seed, number):
    return random.Random(f"{seed}/{number}").randbytes(PIECE)


def fill(arguments):
    """Writes pieces until an error; prints how many were answered, and the error."""
    number, last = arguments.first, arguments.first + arguments.count
    file = os.open(arguments.file, os.O_RDONLY if arguments.verify else os.O_WRONLY)
    problem = "none"
    while number < last:
        expected = piece(arguments.seed, number)
        if arguments.verify:
            if os.pread(file, PIECE, number * PIECE) != expected:
                print(f"piece {number} is not what was answered")
                return 1
        else:
            try:
                written = os.pwrite(file, expected, number * PIECE)
            except OSError as error:
                problem = errno.errorcode[error.errno]
                break
            if written < PIECE:
                # What follows a short write says why.
                continue
        number += 1
    print(number, problem)
    return 0


# ---- one moment


def ping_pong(arguments):
    """Two processes; each writes a number to its disk, then it is the other's turn.

    At every moment the first disk's number is the second's or one more, at each of the places.
    """
    there, back = os.pipe(), os.pipe()
    child = os.fork()
    path, mine, other = ((arguments.second, there[0], back[1]) if child == 0
                         else (arguments.first, back[0], there[1]))
    os.close(there[1] if child == 0 else there[0])
    os.close(back[0] if child == 0 else back[1])
    file = os.open(path, os.O_RDWR | os.O_DIRECT)
    memory = aligned(BLOCK)
    number = 0
    if child != 0:
        os.write(1, b"writing\n")
    while True:
        number += 1
        if child == 0 or number > 1:
            if not os.read(mine, 1):
                return 0
        memory[:8] = struct.pack("<Q", number)
        for place in PING_PONG_PLACES:
            os.pwrite(file, memory, place)
        try:
            os.write(other, b".")
        except BrokenPipeError:
            return 0


def moment(arguments):
    """In the order of writing numbers never rise, and the last is the first or one less."""
    numbers = []
    for path in arguments.disks:
        with open(path, "rb") as disk:
            for place in PING_PONG_PLACES:
                disk.seek(place)
                block = disk.read(BLOCK)
                # A block nobody wrote yet may be the template's.
                numbers.append(struct.unpack("<Q", block[:8])[0] if not block[8:].strip(b"\0") else 0)
    print(*numbers)
    good = numbers[0] - numbers[-1] in (0, 1) and all(
        before >= after for before, after in zip(numbers, numbers[1:]))
    return 0 if good else 1


# ---- time


def drawn_places(arguments, file):
    """As many blocks of a disk as wanted, each once; for one seed the same. None: all of it."""
    span = (arguments.span or os.fstat(file).st_size) // BLOCK
    dice = random.Random(arguments.seed)
    return dice.sample(range(span), arguments.places) if arguments.places else range(span)


def latency(arguments):
    """4 KiB, O_DIRECT, one after the other at random places; microseconds as JSON."""
    flags = os.O_DIRECT | (os.O_RDWR if arguments.write else os.O_RDONLY)
    file = os.open(arguments.file, flags)
    places = drawn_places(arguments, file)
    dice = random.Random(arguments.seed)
    memory = aligned(BLOCK)
    memory[:] = dice.randbytes(BLOCK)
    times = []
    until = time.monotonic() + arguments.seconds
    while time.monotonic() < until:
        place = dice.choice(places) * BLOCK
        started = time.perf_counter_ns()
        if arguments.write:
            os.pwrite(file, memory, place)
        else:
            os.preadv(file, [memory], place)
        times.append((time.perf_counter_ns() - started) / 1000)
    times.sort()
    print(json.dumps({
        "count": len(times),
        "median": round(statistics.median(times), 1),
        "p99": round(times[len(times) * 99 // 100], 1),
        "max": round(times[-1], 1),
    }))
    return 0


def snapshots(arguments):
    """Takes snapshots with writes to the VM's disk0 between; milliseconds of each mkdir as JSON."""
    disk = os.open(f"{arguments.vm}/disk0", os.O_RDWR | os.O_DIRECT)
    places = drawn_places(arguments, disk)
    dice = random.Random(arguments.seed)
    memory = aligned(BLOCK)
    times = []
    for number in range(arguments.count):
        memory[:] = dice.randbytes(BLOCK)
        if arguments.places:
            written = places[number * len(places) // arguments.count:(number + 1) * len(places) // arguments.count]
        else:
            written = [dice.choice(places) for _ in range(arguments.blocks)]
        for place in written:
            os.pwrite(disk, memory, place * BLOCK)
        started = time.perf_counter_ns()
        os.mkdir(f"{arguments.vm}/.snapshots/s{number}")
        times.append((time.perf_counter_ns() - started) / 1e6)
        time.sleep(arguments.pause)
    print(json.dumps({"count": len(times), "median": round(statistics.median(times), 3),
                      "max": round(max(times), 3)}))
    return 0


def drops(arguments):
    """What is left shows what it showed, at every moment."""
    disk = os.open(f"{arguments.vm}/disk0", os.O_RDWR)
    # Little, so that a look is soon over and begins anew.
    span = min(os.fstat(disk).st_size, 1 << 20)
    dice = random.Random(arguments.seed)
    problems, looks = [], 0

    def look(path, expected, stop):
        nonlocal looks
        while not stop.is_set() and not problems:
            looks += 1
            try:
                file = os.open(path, os.O_RDONLY)
                # The node is to answer, not the kernel's pages.
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
                found = hashlib.sha256(os.pread(file, span, 0)).digest()
                os.close(file)
                if found != expected:
                    problems.append(f"{path} shows other bytes")
            except OSError as error:
                problems.append(str(error))

    for number in range(arguments.rounds):
        expected = []
        for index in range(8):
            for _ in range(20):
                os.pwrite(disk, dice.randbytes(BLOCK), dice.randrange(span // BLOCK) * BLOCK)
            os.mkdir(f"{arguments.vm}/.snapshots/d{number}-{index}")
            expected.append(hashlib.sha256(os.pread(disk, span, 0)).digest())
        os.fsync(disk)
        stop, kept = threading.Event(), (3, 7)
        lookers = [
            threading.Thread(target=look, args=(f"{arguments.vm}/.snapshots/d{number}-{index}/disk0",
                                                expected[index], stop))
            for index in kept
        ]
        for looker in lookers:
            looker.start()
        for index in (0, 1, 2, 4, 5, 6):
            os.rmdir(f"{arguments.vm}/.snapshots/d{number}-{index}")
            time.sleep(0.01)
        # Space comes back behind it.
        time.sleep(0.3)
        stop.set()
        for looker in lookers:
            looker.join()
        for index in kept:
            os.rmdir(f"{arguments.vm}/.snapshots/d{number}-{index}")
        if problems:
            break
    print(f"{looks} looks", *problems)
    return 1 if problems else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name, action, *positionals):
        added = commands.add_parser(name)
        added.set_defaults(action=action)
        for positional in positionals:
            added.add_argument(positional)
        return added

    added = command("errno", call, "call", "path")
    added.add_argument("more", nargs="*")
    added = command("hold", hold, "file")
    added.add_argument("--fork", action="store_true")
    added = command("data", data, "file")
    added.add_argument("--quick", action="store_true", help="look at each hole's beginning only")
    added = command("copy", copy, "source", "target")
    added.add_argument("--piece", type=int, required=True)
    added.add_argument("--at", type=int, default=0)
    added.add_argument("--to", type=int, default=0)
    added.add_argument("--length", type=int)
    added.add_argument("--pause", type=float, default=0, help="seconds between the calls")
    added = command("dsync", dsync, "file")
    added.add_argument("byte", type=int)
    added.add_argument("offsets", type=int, nargs="+")
    added.add_argument("--cut", help="the mount point of a filesystem")
    added = command("fill", fill, "file")
    added.add_argument("--seed", type=int, required=True)
    added.add_argument("--first", type=int, default=0)
    added.add_argument("--count", type=int, default=1 << 40)
    added.add_argument("--verify", action="store_true")
    command("ping-pong", ping_pong, "first", "second")
    command("moment", moment).add_argument("disks", nargs="+")
    added = command("latency", latency, "file")
    direction = added.add_mutually_exclusive_group(required=True)
    direction.add_argument("--read", action="store_true")
    direction.add_argument("--write", action="store_true")
    added.add_argument("--seconds", type=float, default=3)
    added.add_argument("--span", type=int, help="bytes from the beginning, default all")
    added.add_argument("--places", type=int, help="blocks drawn by the seed that are used, default all")
    added.add_argument("--seed", type=int, default=1)
    added = command("snapshots", snapshots, "vm")
    added.add_argument("--count", type=int, required=True)
    added.add_argument("--blocks", type=int, default=0, help="written before each, at random")
    added.add_argument("--places", type=int, help="blocks drawn by the seed: written once each, over all snapshots")
    added.add_argument("--pause", type=float, default=0, help="seconds after each")
    added.add_argument("--span", type=int)
    added.add_argument("--seed", type=int, default=1)

    added = command("drops", drops, "vm")
    added.add_argument("--rounds", type=int, default=5)
    added.add_argument("--seed", type=int, default=1)

    arguments = parser.parse_args()
    return arguments.action(arguments)


if __name__ == "__main__":
    sys.exit(main())
