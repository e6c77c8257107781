"""Numbered writes whose order can be read back from a disk; what may be there after a death.

Imported by answered-writes.py, and by the load and the checks of kill-matrix.py and power-cut.py. Python's
standard library only.

A writer numbers what it does. Each block that it writes says whose it is, its number, and the last
number that every other writer was answered when it was sent. So what a disk shows can be asked:

- after the death of the node: does each block hold the last answered write, or one under way?
- after a power cut: does each block hold what was last synchronized, or something later?
- of a snapshot: is there one number for each writer, so that all blocks of all disks are those of
  that moment, and no writer's moment is before an answer that another one had seen?

What happened is a list of events in the order in which it was seen (`Story`). A writer waits for each
answer, so its numbers are the order on the disk. Writers never share a block; their blocks lie two by
two beside each other, so they share bytes of a disk's map.
"""

import ctypes
import ctypes.util
import hashlib
import os
import random
import struct
import threading
import time

BLOCK = 4096
# As many states as a page of a disk's map holds: blocks around it lie in different pages.
MAP_PAGE_BLOCKS = 4096
CLUSTER_BLOCKS = 64

MAGIC = b"ccnfswrt"
HEADER = struct.Struct("<8sIIQQQQ16x")
WRITERS = 3

ZEROS = ("zeros",)
BASE = ("base",)
DAMAGED = ("damaged",)
ZERO_BLOCK = bytes(BLOCK)

KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 0x01, 0x02, 0x10

_libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong]


def fallocate(file, mode, offset, length):
    if _libc.fallocate(file, mode, offset, length) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def blocks_of(size):
    """The blocks of a disk that writers write: its first ones, those around a border between pages
    of its map if it has one, its last ones."""
    count = size // BLOCK
    chosen = set(range(0, min(CLUSTER_BLOCKS, count)))
    if count > MAP_PAGE_BLOCKS + CLUSTER_BLOCKS:
        chosen |= set(range(MAP_PAGE_BLOCKS - CLUSTER_BLOCKS // 2, MAP_PAGE_BLOCKS + CLUSTER_BLOCKS // 2))
    chosen |= set(range(max(0, count - CLUSTER_BLOCKS), count))
    return sorted(chosen)


def block_of(writer, number, place, seen):
    header = HEADER.pack(MAGIC, writer, place, number, *seen)
    return header + hashlib.blake2b(header).digest() * ((BLOCK - HEADER.size) // 64)


class Reader:
    """Says what a block of a disk is, given what the disk was before anybody wrote to it."""

    def __init__(self, base):
        self.base = base
        self.seen = {}

    def token(self, place, data):
        if data[:8] == MAGIC:
            _, writer, own_place, number, *seen = HEADER.unpack(data[:HEADER.size])
            if own_place == place and data == block_of(writer, number, place, seen):
                self.seen[writer, number] = seen
                return ("write", writer, number)
            return DAMAGED
        if data == ZERO_BLOCK:
            return ZEROS
        if data == self.base[place * BLOCK:(place + 1) * BLOCK]:
            return BASE
        return DAMAGED

    def tokens(self, path, places):
        """What each of the blocks of a file is."""
        found = {}
        file = os.open(path, os.O_RDONLY)
        try:
            for place in places:
                found[place] = self.token(place, os.pread(file, BLOCK, place * BLOCK))
        finally:
            os.close(file)
        return found


class Story:
    """Events in the order in which they were seen, by any number of threads."""

    def __init__(self, numbers=None):
        self.events = []
        # The last number of each writer before all events, and the last one that was answered.
        self.numbers = list(numbers or [0] * WRITERS)
        self.answered = list(self.numbers)

    def say(self, *event):
        # One append is one step for all threads.
        self.events.append(event)
        return len(self.events) - 1


class Writer(threading.Thread):
    """Writes numbered blocks to its disks in turn until it is stopped or an operation fails.

    `paths` is of disk to path. With `dsync` every write is O_DSYNC; otherwise they are buffered, with
    holes punched and ranges zeroed in between and an fsync now and then.
    """

    def __init__(self, story, number, paths, size, seed, dsync=False, sync_every=40, pause=0.0):
        super().__init__(daemon=True)
        self.story = story
        self.number = number
        self.paths = paths
        self.dsync = dsync
        self.sync_every = sync_every
        self.next = story.numbers[number] + 1
        self.pause = pause
        self.dice = random.Random(seed)
        # Pairs of neighbours, shared out in turn.
        places = set(blocks_of(size))
        self.pairs = [place for place in sorted(places) if place % 2 == 0 and place + 1 in places
                      and place // 2 % WRITERS == number]
        self.stopping = threading.Event()
        self.error = None

    def run(self):
        flags = os.O_RDWR | (os.O_DSYNC if self.dsync else 0)
        files = {}
        try:
            for disk, path in self.paths.items():
                files[disk] = os.open(path, flags)
            while not self.stopping.is_set():
                for disk, file in files.items():
                    self.one(disk, file)
                    if self.pause:
                        time.sleep(self.pause)
        except OSError as error:
            self.error = error
        finally:
            for file in files.values():
                try:
                    os.close(file)
                except OSError:
                    pass

    def one(self, disk, file):
        number, story = self.next, self.story
        place = self.dice.choice(self.pairs)
        count = self.dice.choice([1, 1, 2])
        kind = "write"
        if not self.dsync:
            kind = self.dice.choice(["write"] * 6 + ["punch", "zero"])
            if number % self.sync_every == 0:
                kind = "sync"
        self.next += 1
        seen = list(story.answered)
        story.say("sent", self.number, number, kind, disk, place, count)
        if kind == "write":
            data = b"".join(block_of(self.number, number, place + index, seen) for index in range(count))
            if os.pwrite(file, data, place * BLOCK) != len(data):
                raise OSError(0, "a write was cut short")
        elif kind == "punch":
            fallocate(file, PUNCH_HOLE | KEEP_SIZE, place * BLOCK, count * BLOCK)
        elif kind == "zero":
            fallocate(file, ZERO_RANGE, place * BLOCK, count * BLOCK)
        else:
            os.fsync(file)
        story.say("answered", self.number, number)
        story.answered[self.number] = number

    def stop(self):
        self.stopping.set()
        self.join()


def token_of(operation):
    _, writer, number, kind, *_ = operation
    return ("write", writer, number) if kind == "write" else ZEROS


def blocks_touched(operation):
    _, _, _, kind, disk, place, count = operation
    return [] if kind == "sync" else [(disk, block) for block in range(place, place + count)]


def operations(events):
    """Each writer's operations in their order, with the indices of the events that sent and
    answered them."""
    found = {}
    for index, event in enumerate(events):
        if event[0] == "sent":
            found[event[1], event[2]] = [event, index, None]
        elif event[0] == "answered" and (event[1], event[2]) in found:
            found[event[1], event[2]][2] = index
    return found


def allowed(start, events, dsync_writers=(), power_cut=False):
    """What each block may be now: {(disk, place): [token, …]}.

    `start` is what it was before the events: the same shape with one token each. Without a power cut
    the last answered operation counts; with one, what was answered before a sync of the same disk
    was sent: an fsync, a write of a writer that uses O_DSYNC, a snapshot.
    """
    # The last entries may be there; the first is the one that must be there if no later one is.
    entries = {key: [(token, -1)] for key, token in start.items()}
    pending = set()
    sent = {}

    def settle(keys, before):
        """What was answered before that event is on stable storage."""
        for key in list(keys):
            chain = entries[key]
            last = max((index for index, (_, answered) in enumerate(chain)
                        if answered is not None and answered < before), default=0)
            del chain[:last]
            if len(chain) == 1:
                pending.discard(key)

    for index, event in enumerate(events):
        what = event[0]
        if what == "sent":
            sent[event[1], event[2]] = (event, index)
            for key in blocks_touched(event):
                entries.setdefault(key, [(BASE, -1)]).append((token_of(event), None))
                pending.add(key)
        elif what == "answered":
            operation, at = sent[event[1], event[2]]
            writer, kind, disk = operation[1], operation[3], operation[4]
            keys = blocks_touched(operation)
            for key in keys:
                chain = entries[key]
                # It is the writer's last one on this block.
                chain[-1] = (chain[-1][0], index)
            if not power_cut:
                settle(keys, index + 1)
            else:
                if writer in dsync_writers:
                    settle(keys, index + 1)
                if kind == "sync" or writer in dsync_writers:
                    settle([key for key in pending if key[0] == disk], at)
        elif what == "answered-sync" and power_cut:
            # ("answered-sync", index of the event that sent it, disks)
            settle([key for key in pending if key[0] in event[2]], event[1])
    return {key: [token for token, _ in chain] for key, chain in entries.items()}


def differences(found, may_be, text="block"):
    """Sentences about blocks that are not what they may be."""
    wrong = []
    for key, token in found.items():
        if token not in may_be.get(key, [BASE]):
            wrong.append(f"{text} {key[1]} of {key[0]} is {token}, may be {may_be.get(key, [BASE])[:6]}")
    return wrong


def moment(tokens, start, story, sent_at, answered_at, reader_seen):
    """Whether `tokens`, {(disk, place): token}, is one moment between the events that sent and
    answered what took it. `answered_at` is None if it was never answered; `start` is what each block
    was before all events.

    Returns sentences about what is wrong; none if it is one moment.
    """
    events = story.events
    end = answered_at if answered_at is not None else len(events)
    every = operations(events)
    wrong, chosen = [], {}
    for writer in sorted({writer for writer, _ in every}):
        own = sorted((number, operation, sent, answered)
                     for (who, number), (operation, sent, answered) in every.items() if who == writer)
        low = max((number for number, _, _, answered in own
                   if answered is not None and answered < sent_at), default=story.numbers[writer])
        candidates = [entry for entry in own if entry[2] < end]
        touched = {key for _, operation, _, _ in own for key in blocks_touched(operation)} & set(tokens)
        state = {key: start.get(key, BASE) for key in touched}
        unequal = {key for key in touched if state[key] != tokens[key]}
        at_start = low == story.numbers[writer]
        good = [low] if at_start and not unequal else []
        last_wrong = set(unequal) if at_start else set(touched)
        for number, operation, _, _ in candidates:
            for key in blocks_touched(operation):
                if key in touched:
                    state[key] = token_of(operation)
                    (unequal.discard if state[key] == tokens[key] else unequal.add)(key)
            if number >= low:
                if not unequal:
                    good.append(number)
                elif not good and len(unequal) < len(last_wrong):
                    last_wrong = set(unequal)
        if not good:
            key = sorted(last_wrong)[0] if last_wrong else None
            wrong.append(
                f"no moment of writer {writer} from {low} to {candidates[-1][0] if candidates else 0}: at best "
                f"{len(last_wrong)} blocks differ, such as {key}: {tokens.get(key)}")
            continue
        chosen[writer] = good
    written = {key for operation, _, _ in every.values() for key in blocks_touched(operation)}
    still = {key: [token] for key, token in start.items() if key in tokens and key not in written}
    wrong += differences({key: tokens[key] for key in still}, still, "untouched block")
    for writer, good in chosen.items():
        # What the writer had seen when it sent its earliest possible last write that shows.
        shown = [token[2] for token in tokens.values() if token[0] == "write" and token[1] == writer]
        if not shown:
            continue
        seen = reader_seen.get((writer, max(shown)), [0] * WRITERS)
        for other, numbers in chosen.items():
            if other != writer and numbers[-1] < seen[other]:
                wrong.append(f"shows write {max(shown)} of writer {writer}, which was sent after the answer to "
                             f"{seen[other]} of writer {other}, but of that one only up to {numbers[-1]}")
    return wrong
