"""VMs of a node by system calls and the tool, with a model in memory beside. Imported by kill-matrix.py.

Python's standard library only.
"""

import mmap
import os
import random
import subprocess
import time

from disk_history import (
    BLOCK, KEEP_SIZE, Reader, Story, Writer, allowed, blocks_of, differences, fallocate, moment,
)

TOOL_SECONDS = 60
TEMPLATE = "ccnx:/mycorp.com/base"


class Died(Exception):
    """The node did."""


class Wrong(Exception):
    """One sentence about what should not have happened."""


# ---- what must be there


class Either:
    """Bytes of a disk while an operation is under way: each block of the range is old or new, or each
    byte of a write."""

    def __init__(self, old, new):
        self.old, self.new = old, new

    def fault(self, found):
        if len(found) not in (len(self.old), len(self.new)):
            return f"{len(found)} bytes, not {len(self.old)} or {len(self.new)}"
        old, new = (padded(data, len(found)) for data in (self.old, self.new))
        if found in (old, new):
            return None
        for start in range(0, len(found), BLOCK):
            piece = found[start:start + BLOCK]
            olds, news = old[start:start + BLOCK], new[start:start + BLOCK]
            if piece in (olds, news):
                continue
            bad = [at for at in range(len(piece)) if piece[at] not in (olds[at], news[at])]
            if bad:
                return f"byte {start + bad[0]} is neither old nor new"
        return None


class OneMoment:
    """A disk of a snapshot or clone that was taken under writers; not asked yet what it shows."""

    def __init__(self, disk, sent):
        self.disk, self.sent = disk, sent


def padded(data, size):
    return data[:size] + bytes(max(0, size - len(data)))


def fault_of(expected, found):
    """A sentence about the first difference of two disks; None if there is none."""
    if isinstance(expected, Either):
        return expected.fault(found)
    if expected == found:
        return None
    if len(expected) != len(found):
        return f"{len(found)} bytes, not {len(expected)}"
    blocks = [start for start in range(0, len(found), BLOCK)
              if expected[start:start + BLOCK] != found[start:start + BLOCK]]
    zeros = sum(1 for start in blocks if not any(found[start:start + BLOCK]))
    return f"{len(blocks)} blocks differ, {zeros} of them are zeros, the first is {blocks[0] // BLOCK}"


class World:
    """VMs with their disks and snapshots, and the versions of the template. Changed by making another."""

    def __init__(self, disks, snapshots, versions):
        # {(vm, disk): bytes}, {(vm, snapshot): {disk: bytes}}, {version: {disk: bytes}}, names of VMs
        self.disks, self.snapshots, self.versions = disks, snapshots, versions
        self.vms = set()

    def copy(self):
        other = World(dict(self.disks), dict(self.snapshots), dict(self.versions))
        other.vms = set(self.vms)
        return other

    def disks_of(self, vm):
        return {disk: data for (owner, disk), data in self.disks.items() if owner == vm}


def observe(mount):
    """The world as the mount shows it."""
    world = World({}, {}, {})
    home = os.path.join(mount, "localhost")
    for vm in sorted(os.listdir(home)):
        world.vms.add(vm)
        folder = os.path.join(home, vm)
        world.disks.update({(vm, disk): data for disk, data in disks_in(folder).items()})
        snapshots = os.path.join(folder, ".snapshots")
        for name in sorted(os.listdir(snapshots)):
            world.snapshots[vm, name] = disks_in(os.path.join(snapshots, name))
    versions = os.path.join(mount, TEMPLATE.removeprefix("ccnx:/"), ".versions")
    for version in os.listdir(versions):
        world.versions[int(version)] = disks_in(os.path.join(versions, version))
    return world


def disks_in(folder):
    found = {}
    for name in sorted(os.listdir(folder)):
        if name.startswith("disk"):
            with open(os.path.join(folder, name), "rb") as file:
                found[name] = file.read()
    return found


def faults(expected, found, asked):
    """Sentences about all differences. `asked` says what is wrong with a `OneMoment`."""
    said = []
    if expected.vms != found.vms:
        said.append(f"the VMs are {sorted(found.vms)}, not {sorted(expected.vms)}")
    for text, wanted, there in [("disk", expected.disks, found.disks),
                                ("snapshot", expected.snapshots, found.snapshots),
                                ("version", expected.versions, found.versions)]:
        missing = [key for key in wanted if key not in there]
        extra = [key for key in there if key not in wanted]
        if missing:
            said.append(f"{text} {missing} not there")
        if extra:
            said.append(f"{text} {extra} there")
        for key in set(wanted) & set(there):
            if text == "disk":
                pairs = [(key, wanted[key], there[key])]
            else:
                if set(wanted[key]) != set(there[key]):
                    said.append(f"{text} {key} has {sorted(there[key])}, not {sorted(wanted[key])}")
                pairs = [((key, disk), wanted[key][disk], there[key][disk])
                         for disk in wanted[key] if disk in there[key]]
            one_moment = {}
            for name, want, data in pairs:
                if isinstance(want, OneMoment):
                    one_moment[name] = (want, data)
                elif want is not None:
                    fault = fault_of(want, data)
                    if fault:
                        said.append(f"{text} {name}: {fault}")
            if one_moment:
                said += [f"{text} {key}: {fault}" for fault in asked(one_moment)]
    return said


# ---- the operations


class Machine:
    """The node's VMs by system calls and the tool, with a model beside: what was answered is in
    `world`, what is under way in `candidates`."""

    def __init__(self, arguments, world):
        self.mount, self.ccnfs, self.pid = arguments.mount, arguments.ccnfs, arguments.pid
        self.home = os.path.join(arguments.mount, "localhost")
        self.template = os.path.join(arguments.mount, TEMPLATE.removeprefix("ccnx:/"))
        self.world = world
        self.candidates = []
        self.under_way = None
        self.dice = random.Random(arguments.seed)
        # Of the writers: what happened, what their disks were, which disks are theirs.
        self.story, self.start, self.reader, self.written = Story(), {}, None, {}
        self.count = 0

    def alive(self):
        try:
            with open(f"/proc/{self.pid}/stat") as file:
                return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
        except OSError:
            return False

    def died_soon(self, seconds=3):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if not self.alive():
                return True
            time.sleep(0.02)
        return False

    def step(self, text, action, change, between=()):
        """One operation: `change` makes the world that follows it; `between` others that a death may
        leave."""
        after = self.world.copy()
        change(after)
        self.candidates = [self.world, after, *between]
        self.under_way = text
        try:
            value = action()
        except (OSError, Wrong) as error:
            if self.died_soon():
                raise Died(f"{text}: {error}") from None
            raise Wrong(f"{text}: {error}") from None
        self.world, self.candidates, self.under_way = after, [], None
        self.count += 1
        return value

    def tool(self, *words):
        try:
            done = subprocess.run([self.ccnfs, *words], capture_output=True, text=True, timeout=TOOL_SECONDS)
        except subprocess.TimeoutExpired:
            raise Wrong(f"ccnfs {words[0]} does not end within {TOOL_SECONDS} s") from None
        if done.returncode != 0:
            raise Wrong(f"status {done.returncode}: {done.stderr.strip()[:300]}")
        return done.stdout

    def path(self, vm, disk=None, snapshot=None):
        words = [self.home, vm] + ([".snapshots", snapshot] if snapshot else []) + ([disk] if disk else [])
        return os.path.join(*words)

    # ---- VMs

    def make(self, vm):
        self.step(f"mkdir {vm}", lambda: os.mkdir(self.path(vm)), lambda world: world.vms.add(vm))

    def remove(self, vm):
        """`rm -r`: the disks, then the VM."""
        for disk in self.world.disks_of(vm):
            self.unlink(vm, disk)
        self.step(f"rmdir {vm}", lambda: os.rmdir(self.path(vm)), lambda world: world.vms.remove(vm))

    def rename(self, old, new):
        def change(world):
            world.vms.remove(old)
            world.vms.add(new)
            for key in [key for key in world.disks if key[0] == old]:
                world.disks[new, key[1]] = world.disks.pop(key)
            for key in [key for key in world.snapshots if key[0] == old]:
                world.snapshots[new, key[1]] = world.snapshots.pop(key)

        self.step(f"mv {old} {new}", lambda: os.rename(self.path(old), self.path(new)), change)

    def deploy(self, *vms):
        def change(world):
            for vm in vms:
                world.vms.add(vm)
                for disk, data in world.versions[max(world.versions)].items():
                    world.disks[vm, disk] = data

        self.step(f"ccnfs deploy {vms}", lambda: self.tool("deploy", TEMPLATE, *vms), change)

    # ---- disks

    def change_disk(self, text, vm, disk, action, data, in_part=True):
        old = self.world.disks[vm, disk]
        between = []
        if in_part:
            other = self.world.copy()
            other.disks[vm, disk] = Either(old, data)
            between.append(other)
        self.step(f"{text} on {vm}/{disk}", action, lambda world: world.disks.update({(vm, disk): data}), between)

    def with_file(self, vm, disk, flags, action):
        def opened():
            file = os.open(self.path(vm, disk), flags, 0o644)
            try:
                return action(file)
            finally:
                os.close(file)

        return opened

    def write(self, vm, disk, offset, length, how="buffered"):
        old = self.world.disks[vm, disk]
        data = self.dice.randbytes(length)
        memory = mmap.mmap(-1, max(length, 1))
        memory[:length] = data
        flags = os.O_RDWR | {"buffered": 0, "dsync": os.O_DSYNC, "direct": os.O_DIRECT}[how]

        def action(file):
            if os.pwrite(file, memoryview(memory)[:length], offset) != length:
                raise Wrong("the write was cut short")

        new = padded(old, max(len(old), offset))
        new = new[:offset] + data + new[offset + length:]
        self.change_disk(f"{how} write of {length} at {offset}", vm, disk,
                         self.with_file(vm, disk, flags, action), new)

    def fsync(self, vm, disk):
        self.step(f"fsync of {vm}/{disk}", self.with_file(vm, disk, os.O_RDWR, os.fsync), lambda world: None)

    def discard(self, vm, disk, mode, offset, length):
        old = self.world.disks[vm, disk]
        end = offset + length
        if mode & KEEP_SIZE:
            end = min(end, len(old))
        new = padded(old, max(len(old), end))
        if end > offset:
            new = new[:offset] + bytes(end - offset) + new[end:]
        self.change_disk(f"fallocate {mode:#x} of {length} at {offset}", vm, disk,
                         self.with_file(vm, disk, os.O_RDWR, lambda file: fallocate(file, mode, offset, length)), new)

    def reserve(self, vm, disk, offset, length, mode=0):
        old = self.world.disks[vm, disk]
        new = old if mode & KEEP_SIZE else padded(old, max(len(old), offset + length))
        self.change_disk(f"fallocate {mode:#x} of {length} at {offset}", vm, disk,
                         self.with_file(vm, disk, os.O_RDWR, lambda file: fallocate(file, mode, offset, length)), new)

    def truncate(self, vm, disk, size):
        old = self.world.disks[vm, disk]
        # The rest of the last block becomes zeros on its own when a disk is shrunk into a block.
        in_part = size < len(old) and size % BLOCK != 0
        between = []
        if in_part:
            other = self.world.copy()
            end = min(len(old), (size // BLOCK + 1) * BLOCK)
            other.disks[vm, disk] = Either(old, old[:size] + bytes(end - size) + old[end:])
            between.append(other)
        self.step(f"truncate {vm}/{disk} to {size}", lambda: os.truncate(self.path(vm, disk), size),
                  lambda world: world.disks.update({(vm, disk): padded(old, size)}), between)

    def blank(self, vm, disk, size):
        self.create(vm, disk)
        self.truncate(vm, disk, size)

    def create(self, vm, disk):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self.step(f"create {vm}/{disk}", self.with_file(vm, disk, flags, lambda file: None),
                  lambda world: world.disks.update({(vm, disk): b""}))

    def clone(self, source, data, vm, disk, over=False):
        """`cp`, as its system calls. `data` is what the source shows."""
        if not over:
            self.create(vm, disk)
        old = self.world.disks[vm, disk]
        new = data + old[len(data):] if isinstance(data, bytes) else data

        def action(file):
            from_file = os.open(source, os.O_RDONLY)
            try:
                left = os.fstat(from_file).st_size
                while left > 0:
                    copied = os.copy_file_range(from_file, file, left)
                    if copied <= 0:
                        raise Wrong("copy_file_range copies nothing")
                    left -= copied
            finally:
                os.close(from_file)

        self.change_disk(f"copy_file_range from {os.path.relpath(source, self.mount)}", vm, disk,
                         self.with_file(vm, disk, os.O_RDWR, action), new, in_part=isinstance(data, bytes))

    def clone_part(self, from_vm, from_disk, vm, disk, offset, length):
        source, target = self.world.disks[from_vm, from_disk], self.world.disks[vm, disk]
        new = target[:offset] + source[offset:offset + length] + target[offset + length:]

        def action(file):
            from_file = os.open(self.path(from_vm, from_disk), os.O_RDONLY)
            try:
                at, left = offset, length
                while left > 0:
                    copied = os.copy_file_range(from_file, file, left, at, at)
                    if copied <= 0:
                        raise Wrong("copy_file_range copies nothing")
                    at, left = at + copied, left - copied
            finally:
                os.close(from_file)

        self.change_disk(f"copy_file_range of {length} at {offset} from {from_vm}/{from_disk}", vm, disk,
                         self.with_file(vm, disk, os.O_RDWR, action), new)

    def cp(self, vm, disk, to_vm, to_disk):
        """The tool itself; it makes an empty file first."""
        data = self.world.disks[vm, disk]
        empty = self.world.copy()
        empty.disks[to_vm, to_disk] = b""

        def action():
            done = subprocess.run(["cp", self.path(vm, disk), self.path(to_vm, to_disk)], capture_output=True,
                                  text=True, timeout=TOOL_SECONDS)
            if done.returncode != 0:
                raise Wrong(done.stderr.strip())

        self.step(f"cp {vm}/{disk} {to_vm}/{to_disk}", action,
                  lambda world: world.disks.update({(to_vm, to_disk): data}), [empty])

    def unlink(self, vm, disk):
        self.step(f"rm {vm}/{disk}", lambda: os.unlink(self.path(vm, disk)),
                  lambda world: world.disks.pop((vm, disk)))

    def open_and_unlink(self, vm, disk):
        """A removed disk that is open lives until it is closed; if the node dies, its files go."""
        data = self.world.disks[vm, disk]

        def action(file):
            os.unlink(self.path(vm, disk))
            os.pwrite(file, b"x" * BLOCK, 0)
            if os.pread(file, BLOCK, BLOCK) != data[BLOCK:2 * BLOCK]:
                raise Wrong("a removed disk that is open shows other bytes")

        self.step(f"rm {vm}/{disk} while it is open", self.with_file(vm, disk, os.O_RDWR, action),
                  lambda world: world.disks.pop((vm, disk)))

    # ---- snapshots

    def snapshot(self, vm, name, by_tool=False):
        disks = {disk: OneMoment(disk, len(self.story.events)) if (vm, disk) in self.written else data
                 for disk, data in self.world.disks_of(vm).items()}
        sent = self.story.say("sent-snapshot", name)
        action = (lambda: self.tool("snapshot", vm, name)) if by_tool else (lambda: os.mkdir(self.path(vm, None, name)))
        self.step(f"snapshot {vm}@{name}", action,
                  lambda world: world.snapshots.update({(vm, name): disks}))
        answered = self.story.say("answered-snapshot", name)
        if any(isinstance(data, OneMoment) for data in disks.values()):
            self.settle_moment(disks, lambda disk: self.path(vm, disk, name), sent, answered, f"snapshot {vm}@{name}")

    def settle_moment(self, disks, path_of, sent, answered, text):
        """Asks what a snapshot or clone shows that was taken under writers, and holds it to that."""
        own = {disk for disk, data in disks.items() if isinstance(data, OneMoment)}
        shown = {}
        try:
            for disk in own:
                with open(path_of(disk), "rb") as file:
                    shown[disk] = file.read()
        except OSError as error:
            if self.died_soon():
                raise Died(f"reading {text}: {error}") from None
            raise Wrong(f"reading {text}: {error}") from None
        wrong = self.moment_faults({disks[disk].disk: shown[disk] for disk in own}, sent, answered)
        if wrong:
            raise Wrong(f"{text} is not one moment: {wrong[0]}")
        disks.update(shown)

    def moment_faults(self, shown, sent, answered):
        tokens = {(disk, place): self.reader.token(place, data[place * BLOCK:(place + 1) * BLOCK])
                  for disk, data in shown.items() for place in blocks_of(len(data))}
        return moment(tokens, {key: token for key, token in self.start.items() if key[0] in shown}, self.story,
                      sent, answered, self.reader.seen)

    def drop(self, vm, name, by_tool=False):
        action = (lambda: self.tool("snapshot", vm, name, "--delete")) if by_tool else (
            lambda: os.rmdir(self.path(vm, None, name)))
        self.step(f"drop {vm}@{name}", action, lambda world: world.snapshots.pop((vm, name)))

    def rollback(self, vm, name):
        def change(world):
            for key in [key for key in world.disks if key[0] == vm]:
                del world.disks[key]
            world.disks.update({(vm, disk): data for disk, data in world.snapshots[vm, name].items()})

        self.step(f"ccnfs rollback {vm} {name}", lambda: self.tool("rollback", vm, name), change)

    # ---- the rest

    def reclaim(self):
        self.step("ccnfs reclaim", lambda: self.tool("reclaim"), lambda world: None)

    def republish(self, vm, key, rebase):
        options = ["--rebase"] if rebase else []

        def change(world):
            world.versions[max(world.versions) + 1] = world.disks_of(vm)

        self.step(f"ccnfs republish {vm} {' '.join(options)}",
                  lambda: self.tool("republish", vm, "--key", key, *options), change)

    def import_vm(self, file, vm, disks):
        def change(world):
            world.vms.add(vm)
            world.disks.update({(vm, disk): data for disk, data in disks.items()})

        self.step(f"ccnfs import-vm {vm}", lambda: self.tool("import-vm", file, "--name", vm, "--clone"), change)

    # ---- beside writers

    def with_writers(self, vm, disks, body):
        """Runs `body` while two writers write to disks of a VM."""
        paths = {disk: self.path(vm, disk) for disk in disks}
        bases = {disk: self.world.disks[vm, disk] for disk in disks}
        size = min(len(data) for data in bases.values())
        if len({data[:size] for data in bases.values()}) != 1:
            raise Wrong("writers want disks that are alike")
        self.reader = Reader(next(iter(bases.values())))
        self.start = {(disk, place): self.reader.token(place, data[place * BLOCK:(place + 1) * BLOCK])
                      for disk, data in bases.items() for place in blocks_of(len(data))}
        self.written = {(vm, disk): data for disk, data in bases.items()}
        for key in self.written:
            # Held to the writers' story from now on.
            self.world.disks[key] = None
        seed = self.dice.random()
        writers = [Writer(self.story, 0, paths, size, f"{seed}/0", dsync=True),
                   Writer(self.story, 1, paths, size, f"{seed}/1")]
        for writer in writers:
            writer.start()
        try:
            body()
            time.sleep(0.05)
        finally:
            for writer in writers:
                writer.stop()
        for writer in writers:
            if writer.error:
                if self.died_soon():
                    raise Died(f"writer {writer.number}: {writer.error}")
                raise Wrong(f"writer {writer.number}: {writer.error}")
        try:
            found = {key: disks_in(self.path(vm))[key[1]] for key in self.written}
        except OSError as error:
            if self.died_soon():
                raise Died(f"reading what was written: {error}") from None
            raise
        wrong = self.written_faults(found)
        if wrong:
            raise Wrong(f"what the writers wrote: {wrong[0]}")
        self.world.disks.update(found)
        self.written = {}

    def written_faults(self, found):
        tokens = {(disk, place): self.reader.token(place, data[place * BLOCK:(place + 1) * BLOCK])
                  for (_, disk), data in found.items() for place in blocks_of(len(data))}
        wrong = differences(tokens, allowed(self.start, self.story.events, {0}))
        for key, data in found.items():
            base, places = self.written[key], set(blocks_of(len(data)))
            for start in range(0, len(data), BLOCK):
                if start // BLOCK not in places and data[start:start + BLOCK] != base[start:start + BLOCK]:
                    wrong.append(f"block {start // BLOCK} of {key}, which no writer writes, has changed")
        return wrong

    def clone_under_writers(self, vm, disk, to_vm):
        self.make(to_vm)
        sent = self.story.say("sent-clone", to_vm)
        source = OneMoment(disk, sent)
        self.clone(self.path(vm, disk), source, to_vm, "disk0")
        answered = self.story.say("answered-clone", to_vm)
        disks = {"disk0": source}
        self.settle_moment(disks, lambda _: self.path(to_vm, "disk0"), sent, answered, f"a clone of {vm}/{disk}")
        self.world.disks[to_vm, "disk0"] = disks["disk0"]
