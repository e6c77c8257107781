"""The load of power-cut.py: what its threads do, and what they tell of it (`Story`, disk_history.py).

Python's standard library only.
"""

import errno
import json
import os
import random
import subprocess
import threading

from disk_history import BLOCK, KEEP_SIZE, PUNCH_HOLE, ZERO_BLOCK, ZERO_RANGE, block_of, blocks_of, fallocate

DISKS = ["disk0", "disk1", "disk2"]
# Not one of the writers: the keeper's mark in the first block of a clone.
KEEPER = 9
KEPT_SNAPSHOTS = KEPT_CLONES = 3
RESIZED_MAXIMUM = 24 * 1024 * 1024
ROLLED_NAME = "ccnx:/own.org/rolled"
KEPT_VERSIONS = 2
TOOL_SECONDS = 60


class Known:
    """What was found at the last look: the base of what may be there at the next one."""

    def __init__(self, template):
        self.template = template
        self.tokens = {}
        self.numbers = None
        # Name of a snapshot: its tokens. Number of a clone: its tokens.
        self.snapshots = {}
        self.clones = {}
        self.counter = 0
        self.resized = None
        self.rolled = None


class Rolled:
    """What is known of the roller's VM: blocks of its disk; of each snapshot, version, imported VM; by number."""

    def __init__(self, blocks):
        self.blocks = blocks
        self.snapshots, self.versions, self.imported = {}, {}, {}
        self.counter = 0


class Place:
    """Paths of the load's files."""

    def __init__(self, mount):
        self.vms = os.path.join(mount, "localhost")
        self.order = os.path.join(self.vms, "order")
        self.snapshots = os.path.join(self.order, ".snapshots")
        self.resized = os.path.join(self.vms, "resized", "disk0")
        self.other = os.path.join(self.vms, "resized", "disk1")
        self.rolled = os.path.join(self.vms, "rolled")
        self.versions = os.path.join(mount, ROLLED_NAME.removeprefix("ccnx:/"), ".versions")

    def disk(self, name):
        return os.path.join(self.order, name)

    def clone_names(self):
        """Number to name of the clones' VMs: `clone-7`, or `moved-7` once it was renamed."""
        found = {}
        for name in sorted(os.listdir(self.vms)):
            kind, _, number = name.partition("-")
            if kind in ("clone", "moved") and number.isdigit():
                found.setdefault(int(number), []).append(name)
        return found


def clone(source, target):
    """`cp`: creates, then copy_file_range as often as it takes."""
    from_file = os.open(source, os.O_RDONLY)
    try:
        to_file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            left = os.fstat(from_file).st_size
            while left > 0:
                copied = os.copy_file_range(from_file, to_file, left)
                if copied <= 0:
                    raise OSError(errno.EIO, "copy_file_range copies nothing")
                left -= copied
        finally:
            os.close(to_file)
    finally:
        os.close(from_file)


def tokens_of_order(reader, paths):
    return {(disk, place): token for disk, path in paths.items()
            for place, token in reader.tokens(path, blocks_of(os.path.getsize(path))).items()}


def synchronize(path):
    file = os.open(path, os.O_RDWR)
    try:
        os.fsync(file)
    finally:
        os.close(file)


# ---- what the threads do


class Actor(threading.Thread):
    """Repeats `step` until it is stopped or something fails."""

    def __init__(self, story, seed):
        super().__init__(daemon=True)
        self.story = story
        self.dice = random.Random(seed)
        self.stopping = threading.Event()
        self.error = None

    def run(self):
        try:
            while not self.stopping.is_set():
                self.step()
        except OSError as error:
            self.error = error

    def stop(self):
        self.stopping.set()
        self.join()


class Keeper(Actor):
    def __init__(self, story, seed, place, known, reader):
        super().__init__(story, seed)
        self.place = place
        self.reader = reader
        self.counter = known.counter
        self.snapshots = sorted(known.snapshots, key=lambda name: int(name[1:]))
        self.clones = [(number, names[0]) for number, names in sorted(place.clone_names().items())]

    def tokens(self, folder, disks):
        return tokens_of_order(self.reader, {disk: os.path.join(folder, disk) for disk in disks})

    def step(self):
        self.counter += 1
        self.snapshot(f"s{self.counter}")
        if self.counter % 2 == 0:
            self.clone_of_snapshot(self.counter)
        else:
            self.clone_of_written(self.counter)
        # A cut leaves more than was noted: two at a time, so that they do not become many.
        for _ in range(min(2, max(0, len(self.snapshots) - KEPT_SNAPSHOTS))):
            # The oldest, or one between others.
            self.drop(self.snapshots.pop(self.dice.choice([0, 0, 1])))
        for _ in range(min(2, max(0, len(self.clones) - KEPT_CLONES))):
            self.remove(*self.clones.pop(self.dice.choice([0, 1])))

    def snapshot(self, name):
        folder = os.path.join(self.place.snapshots, name)
        sent = self.story.say("sent-snapshot", name)
        os.mkdir(folder)
        self.story.say("answered-snapshot", name, sent)
        self.story.say("answered-sync", sent, DISKS)
        self.snapshots.append(name)
        tokens = self.tokens(folder, DISKS)
        self.story.say("snapshot-shows", name, tokens)

    def clone_of_snapshot(self, number):
        name = self.dice.choice(self.snapshots)
        disk = self.dice.choice(DISKS)
        self.clone(number, os.path.join(self.place.snapshots, name, disk), disk)

    def clone_of_written(self, number):
        """Of a disk that is open for writing; the copy shows one moment of it."""
        disk = self.dice.choice(DISKS)
        self.clone(number, self.place.disk(disk), disk, written=True)

    def clone(self, number, source, disk, written=False):
        vm = os.path.join(self.place.vms, f"clone-{number}")
        path = os.path.join(vm, "disk0")
        sent = self.story.say("sent-clone", number)
        os.mkdir(vm)
        clone(source, path)
        answered = self.story.say("answered-clone", number)
        name = f"clone-{number}"
        if number % 3 == 0:
            name = f"moved-{number}"
            os.rename(vm, os.path.join(self.place.vms, name))
            path = os.path.join(self.place.vms, name, "disk0")
        tokens = tokens_of_order(self.reader, {disk: path})
        self.story.say("clone-shows", number, tokens, (sent, answered) if written else None)
        if number % 4 != 0:
            file = os.open(path, os.O_WRONLY | os.O_DSYNC)
            try:
                self.story.say("sent-mark", number)
                os.pwrite(file, block_of(KEEPER, number, 0, [0] * 3), 0)
            finally:
                os.close(file)
            self.story.say("answered-mark", number, name)
        self.clones.append((number, name))

    def drop(self, name):
        self.story.say("sent-drop", name)
        os.rmdir(os.path.join(self.place.snapshots, name))
        self.story.say("answered-drop", name)

    def remove(self, number, name):
        vm = os.path.join(self.place.vms, name)
        self.story.say("sent-remove", number)
        for disk in os.listdir(vm):
            if disk != "vm.json":
                os.unlink(os.path.join(vm, disk))
        self.story.say("answered-remove", number)
        os.rmdir(vm)


class Resizer(Actor):
    """One disk in bytes: each operation is an event with the size and the blocks it leaves."""

    def __init__(self, story, seed, place, known, base, template_disk):
        super().__init__(story, seed)
        self.path, self.other = place.resized, place.other
        self.base = base
        self.template_disk = template_disk
        self.size, self.blocks = known.resized[0], dict(known.resized[1])
        self.other_blocks = found_blocks(place.other)[1]
        self.places = blocks_of(RESIZED_MAXIMUM)
        # Blocks that this round wrote: what is cloned over them is durable when it is answered.
        self.written = set()

    def step(self):
        room = [place for place in self.places if place < self.size // BLOCK]
        kinds = ["shrink", "grow", "sync"]
        if room:
            kinds += ["write"] * 3 + ["dsync", "punch", "zero", "clone", "clone-written"]
        kind = self.dice.choice(kinds)
        place = self.dice.choice(room) if room else 0
        if kind in ("write", "dsync"):
            self.write(kind, place)
        elif kind in ("punch", "zero"):
            mode = PUNCH_HOLE | KEEP_SIZE if kind == "punch" else ZERO_RANGE
            self.do(kind, self.size, {**self.blocks, place: ZERO_BLOCK}, False, lambda: self.with_file(
                os.O_RDWR, lambda file: fallocate(file, mode, place * BLOCK, BLOCK)))
        elif kind == "sync":
            self.do(kind, self.size, self.blocks, True, lambda: synchronize(self.path))
        elif kind == "grow":
            size = self.dice.choice([RESIZED_MAXIMUM, RESIZED_MAXIMUM // 2, self.size + 8192])
            size = min(max(size, self.size), RESIZED_MAXIMUM)
            self.do(kind, size, self.blocks, False, lambda: os.truncate(self.path, size))
        elif kind == "shrink":
            # Also in the midst of a block.
            size = self.dice.choice([place * BLOCK, place * BLOCK + 512, self.size // 2])
            if size < self.size:
                blocks = {at: clipped(data, at, size) for at, data in self.blocks.items()}
                self.do(kind, size, blocks, True, lambda: os.truncate(self.path, size))
        else:
            self.clone(kind, place)

    def do(self, kind, size, blocks, durable, action):
        self.story.say("resizing", kind, size, blocks)
        action()
        self.story.say("resized", durable)
        self.size, self.blocks = size, blocks

    def with_file(self, flags, action, path=None):
        file = os.open(path or self.path, flags)
        try:
            return action(file)
        finally:
            os.close(file)

    def write(self, kind, place):
        data = self.dice.randbytes(64) * (BLOCK // 64)
        flags = os.O_WRONLY | (os.O_DSYNC if kind == "dsync" else 0)
        self.do(kind, self.size, {**self.blocks, place: data}, kind == "dsync", lambda: self.with_file(
            flags, lambda file: os.pwrite(file, data, place * BLOCK)))
        self.written.add(place)

    def clone(self, kind, place):
        """Of the template or of another disk, whose blocks were written and not synchronized."""
        if place not in self.written:
            self.write("write", place)
        source, blocks = self.template_disk, {}
        if kind == "clone-written":
            source = self.other
            data = self.dice.randbytes(64) * (BLOCK // 64)
            self.with_file(os.O_WRONLY, lambda file: os.pwrite(file, data, place * BLOCK), source)
            self.other_blocks[place] = data
        end = min(place + 16, self.size // BLOCK)
        for at in self.places:
            if place <= at < end:
                blocks[at] = self.other_blocks[at] if kind == "clone-written" else (
                    self.base[at * BLOCK:(at + 1) * BLOCK])
        self.do(kind, self.size, {**self.blocks, **blocks}, True, lambda: self.with_file(
            os.O_RDWR, lambda file: self.copy(source, file, place * BLOCK, (end - place) * BLOCK)))
        self.written -= set(range(place, end))

    def copy(self, path, file, offset, left):
        source = os.open(path, os.O_RDONLY)
        try:
            while left > 0:
                copied = os.copy_file_range(source, file, left, offset, offset)
                if copied <= 0:
                    raise OSError(errno.EIO, "copy_file_range copies nothing")
                offset, left = offset + copied, left - copied
        finally:
            os.close(source)


class Roller(Actor):
    """Each operation is an event with the blocks that the disk shows after it."""

    def __init__(self, story, seed, place, known, arguments):
        super().__init__(story, seed)
        self.place = place
        self.path = os.path.join(place.rolled, "disk0")
        self.snapshots_folder = os.path.join(place.rolled, ".snapshots")
        self.ccnfs, self.key = arguments.ccnfs, arguments.key
        self.export = os.path.join(arguments.notes, "rolled.vm")
        self.blocks = dict(known.rolled.blocks)
        self.snapshots = dict(known.rolled.snapshots)
        self.versions = dict(known.rolled.versions)
        self.imported = dict(known.rolled.imported)
        self.counter = known.rolled.counter
        self.places = blocks_of(RESIZED_MAXIMUM)

    def tool(self, *words):
        try:
            done = subprocess.run([self.ccnfs, *words], capture_output=True, text=True, timeout=TOOL_SECONDS)
        except subprocess.TimeoutExpired:
            raise OSError(errno.ETIMEDOUT, f"ccnfs {words[0]} does not end") from None
        if done.returncode != 0:
            # What the command says is for the log; that it fails may be the cut.
            raise OSError(errno.EIO, f"ccnfs {words[0]}: {done.stderr.strip()[:200]}")
        return done.stdout

    def do(self, blocks, durable, action):
        self.story.say("rolling", blocks)
        action()
        self.story.say("rolled", durable)
        self.blocks = blocks

    def note(self, what, number, action, blocks=None):
        """Of a thing with a number, that is to be there, or not to be there any more."""
        self.story.say("sent-" + what, number, blocks)
        value = action()
        self.story.say("answered-" + what, number)
        return value

    def write(self):
        place, data = self.dice.choice(self.places), self.dice.randbytes(64) * (BLOCK // 64)
        dsync = self.dice.random() < 0.3

        def action():
            file = os.open(self.path, os.O_WRONLY | (os.O_DSYNC if dsync else 0))
            try:
                os.pwrite(file, data, place * BLOCK)
            finally:
                os.close(file)

        self.do({**self.blocks, place: data}, dsync, action)

    def snapshot_path(self, number):
        return os.path.join(self.snapshots_folder, f"r{number}")

    def step(self):
        self.counter += 1
        number = self.counter
        for _ in range(self.dice.randrange(1, 4)):
            self.write()
        blocks = self.blocks
        self.do(blocks, True, lambda: self.note(
            "rolled-snapshot", number, lambda: os.mkdir(self.snapshot_path(number)), blocks))
        self.snapshots[number] = blocks
        for _ in range(self.dice.randrange(1, 4)):
            self.write()
        kind = self.dice.choice(["rollback", "republish", "republish", "import"])
        if kind == "rollback":
            old = self.dice.choice(sorted(self.snapshots))
            self.do(self.snapshots[old], True, lambda: self.tool("rollback", "rolled", f"r{old}"))
        elif kind == "republish":
            self.republish()
        else:
            self.move(number)
        while len(self.snapshots) > KEPT_SNAPSHOTS:
            old = self.dice.choice(sorted(self.snapshots)[:2])
            self.note("rolled-drop", old, lambda old=old: os.rmdir(self.snapshot_path(old)))
            del self.snapshots[old]

    def republish(self):
        # A number that is withdrawn is not used again, one whose publish was cut off may be.
        blocks = self.blocks
        said = self.note("version", None, lambda: self.tool(
            "republish", "rolled", ROLLED_NAME, "--rebase", "--key", self.key, "--json"), blocks)
        version = json.loads(said)["version"]
        self.story.say("version-is", version, blocks)
        self.versions[version] = blocks
        while len(self.versions) > KEPT_VERSIONS:
            old = min(self.versions)
            self.note("withdrawal", old, lambda old=old: self.tool("delete", ROLLED_NAME, "--version", str(old)))
            del self.versions[old]

    def move(self, number):
        self.tool("export-vm", f"rolled@r{number}", self.export, "--force")
        self.note("import", number, lambda: self.tool(
            "import-vm", self.export, "--name", f"imported-{number}", "--clone"), self.snapshots[number])
        self.imported[number] = self.snapshots[number]
        while len(self.imported) > 1:
            old = min(self.imported)
            vm = os.path.join(self.place.vms, f"imported-{old}")
            self.note("import-removal", old, lambda vm=vm: os.unlink(os.path.join(vm, "disk0")))
            os.rmdir(vm)
            del self.imported[old]


def clipped(data, place, size):
    """What is left of a block by shrinking."""
    left = min(max(size - place * BLOCK, 0), BLOCK)
    return data[:left] + bytes(BLOCK - left)


def found_blocks(path):
    """Size and blocks of the resized disk, up to the size it may have."""
    size = os.path.getsize(path)
    blocks = {}
    with open(path, "rb") as file:
        for at in blocks_of(RESIZED_MAXIMUM):
            file.seek(at * BLOCK)
            data = file.read(BLOCK)
            blocks[at] = data + bytes(BLOCK - len(data))
    return size, blocks
