#!/usr/bin/env python3
"""The load of 45-power-cut.sh, the cut, and what must be there afterwards.

    power-cut.py make      MOUNT NOTES --template FILE --disk FILE   makes the VMs of the load
    power-cut.py load      MOUNT NOTES --disk FILE --ccnfs TOOL --key FILE --seed N --seconds S
    power-cut.py cut       FOLDER [--write-out FOLDER] [--run COMMAND] [--fsync FILE]...
    power-cut.py verify    MOUNT NOTES          and adopts what was found as the base of the next round
    power-cut.py databases FOLDER               SQLite's integrity_check, on copies

`load` ends at the first error (the power was cut) or when the time is over. Its threads, each of which
waits for every answer:

- three writers of numbered blocks (disk_history.py) on three disks of the VM `order`: one with O_DSYNC
  on two of the disks; one buffered, with holes punched, ranges zeroed and an fsync now and then on all
  three; one buffered and never synchronized by itself
- a keeper that takes snapshots of `order` and drops old ones, clones disks of snapshots and disks that
  are being written to new VMs, renames these, and removes old ones
- a resizer on a disk of its own that writes, shrinks, grows, punches, synchronizes, and clones over what
  it wrote: from the template, and from another disk that was just written to
- a roller that takes one VM through the tool: writes, snapshots, rollback, republishing with --rebase and
  withdrawing versions, exporting a snapshot and importing it as another VM

`verify` asks: is each block what was last synchronized or something later; is every answered snapshot
there and one moment of all disks, and as it was before; is every removed one gone; are clones that
were made durable whole; has the resized disk a size and bytes it had since it was last durable; the same of
the rolled one, and of what was published of it and imported.
`cut` is FS_IOC_SHUTDOWN without flushing the log. Python's standard library only.
"""

import argparse
import ctypes
import errno
import fcntl
import os
import pickle
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from disk_history import ZERO_BLOCK, Reader, Story, Writer, allowed, differences, moment  # noqa: E402
from power_load import (  # noqa: E402
    DISKS, KEEPER, RESIZED_MAXIMUM, ROLLED_NAME, Keeper, Known, Place, Resizer, Rolled, Roller, clipped, clone,
    found_blocks, synchronize, tokens_of_order,
)

DSYNC_WRITER, BUFFERED_WRITER, LAZY_WRITER = range(3)
FS_IOC_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2
SYNC_FILE_RANGE_WAIT = 7


class Notes:
    """What one call of this script tells the next: what is known to be there, what the load did."""

    def __init__(self, folder):
        self.folder = folder

    def read(self, name):
        with open(os.path.join(self.folder, name), "rb") as file:
            return pickle.load(file)

    def write(self, name, value):
        path = os.path.join(self.folder, name)
        with open(path + ".new", "wb") as file:
            pickle.dump(value, file)
        os.rename(path + ".new", path)


# ---- the load


def make(arguments, place, notes):
    with open(arguments.template, "rb") as file:
        base = file.read()
    known = Known(arguments.template)
    source = arguments.disk
    os.mkdir(place.order)
    for disk in DISKS:
        clone(source, place.disk(disk))
    os.mkdir(os.path.dirname(place.resized))
    for path in [place.resized, place.other]:
        clone(source, path)
        os.truncate(path, RESIZED_MAXIMUM)
    os.mkdir(place.rolled)
    clone(source, os.path.join(place.rolled, "disk0"))
    os.truncate(os.path.join(place.rolled, "disk0"), RESIZED_MAXIMUM)
    for path in [os.path.join(place.rolled, "disk0"), place.resized, place.other, *map(place.disk, DISKS)]:
        synchronize(path)
    known.tokens = tokens_of_order(Reader(base), {disk: place.disk(disk) for disk in DISKS})
    known.resized = found_blocks(place.resized)
    known.rolled = Rolled(found_blocks(os.path.join(place.rolled, "disk0"))[1])
    known.numbers = [0] * 3
    notes.write("known", known)
    return 0


def load(arguments, place, notes):
    known = notes.read("known")
    with open(known.template, "rb") as file:
        base = file.read()
    story = Story(known.numbers)
    seed = arguments.seed
    paths = {disk: place.disk(disk) for disk in DISKS}
    size = len(base)
    keeper = Keeper(story, f"{seed}/3", place, known, Reader(base))
    roller = Roller(story, f"{seed}/5", place, known, arguments)
    threads = [
        Writer(story, DSYNC_WRITER, {disk: paths[disk] for disk in DISKS[:2]}, size, f"{seed}/0", dsync=True),
        Writer(story, BUFFERED_WRITER, paths, size, f"{seed}/1", pause=0.001),
        Writer(story, LAZY_WRITER, {DISKS[2]: paths[DISKS[2]], DISKS[0]: paths[DISKS[0]]}, size, f"{seed}/2",
               sync_every=10**9, pause=0.001),
        keeper,
        Resizer(story, f"{seed}/4", place, known, base, arguments.disk),
        roller,
    ]
    until = time.monotonic() + arguments.seconds
    for thread in threads:
        thread.start()
    # For whoever waits for the load to be under way.
    ready = False
    while time.monotonic() < until and not any(thread.error for thread in threads):
        time.sleep(0.01)
        if not ready and story.answered[DSYNC_WRITER] > known.numbers[DSYNC_WRITER] + 5 and any(
                event[0] == "answered-snapshot" for event in list(story.events)):
            ready = True
            with open(os.path.join(notes.folder, "ready"), "w"):
                pass
    for thread in threads:
        thread.stop()
    notes.write("story", (story, keeper.counter, roller.counter))
    counts = {}
    for event in story.events:
        counts[event[0]] = counts.get(event[0], 0) + 1
    errors = [f"{type(thread).__name__}: {thread.error}" for thread in threads if thread.error]
    print(f"{counts.get('answered', 0)} operations of writers, {counts.get('answered-snapshot', 0)} snapshots, "
          f"{counts.get('answered-drop', 0)} dropped, {counts.get('answered-clone', 0)} clones, "
          f"{counts.get('answered-remove', 0)} removed, {counts.get('resized', 0)} resizings, "
          f"{counts.get('rolled', 0)} of the roller, "
          f"{counts.get('version-is', 0)} versions, {counts.get('answered-import', 0)} imports; "
          f"ended by: {'; '.join(errors) or 'the time'}")
    # What the cut itself does to a call, and nothing else.
    expected = {errno.EIO, errno.ENOTCONN, errno.ECONNABORTED, errno.EROFS}
    strange = [thread.error for thread in threads
               if thread.error and not (isinstance(thread.error, OSError) and thread.error.errno in expected)]
    return 1 if strange or not counts.get("answered") else 0


# ---- the cut


def cut(arguments):
    for folder in arguments.write_out:
        # The pages of the overlays reach the disk below, what the filesystem knows of them does not.
        libc = ctypes.CDLL(None)
        for directory, _, names in os.walk(folder):
            for name in names:
                try:
                    file = os.open(os.path.join(directory, name), os.O_RDONLY)
                except OSError:
                    continue
                libc.sync_file_range(file, ctypes.c_longlong(0), ctypes.c_longlong(0), SYNC_FILE_RANGE_WAIT)
                os.close(file)
    for command in arguments.run:
        subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL, timeout=30)
    file = os.open(arguments.place, os.O_RDONLY)
    for path in arguments.fsync:
        other = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.pwrite(other, struct.pack("d", time.time()), 0)
        os.fsync(other)
    fcntl.ioctl(file, FS_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
    return 0


# ---- what is there


def verify(arguments, place, notes):
    known = notes.read("known")
    story, counter, known.rolled.counter = notes.read("story")
    with open(known.template, "rb") as file:
        base = file.read()
    reader = Reader(base)
    wrong = []
    found = tokens_of_order(reader, {disk: place.disk(disk) for disk in DISKS})
    may_be = allowed(known.tokens, story.events, {DSYNC_WRITER}, power_cut=True)
    wrong += differences(found, may_be)
    open_blocks = sum(1 for tokens in may_be.values() if len(tokens) > 1)

    snapshots = verify_snapshots(place, known, story, reader, wrong)
    clones = verify_clones(place, known, story, reader, wrong)
    resized = found_blocks(place.resized)
    verify_resized(known, story, resized, wrong)
    verify_rolled(place, known, story, wrong)

    known.tokens = found
    known.snapshots = snapshots
    known.clones = clones
    known.resized = resized
    known.counter = counter
    known.numbers = [max(number for who, number in [(writer, known.numbers[writer])] + [
        (event[1], event[2]) for event in story.events if event[0] == "sent"] if who == writer)
        for writer in range(3)]
    notes.write("known", known)
    for sentence in wrong[:12]:
        print(sentence)
    print(f"{len(found)} blocks, {open_blocks} of them with a write that was not promised; {len(snapshots)} snapshots, "
          f"{len(clones)} clones; {len(wrong)} faults")
    return 1 if wrong else 0


def verify_snapshots(place, known, story, reader, wrong):
    """Each snapshot that was answered is there, one moment, as it was; each that was dropped is gone."""
    sent, answered, shown, dropping, dropped = {}, {}, dict(known.snapshots), set(), set()
    for index, event in enumerate(story.events):
        if event[0] == "sent-snapshot":
            sent[event[1]] = index
        elif event[0] == "answered-snapshot":
            answered[event[1]] = index
        elif event[0] == "snapshot-shows":
            shown[event[1]] = event[2]
        elif event[0] == "sent-drop":
            dropping.add(event[1])
        elif event[0] == "answered-drop":
            dropped.add(event[1])
    there = sorted(os.listdir(place.snapshots))
    snapshots = {}
    for name in sorted(set(sent) | set(known.snapshots) | set(there)):
        if name not in there:
            if (name in answered or name in known.snapshots) and name not in dropping:
                wrong.append(f"the snapshot {name} was answered and is not there")
            continue
        if name in dropped:
            wrong.append(f"the snapshot {name} was dropped and is there again")
        if name not in sent and name not in known.snapshots:
            wrong.append(f"the snapshot {name} was never asked for")
            continue
        folder = os.path.join(place.snapshots, name)
        disks = sorted(os.listdir(folder))
        if [disk for disk in disks if disk != "vm.json"] != DISKS:
            wrong.append(f"the snapshot {name} has the disks {disks}")
            continue
        snapshots[name] = tokens = tokens_of_order(reader, {disk: os.path.join(folder, disk) for disk in DISKS})
        if name in shown:
            wrong += differences(tokens, {key: [token] for key, token in shown[name].items()},
                                 f"snapshot {name}: block")
        if name in sent:
            if name in shown:
                tokens = shown[name]
            wrong += [f"snapshot {name}: {sentence}" for sentence in moment(
                tokens, known.tokens, story, sent[name], answered.get(name), reader.seen)]
    return snapshots


def verify_clones(place, known, story, reader, wrong):
    """A clone that was made durable is there and whole; any is one moment; a removed one is gone."""
    sent, shown, marking, marked, removing, removed = set(), dict(known.clones), set(), {}, set(), set()
    moments = {}
    for event in story.events:
        if event[0] == "sent-clone":
            sent.add(event[1])
        elif event[0] == "clone-shows":
            shown[event[1]] = event[2]
            if event[3]:
                moments[event[1]] = event[3]
        elif event[0] == "sent-mark":
            marking.add(event[1])
        elif event[0] == "answered-mark":
            marked[event[1]] = event[2]
        elif event[0] == "sent-remove":
            removing.add(event[1])
        elif event[0] == "answered-remove":
            removed.add(event[1])
    names = place.clone_names()
    clones = {}
    for number in sorted(sent | set(known.clones) | set(names)):
        own = names.get(number, [])
        disks = [os.path.join(place.vms, name, disk) for name in own
                 for disk in os.listdir(os.path.join(place.vms, name)) if disk != "vm.json"]
        durable = number in marked or number in known.clones
        if number in moments:
            wrong += [f"clone {number} of a disk being written: {sentence}" for sentence in moment(
                shown[number], known.tokens, story, *moments[number], reader.seen)]
        if len(own) > 1:
            wrong.append(f"clone {number} is there as {own}")
            continue
        if not disks:
            if durable and number not in removing:
                wrong.append(f"clone {number} was made durable and is not there")
            continue
        if number in removed:
            wrong.append(f"clone {number} was removed and is there again")
        if number in marked and number not in known.clones and own[0] != marked[number]:
            wrong.append(f"clone {number} was made durable as {marked[number]} and is there as {own[0]}")
        if os.path.getsize(disks[0]) != len(reader.base):
            # A copy under way: its size comes with the clone.
            if durable:
                wrong.append(f"clone {number} has the size {os.path.getsize(disks[0])}")
            continue
        whole = shown.get(number)
        if whole is None:
            continue
        if number in moments and number not in marked:
            # What it was cloned from was not synchronized.
            disk = next(iter(whole))[0]
            clones[number] = tokens_of_order(reader, {disk: disks[0]})
            continue
        disk = next(iter(whole))[0]
        clones[number] = found = tokens_of_order(reader, {disk: disks[0]})
        mark = ("write", KEEPER, number)
        may_be = {key: [token] for key, token in whole.items()}
        if number in marked:
            may_be[disk, 0] = [mark]
        elif number in marking:
            may_be[disk, 0] = may_be[disk, 0] + [mark]
        wrong += differences(found, may_be, f"clone {number}: block")
    return clones


def verify_resized(known, story, found, wrong):
    size, blocks = found
    states, under_way, operations = [known.resized], None, [("start", known.resized[1])]
    for event in story.events:
        if event[0] == "resizing":
            under_way = (event[2], event[3])
            operations.append((event[1], event[3]))
        elif event[0] == "resized":
            states.append(under_way)
            if event[1]:
                states = [under_way]
            under_way = None
    if under_way:
        states.append(under_way)
    if size not in [state[0] for state in states]:
        wrong.append(f"the resized disk has {size} bytes, may have {sorted({state[0] for state in states})}")
    for at, data in blocks.items():
        # Growing reads zeros, so a block beyond the end counts as zeros.
        if not any(data in (state[1][at], clipped(state[1][at], at, size)) for state in states):
            said = "zeros" if data == ZERO_BLOCK else "other bytes"
            changes = [kind for (_, before), (kind, after) in zip(operations, operations[1:])
                       if before[at] != after[at]]
            wrong.append(f"block {at} of the resized disk is {said}, none of {len(states)} states it may show; "
                         f"it was changed by: {' '.join(changes[-4:])}; last: {operations[-1][0]}")


def verify_rolled(place, known, story, wrong):
    rolled = known.rolled
    states, under_way = [rolled.blocks], None
    # By kind: {number: blocks} of what was asked for, numbers of what was answered.
    sent = {what: {} for what in ("rolled-snapshot", "rolled-drop", "version", "withdrawal", "import",
                                  "import-removal")}
    answered = {what: set() for what in sent}
    versions = {}
    for event in story.events:
        what = event[0].partition("-")[2]
        if event[0] == "rolling":
            under_way = event[1]
        elif event[0] == "rolled":
            states = [under_way] if event[1] else states + [under_way]
            under_way = None
        elif event[0] == "version-is":
            versions[event[1]] = event[2]
        elif event[0].startswith("sent-") and what in sent:
            sent[what][event[1]] = event[2]
        elif event[0].startswith("answered-") and what in answered:
            answered[what].add(event[1])
    if under_way:
        states.append(under_way)
    _, rolled.blocks = found_blocks(os.path.join(place.rolled, "disk0"))
    for at, data in rolled.blocks.items():
        if data not in [state[at] for state in states]:
            wrong.append(f"block {at} of the rolled disk is none of {len(states)} states it may show")

    def things(text, known_ones, asked, finished, going, gone, folder, name_of):
        """Each is there and whole if that was answered, and not if its end was."""
        found = {}
        there = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        for number, blocks in {**known_ones, **asked}.items():
            path = os.path.join(folder, name_of(number), "disk0")
            if name_of(number) not in there or not os.path.exists(path):
                if (number in finished or number in known_ones) and number not in going:
                    wrong.append(f"{text} {number} was answered and is not there")
                continue
            if number in gone:
                wrong.append(f"{text} {number} was removed and is there again")
            _, found[number] = found_blocks(path)
            different = [at for at in blocks if found[number][at] != blocks[at]]
            if different:
                wrong.append(f"{text} {number} differs in {len(different)} blocks, such as {different[0]}")
        return found

    rolled.snapshots = things(
        "snapshot of the rolled disk", rolled.snapshots, sent["rolled-snapshot"], answered["rolled-snapshot"],
        sent["rolled-drop"], answered["rolled-drop"], os.path.join(place.rolled, ".snapshots"),
        lambda number: f"r{number}")
    rolled.imported = things(
        "imported VM", rolled.imported, sent["import"], answered["import"], sent["import-removal"],
        answered["import-removal"], place.vms, lambda number: f"imported-{number}")
    published = dict(versions)
    if len(versions) < sum(1 for event in story.events if event[0] == "sent-version"):
        # One under way may be there, under the next number.
        there = [int(name) for name in os.listdir(place.versions)] if os.path.isdir(place.versions) else []
        for number in set(there) - set(versions) - set(rolled.versions):
            published[number] = sent["version"][None]
    rolled.versions = things(
        "version", rolled.versions, published, set(versions), sent["withdrawal"], answered["withdrawal"],
        place.versions, str)


def databases(arguments):
    """On copies, with what belongs to them: looking at the files themselves would change them."""
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for directory, _, names in os.walk(arguments.place):
            for name in sorted(names):
                if not name.endswith(".sqlite"):
                    continue
                copy = os.path.join(folder, name)
                for suffix in ("", "-wal"):
                    if os.path.exists(os.path.join(directory, name + suffix)):
                        shutil.copyfile(os.path.join(directory, name + suffix), copy + suffix)
                connection = sqlite3.connect(copy)
                said = [row[0] for row in connection.execute("PRAGMA integrity_check")]
                said += [str(row) for row in connection.execute("PRAGMA foreign_key_check")]
                connection.close()
                for left in os.listdir(folder):
                    os.unlink(os.path.join(folder, left))
                if said != ["ok"]:
                    print(f"{os.path.join(directory, name)}: {said[:5]}")
                    bad = 1
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["make", "load", "cut", "verify", "databases"])
    parser.add_argument("place")
    parser.add_argument("notes", nargs="?")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--template", help="the image that was published")
    parser.add_argument("--disk", help="the template's disk in the mount")
    parser.add_argument("--ccnfs", help="the tool")
    parser.add_argument("--key", help="of the publisher of " + ROLLED_NAME)
    parser.add_argument("--write-out", action="append", default=[])
    parser.add_argument("--run", action="append", default=[])
    parser.add_argument("--fsync", action="append", default=[])
    arguments = parser.parse_args()
    if arguments.action == "cut":
        return cut(arguments)
    if arguments.action == "databases":
        return databases(arguments)
    notes = Notes(arguments.notes)
    place = Place(arguments.place)
    return {"make": make, "load": load, "verify": verify}[arguments.action](arguments, place, notes)


if __name__ == "__main__":
    sys.exit(main())
