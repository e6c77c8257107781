#!/usr/bin/env python3
"""Kills nodes at random while disks are read and written, and remembers what was answered.

    network-storm.py run    PLAN REPORT WRITTEN --seed N --seconds S
    network-storm.py verify PLAN REPORT WRITTEN

PLAN is JSON: `nodes`, each with `name`, `command`, `environment`, `log` and, of the one that is read from, `mount`; the
others, whom it asks, are called repository and peer; `image`, what the template and the VMs were made of; `template`
and `machines`, paths of disks below the mount; `evict`, the command that empties that node's cache.

`run` starts the nodes, then kills one of them with SIGKILL at a moment drawn from the seed, starts it again after a
while drawn from the seed, and so on; now and then it empties the cache, so that there is something to fetch. Readers
compare all they get with the image. Each machine has a writer, which numbers its blocks and notes a number as durable
when an fsync of it was answered. At the end all nodes are up; they are ended by SIGTERM. REPORT is JSON:

    plan       how many of each thing were done to whom
    reads      how many gave the right bytes, bytes, how many ended with an error, and the longest in seconds
    writes     how many were answered, how many were synchronized
    wrong      reads of bytes that are not the image's, or of a written block that are none of those written last
    hung       reads, writes or listings that took longer than LIMIT_SECONDS
    refused    those that failed with something else than EIO, or a write at all, while the node was up throughout
    lost       nodes that did not start again, or ended by themselves, or not in time

of which the last four are lists of sentences. `verify` looks on a mount that is there whether all that WRITTEN says was
synchronized can be read, and writes a report with `wrong` alone. Python's standard library only.
"""

import argparse
import collections
import contextlib
import ctypes
import errno
import hashlib
import json
import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time

BLOCK = 4096
# At the beginning of each machine's disk; what lies beyond is the image's throughout.
WRITTEN_BLOCKS = 512
READERS, LENGTHS = 6, [BLOCK, BLOCK, 16 * BLOCK, 64 * BLOCK]
# An object is waited for 10 s; what names a segment is two of them away at most, and may have to come too.
LIMIT_SECONDS = 35
START_SECONDS, END_SECONDS, TICK_SECONDS = 30, 30, 0.02
# Between two fsyncs of a writer, at most.
PAUSE_SECONDS = 0.02
# Of a killed node; the longest one is longer than an object is waited for.
ASKED = {"repository", "peer"}
AWAY_SECONDS = [0, 0, 0.1, 0.5, 1, 2.5, 12]
# Of sentences of one kind.
TOLD = 20
PR_SET_PDEATHSIG = 1
HEADER = struct.Struct("<8sIIQ")
MAGIC = b"ccnstorm"


def block_of(writer, place, number):
    header = HEADER.pack(MAGIC, writer, place, number)
    return header + hashlib.blake2b(header).digest() * 63 + bytes(BLOCK - HEADER.size - 63 * 64)


def number_in(data, writer, place):
    """The number of a written block; None if it is none of this writer and place."""
    if data[:8] != MAGIC:
        return None
    number = HEADER.unpack_from(data)[3]
    return number if data == block_of(writer, place, number) else None


def is_mounted(place):
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        return any(line.split()[4] == place for line in mounts)


def end_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


# ---- nodes


class Node:
    """One process of the product, started again and again. Of the main thread: a child dies with the thread it is of."""

    def __init__(self, said):
        self.name, self.command, self.log = said["name"], said["command"], said["log"]
        self.mount = said.get("mount")
        self.environment = dict(os.environ, **said["environment"])
        self.process, self.started, self.log_start = None, 0, 0
        self.is_up = False
        # When it is to be started again.
        self.due = 0

    def start(self):
        if self.mount and is_mounted(self.mount):
            subprocess.run(["umount", "-l", self.mount], check=False, stderr=subprocess.DEVNULL)
        with open(self.log, "ab") as log:
            self.log_start = log.tell()
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=end_with_parent)
        self.started = time.monotonic()

    def look(self):
        """Notes whether it has come up. Returns what is wrong with it, or None."""
        if self.process is None:
            return None
        if self.process.poll() is not None:
            return f"{self.name} ended by itself, status {self.process.returncode}: {self.last_words()}"
        if not self.is_up:
            self.is_up = is_mounted(self.mount) if self.mount else b"listening" in self.said()
        if not self.is_up and time.monotonic() - self.started > START_SECONDS:
            return f"{self.name} is not up after {START_SECONDS} s: {self.last_words()}"
        return None

    def said(self):
        with open(self.log, "rb") as log:
            log.seek(self.log_start)
            return log.read()

    def last_words(self):
        return self.said()[-600:].decode(errors="replace")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process, self.is_up = None, False

    def end(self):
        """By SIGTERM. Returns what is wrong with it, or None."""
        self.process.terminate()
        try:
            status = self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return f"{self.name} does not end in {END_SECONDS} s: {self.last_words()}"
        self.process, self.is_up = None, False
        return f"{self.name} ended with status {status}: {self.last_words()}" if status else None


# ---- what happened


class Record:
    """Guarded by its lock, but for `era`, which the main thread alone changes."""

    def __init__(self):
        self.lock = threading.Lock()
        self.counts = collections.Counter()
        self.sentences = {kind: [] for kind in ("wrong", "hung", "refused", "lost")}
        self.longest = 0
        # Odd while the node that is read from is up.
        self.era = 0
        self.is_over = False

    def tell(self, kind, text):
        print(f"{kind}: {text}", file=sys.stderr, flush=True)
        with self.lock:
            self.counts[kind] += 1
            if len(self.sentences[kind]) < TOLD:
                self.sentences[kind].append(text)

    def count(self, kind, number=1):
        with self.lock:
            self.counts[kind] += number

    def was_up(self, era):
        return era % 2 == 1 and era == self.era

    def report(self, plan):
        counts = self.counts
        return {
            "plan": plan,
            "reads": {"right": counts["right"], "bytes": counts["bytes"], "errors": counts["errors"],
                      "interrupted": counts["interrupted"], "longest": round(self.longest, 1)},
            "writes": {"answered": counts["written"], "synchronized": counts["synchronized"]},
            **self.sentences,
        }


class Worker(threading.Thread):
    """Does one thing after another to the mount; the main thread sees how long the present one takes."""

    def __init__(self, name, record, seed):
        super().__init__(name=name, daemon=True)
        self.record, self.dice = record, random.Random(f"{seed}/{name}")
        self.era, self.began, self.doing, self.is_told = 0, None, "", False
        # Not, if an exception ended it.
        self.is_done = False

    def run(self):
        while not self.record.is_over:
            era = self.record.era
            if era % 2 == 0:
                time.sleep(TICK_SECONDS)
                continue
            self.era, self.doing, self.is_told, self.began = era, "", False, time.monotonic()
            try:
                self.step()
            except OSError as error:
                self.failed(error, era)
            self.note_time()
        self.close()
        self.is_done = True

    def note_time(self):
        if self.began is None:
            return
        took, self.began = time.monotonic() - self.began, None
        with self.record.lock:
            self.record.longest = max(self.record.longest, took)

    def failed(self, error, era):
        if not self.record.was_up(era):
            self.record.count("interrupted")
        elif self.tolerates(error):
            self.record.count("errors")
        else:
            self.record.tell("refused", f"{self.doing}: {error.strerror}")

    def tolerates(self, error):
        return error.errno == errno.EIO

    def close(self):
        pass


class Reader(Worker):
    def __init__(self, number, record, seed, plan, image):
        super().__init__(f"reader-{number}", record, seed)
        self.image, self.template = image, plan["template"]
        self.files = [plan["template"], *plan["machines"]]
        self.memory = mmap.mmap(-1, max(LENGTHS))

    def step(self):
        if self.dice.random() < 0.05:
            self.doing = "a listing"
            os.listdir(os.path.dirname(self.template))
            return
        path = self.dice.choice(self.files)
        length, is_direct = self.dice.choice(LENGTHS), self.dice.random() < 0.7
        first = 0 if path == self.template else WRITTEN_BLOCKS * BLOCK
        offset = self.dice.randrange(first, len(self.image) - length) // BLOCK * BLOCK
        self.doing = f"{length} bytes at {offset} of {path}, {'direct' if is_direct else 'buffered'}"
        file = os.open(path, os.O_RDONLY | (os.O_DIRECT if is_direct else 0))
        try:
            if not is_direct:
                os.posix_fadvise(file, offset, length, os.POSIX_FADV_DONTNEED)
            got = self.bytes_at(file, length, offset, is_direct)
        finally:
            os.close(file)
        if got != self.image[offset:offset + length]:
            self.record.tell("wrong", f"{self.doing}: {describe(got, self.image[offset:offset + length])}")
            return
        self.record.count("right")
        self.record.count("bytes", length)

    def bytes_at(self, file, length, offset, is_direct):
        """Through the page cache what comes before a page that cannot be had comes alone; the next read has the error.
        A direct read is one request, and wholly there or not."""
        count = 0
        while count < length:
            view = memoryview(self.memory)[count:length]
            came = os.preadv(file, [view], offset + count)
            view.release()
            count += came
            if came == 0 or is_direct:
                break
        return self.memory[:count]


def describe(got, expected):
    if len(got) < len(expected) and got == expected[:len(got)]:
        return f"only {len(got)} came"
    place = next(index for index, (a, b) in enumerate(zip(got, expected)) if a != b)
    return f"differs from {place} on" + ("" if got[place:place + BLOCK].strip(b"\0") else ", with zeros")


class Writer(Worker):
    """Writes its own blocks of one machine. What it keeps is read by others when it has ended."""

    def __init__(self, number, record, seed, path):
        super().__init__(f"writer-{number}", record, seed)
        self.number, self.path = number, path
        self.file, self.file_era, self.is_direct = None, 0, False
        self.memory = mmap.mmap(-1, BLOCK)
        self.sequence = 0
        # By place: the last number that was synchronized; those sent since on a file that is open; and those sent before
        # the node died, which no later fsync is about: they may be there or not until the place is written again.
        self.durable, self.later, self.lost = {}, collections.defaultdict(list), collections.defaultdict(list)

    def step(self):
        if self.file_era != self.era:
            self.close()
        if self.file is None:
            self.is_direct = self.dice.random() < 0.5
            self.doing = f"opening {self.path}"
            self.file = os.open(self.path, os.O_RDWR | (os.O_DIRECT if self.is_direct else 0))
            self.file_era = self.era
            self.check_some()
        for _ in range(self.dice.randrange(1, 9)):
            self.write(self.dice.randrange(WRITTEN_BLOCKS))
        self.doing = f"an fsync of {self.path}"
        os.fsync(self.file)
        for place, numbers in self.later.items():
            self.durable[place] = numbers[-1]
            self.lost.pop(place, None)
        self.later.clear()
        self.record.count("synchronized")
        # Readers are to have their turn.
        self.note_time()
        time.sleep(self.dice.random() * PAUSE_SECONDS)

    def write(self, place):
        self.sequence += 1
        self.later[place].append(self.sequence)
        self.memory[:] = block_of(self.number, place, self.sequence)
        self.doing = f"a write to {self.path}"
        if os.pwrite(self.file, self.memory, place * BLOCK) != BLOCK:
            raise OSError(errno.ENODATA, "a write in part")
        self.record.count("written")

    def check_some(self):
        """After the node came back: what is there must be what was synchronized, or later."""
        written = sorted({*self.durable, *self.lost})
        for place in self.dice.sample(written, min(16, len(written))):
            self.doing = f"block {place} of {self.path}"
            os.preadv(self.file, [self.memory], place * BLOCK)
            found = number_in(self.memory[:], self.number, place)
            allowed = {self.durable.get(place), *self.lost.get(place, [])}
            if found not in allowed:
                self.record.tell("wrong", f"{self.doing} is number {found}, not of {sorted(allowed, key=str)}")

    def failed(self, error, era):
        super().failed(error, era)
        self.close()

    def close(self):
        file, self.file = self.file, None
        for place, numbers in self.later.items():
            self.lost[place] += numbers
        self.later.clear()
        # The kernel says of a dead mount's file that it is not connected, and closes it all the same.
        with contextlib.suppress(OSError):
            if file is not None:
                os.close(file)

    # Whole blocks are written, which needs nothing from elsewhere.
    def tolerates(self, error):
        return False


# ---- the storm


def draw(seed, seconds, names):
    """Moments, victims and how long each is away, from the seed alone."""
    dice, events, moment = random.Random(f"{seed}/plan"), [], 0.5
    while moment < seconds:
        if dice.random() < 0.25:
            events.append((moment, "evict", 0))
        else:
            events.append((moment, dice.choice(names), dice.choice(AWAY_SECONDS)))
        moment += dice.uniform(0.1, 1.2)
    # Once nobody can be asked for longer than an object is waited for.
    both = [(seconds / 2, name, max(AWAY_SECONDS)) for name in names if name in ASKED]
    return sorted(events + both)


class Storm:
    def __init__(self, plan, record, workers):
        self.plan, self.record, self.workers = plan, record, workers
        self.nodes = {said["name"]: Node(said) for said in plan["nodes"]}
        self.done = collections.Counter()

    def start_all(self):
        for node in self.nodes.values():
            node.start()
        return self.wait_for_all()

    def wait_for_all(self):
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and not all(node.is_up for node in self.nodes.values()):
            self.tend()
            time.sleep(TICK_SECONDS)
        return all(node.is_up for node in self.nodes.values())

    def tend(self):
        """Starts who is due, looks at all, and at what takes too long."""
        now = time.monotonic()
        for node in self.nodes.values():
            if node.process is None and now >= node.due:
                node.start()
            if problem := node.look():
                self.record.tell("lost", problem)
                self.kill(node, 1)
            if node.mount and node.is_up and self.record.era % 2 == 0:
                self.record.era += 1
        for worker in self.workers:
            began, doing = worker.began, worker.doing
            if began is not None and now - began > LIMIT_SECONDS and not worker.is_told:
                worker.is_told = True
                self.record.tell("hung", f"{doing} takes more than {LIMIT_SECONDS} s")

    def kill(self, node, away):
        if node.mount and self.record.era % 2 == 1:
            self.record.era += 1
        if node.process is not None:
            node.kill()
        node.due = max(node.due, time.monotonic() + away)

    def evict(self):
        """Only beside a running node: without one the command would be the node."""
        reader = next(node for node in self.nodes.values() if node.mount)
        if not reader.is_up:
            return
        with open(reader.log, "ab") as log:
            try:
                subprocess.run(self.plan["evict"], env=reader.environment, stdout=log, stderr=log, timeout=LIMIT_SECONDS,
                               check=False)
            except subprocess.TimeoutExpired:
                self.record.tell("hung", f"evict takes more than {LIMIT_SECONDS} s")

    def pass_over(self, seed, seconds):
        began = time.monotonic()
        for moment, what, away in draw(seed, seconds, sorted(self.nodes)):
            while time.monotonic() < began + moment:
                self.tend()
                time.sleep(TICK_SECONDS)
            if what == "evict":
                self.evict()
            else:
                self.kill(self.nodes[what], away)
            self.done[what] += 1

    def end(self):
        """All up again; then the workers, then the nodes are ended."""
        if not self.wait_for_all():
            self.record.tell("lost", "not all nodes are up at the end")
        self.record.is_over = True
        until = time.monotonic() + LIMIT_SECONDS + 5
        while time.monotonic() < until and any(worker.is_alive() for worker in self.workers):
            self.tend()
            time.sleep(TICK_SECONDS)
        for worker in self.workers:
            if worker.is_alive():
                self.record.tell("hung", f"{worker.doing} never ended")
            elif not worker.is_done:
                self.record.tell("lost", f"{worker.name} of this test died at {worker.doing}")
        for node in reversed(list(self.nodes.values())):
            if node.process is not None and (problem := node.end()):
                self.record.tell("lost", problem)
            if node.mount and is_mounted(node.mount):
                self.record.tell("lost", f"{node.mount} is still mounted after its node ended")
                subprocess.run(["umount", "-l", node.mount], check=False)


def run(arguments, plan):
    with open(plan["image"], "rb") as file:
        image = file.read()
    record = Record()
    writers = [Writer(number, record, arguments.seed, path) for number, path in enumerate(plan["machines"])]
    workers = writers + [Reader(number, record, arguments.seed, plan, image) for number in range(READERS)]
    storm = Storm(plan, record, workers)
    if storm.start_all():
        for worker in workers:
            worker.start()
        storm.pass_over(arguments.seed, arguments.seconds)
    storm.end()
    write_json(arguments.report, record.report(storm.done))
    write_json(arguments.written, [
        {"path": writer.path, "durable": writer.durable, "lost": writer.lost} for writer in writers])


def verify(arguments, plan):
    with open(arguments.written, encoding="utf-8") as file:
        written = json.load(file)
    wrong, count = [], 0
    for writer, said in enumerate(written):
        with open(said["path"], "rb") as disk:
            for place, number in said["durable"].items():
                disk.seek(int(place) * BLOCK)
                found = number_in(disk.read(BLOCK), writer, int(place))
                count += 1
                if found != number and found not in said["lost"].get(place, []):
                    wrong.append(f"block {place} of {said['path']} is number {found}, {number} was synchronized")
    write_json(arguments.report, {"blocks": count, "wrong": wrong[:TOLD]})


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as out:
        json.dump(value, out, indent=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["run", "verify"])
    parser.add_argument("plan")
    parser.add_argument("report")
    parser.add_argument("written")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    # The nodes are this process's children; they are ended with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with open(arguments.plan, encoding="utf-8") as file:
        plan = json.load(file)
    {"run": run, "verify": verify}[arguments.action](arguments, plan)
    return 0


if __name__ == "__main__":
    sys.exit(main())
