#!/usr/bin/env python3
"""Random operations on VMs of a mount, each done to bytes in memory as well; both must agree.

    disk-storm.py run    MOUNT TEMPLATE-FILE TEMPLATE-PATH MODELS --ccnfs TOOL --key FILE --seed N --operations N
    disk-storm.py verify MOUNT MODELS

`run` makes VMs storm-<seed>-<n>, writes, punches, zeroes, resizes, clones whole files and pieces
between templates, disks and snapshots, takes snapshots, drops them, rolls back, republishes, exports and
imports, renames and removes; it compares as it goes, and all at the end. What there should be then is left in the folder MODELS, one
file for each disk, for `verify`, after a restart for example. The seed repeats it; of what differed
the first byte and the last operations are printed. Python's standard library only.
"""

import argparse
import ctypes
import errno
import os
import random
import subprocess
import sys

BLOCK = 4096
SIZE_LIMIT = 6 * 1024 * 1024
VMS, DISKS, SNAPSHOTS = 4, 2, 3
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16

libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


class Difference(Exception):
    """One sentence about what is not as it should be."""


def fallocate(file, mode, offset, length):
    if libc.fallocate(file, mode, offset, length) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def compare(path, expected, start=0, end=None):
    end = len(expected) if end is None else end
    file = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(file).st_size
        if size != len(expected):
            raise Difference(f"{path} has {size} bytes instead of {len(expected)}")
        place = start
        while place < end:
            got = os.pread(file, min(1 << 20, end - place), place)
            want = expected[place:place + len(got)]
            if not got:
                raise Difference(f"{path} ends at {place} of {end}")
            if got != want:
                at = next(index for index in range(len(got)) if got[index] != want[index])
                zeros = "" if got[at:at + BLOCK].strip(b"\0") else ", which reads as zeros"
                raise Difference(f"{path} differs first at {place + at}{zeros}")
            place += len(got)
    finally:
        os.close(file)


class Storm:
    def __init__(self, arguments):
        self.dice = random.Random(arguments.seed)
        self.home = f"{arguments.mount}/localhost"
        self.mount = arguments.mount
        self.ccnfs, self.key = arguments.ccnfs, arguments.key
        self.file = f"{arguments.models}.vm"
        self.template = arguments.template_path
        with open(arguments.template, "rb") as file:
            self.base = file.read()
        self.prefix = f"storm-{arguments.seed}"
        self.made = 0
        # VM -> (disk -> bytearray, snapshot -> (disk -> bytes))
        self.vms = {}
        # Path in the mount -> bytes of what was republished last.
        self.published = {}
        self.log = []

    # ---- what to do it to

    def some_vm(self):
        return self.dice.choice(sorted(self.vms)) if self.vms else None

    def some_disk(self):
        pairs = [(vm, disk) for vm in sorted(self.vms) for disk in sorted(self.vms[vm][0])]
        return self.dice.choice(pairs) if pairs else None

    def some_source(self):
        """Path and bytes of anything that can be read."""
        sources = [(self.template, self.base), *sorted(self.published.items())]
        for vm, (disks, snapshots) in sorted(self.vms.items()):
            sources += [(f"{self.home}/{vm}/{disk}", data) for disk, data in sorted(disks.items())]
            for snapshot, held in sorted(snapshots.items()):
                sources += [(f"{self.home}/{vm}/.snapshots/{snapshot}/{disk}", data)
                            for disk, data in sorted(held.items())]
        return self.dice.choice(sources)

    def some_range(self, size):
        kind = self.dice.randrange(4)
        if kind == 0:
            start = self.dice.randrange(0, size + 1)
            return start, self.dice.choice([1, 511, 513, 4095, 4097, 70001])
        if kind == 1:
            # Around one block's edge.
            edge = self.dice.randrange(0, size // BLOCK + 1) * BLOCK
            start = max(0, edge - self.dice.randrange(0, 3))
            return start, self.dice.randrange(1, 5)
        start = self.dice.randrange(0, size // BLOCK + 1) * BLOCK
        return start, self.dice.choice([1, 1, 2, 3, 8, 16, 100, 300]) * BLOCK

    def did(self, text):
        self.log.append(text)
        del self.log[:-25]

    # ---- operations

    def make(self):
        if len(self.vms) >= VMS:
            return
        self.made += 1
        vm = f"{self.prefix}-{self.made}"
        self.did(f"mkdir {vm}")
        os.mkdir(f"{self.home}/{vm}")
        self.vms[vm] = ({}, {})

    def clone(self):
        """A whole file as cp does it, onto a new disk or over one that is there."""
        vm = self.some_vm()
        if vm is None:
            return
        disk = f"disk{self.dice.randrange(DISKS)}"
        path, data = self.some_source()
        target = f"{self.home}/{vm}/{disk}"
        if path == target:
            return
        self.did(f"cp {path} {target}, {len(data)} bytes")
        subprocess.run(["cp", path, target], check=True)
        self.vms[vm][0][disk] = bytearray(data)

    def blank(self):
        vm = self.some_vm()
        disk = f"disk{self.dice.randrange(DISKS)}"
        if vm is None or disk in self.vms[vm][0]:
            return
        size = self.dice.randrange(0, SIZE_LIMIT)
        self.did(f"truncate -s {size} {vm}/{disk}, new")
        file = os.open(f"{self.home}/{vm}/{disk}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.ftruncate(file, size)
        os.close(file)
        self.vms[vm][0][disk] = bytearray(size)

    def change(self, action):
        """`action(file, data, start, length)` changes both."""
        chosen = self.some_disk()
        if chosen is None:
            return
        vm, disk = chosen
        data = self.vms[vm][0][disk]
        start, length = self.some_range(len(data))
        if start + length > SIZE_LIMIT:
            return
        self.did(f"{action.__name__} {vm}/{disk} {start} {length}, of {len(data)}")
        file = os.open(f"{self.home}/{vm}/{disk}", os.O_RDWR)
        try:
            action(file, data, start, length)
        finally:
            os.close(file)

    def write(self, file, data, start, length):
        new = self.dice.randbytes(length) if self.dice.random() < 0.85 else bytes(length)
        if self.dice.random() < 0.2:
            os.pwritev(file, [new], start, os.RWF_DSYNC)
        else:
            os.pwrite(file, new, start)
        if start > len(data):
            data += bytes(start - len(data))
        data[start:start + length] = new

    def punch(self, file, data, start, length):
        fallocate(file, PUNCH_HOLE | KEEP_SIZE, start, length)
        end = min(start + length, len(data))
        if start < end:
            data[start:end] = bytes(end - start)

    def zero(self, file, data, start, length):
        keep = self.dice.random() < 0.5
        fallocate(file, ZERO_RANGE | (KEEP_SIZE if keep else 0), start, length)
        if not keep and start + length > len(data):
            data += bytes(start + length - len(data))
        end = min(start + length, len(data))
        if start < end:
            data[start:end] = bytes(end - start)

    def reserve(self, file, data, start, length):
        keep = self.dice.random() < 0.5
        fallocate(file, KEEP_SIZE if keep else 0, start, length)
        if not keep and start + length > len(data):
            data += bytes(start + length - len(data))

    def resize(self, file, data, start, length):
        size = start + self.dice.choice([0, length])
        os.ftruncate(file, size)
        del data[size:]
        data += bytes(size - len(data))

    def copy(self, file, data, start, length):
        path, held = self.some_source()
        # Where it begins there: as far from a block's edge as here, or anywhere.
        at = self.dice.randrange(0, len(held) // BLOCK + 1) * BLOCK + start % BLOCK
        if self.dice.random() < 0.2:
            at = self.dice.randrange(0, len(held) + 1)
        self.did(f"  from {path} at {at}")
        source = os.open(path, os.O_RDONLY)
        try:
            if os.path.samestat(os.fstat(source), os.fstat(file)):
                # Of ranges that overlap the kernel wants nothing.
                if at < start + length and start < at + length:
                    return
            taken = bytes(held[at:at + length])
            done = 0
            while done < length:
                count = os.copy_file_range(source, file, length - done, at + done, start + done)
                if count == 0:
                    break
                done += count
            if done != len(taken):
                raise Difference(f"copy_file_range took {done} bytes of {len(taken)}")
        finally:
            os.close(source)
        if taken:
            if start > len(data):
                data += bytes(start - len(data))
            data[start:start + len(taken)] = taken

    def snapshot(self):
        vm = self.some_vm()
        if vm is None or len(self.vms[vm][1]) >= SNAPSHOTS or not self.vms[vm][0]:
            return
        name = f"s{self.dice.randrange(10)}"
        if name in self.vms[vm][1]:
            return
        self.did(f"mkdir {vm}/.snapshots/{name}")
        os.mkdir(f"{self.home}/{vm}/.snapshots/{name}")
        self.vms[vm][1][name] = {disk: bytes(data) for disk, data in self.vms[vm][0].items()}

    def drop(self):
        vm = self.some_vm()
        if vm is None or not self.vms[vm][1]:
            return
        name = self.dice.choice(sorted(self.vms[vm][1]))
        self.did(f"rmdir {vm}/.snapshots/{name}")
        os.rmdir(f"{self.home}/{vm}/.snapshots/{name}")
        del self.vms[vm][1][name]

    def tool(self, *words):
        self.did(" ".join(words))
        done = subprocess.run([self.ccnfs, *words], capture_output=True, text=True)
        if done.returncode != 0:
            raise Difference(f"ccnfs {words[0]} ends with {done.returncode}: {done.stderr.strip()}")

    def republish(self):
        """The VM or a snapshot of it as a template; the VM may stand on that then."""
        vm = self.some_vm()
        if vm is None:
            return
        what, disks, more = vm, self.vms[vm][0], []
        if self.vms[vm][1] and self.dice.random() < 0.3:
            name = self.dice.choice(sorted(self.vms[vm][1]))
            what, disks = f"{vm}@{name}", self.vms[vm][1][name]
        elif self.dice.random() < 0.7:
            more = ["--rebase"]
        if what == vm:
            # A template has whole sectors.
            for disk, data in disks.items():
                size = (len(data) + 511) // 512 * 512
                os.truncate(f"{self.home}/{vm}/{disk}", size)
                data += bytes(size - len(data))
        if not disks or any(len(data) == 0 or len(data) % 512 for data in disks.values()):
            return
        name = f"{self.prefix}-t{self.dice.randrange(3)}"
        self.tool("republish", what, f"ccnx:/mycorp.com/{name}", "--key", self.key, *more)
        folder = f"{self.mount}/mycorp.com/{name}"
        self.published = {path: data for path, data in self.published.items()
                          if not path.startswith(f"{folder}/")}
        self.published |= {f"{folder}/{disk}": bytes(data) for disk, data in disks.items()}

    def move(self):
        """Exported and imported as another VM."""
        vm = self.some_vm()
        if vm is None or len(self.vms) >= VMS or not self.vms[vm][0]:
            return
        what, disks = vm, self.vms[vm][0]
        if self.vms[vm][1] and self.dice.random() < 0.5:
            name = self.dice.choice(sorted(self.vms[vm][1]))
            what, disks = f"{vm}@{name}", self.vms[vm][1][name]
        self.made += 1
        new = f"{self.prefix}-{self.made}"
        self.tool("export-vm", what, self.file, "--keep", "--force")
        self.tool("import-vm", self.file, "--clone", "--name", new)
        self.vms[new] = ({disk: bytearray(data) for disk, data in disks.items()}, {})

    def roll_back(self):
        vm = self.some_vm()
        if vm is None or not self.vms[vm][1]:
            return
        name = self.dice.choice(sorted(self.vms[vm][1]))
        self.tool("rollback", vm, name)
        held = self.vms[vm][1][name]
        disks = self.vms[vm][0]
        # A disk that came later stays as it is.
        disks.update({disk: bytearray(data) for disk, data in held.items()})
        there = sorted(name for name in os.listdir(f"{self.home}/{vm}") if name != "vm.json")
        if there != sorted(disks):
            raise Difference(f"after the rollback {vm} has {there} instead of {sorted(disks)}")

    def rename(self):
        vm = self.some_vm()
        if vm is None:
            return
        self.made += 1
        new = f"{self.prefix}-{self.made}"
        self.did(f"mv {vm} {new}")
        os.rename(f"{self.home}/{vm}", f"{self.home}/{new}")
        self.vms[new] = self.vms.pop(vm)

    def remove_disk(self):
        chosen = self.some_disk()
        if chosen is None:
            return
        vm, disk = chosen
        self.did(f"rm {vm}/{disk}")
        try:
            os.unlink(f"{self.home}/{vm}/{disk}")
        except OSError as error:
            if error.errno != errno.EBUSY or not self.vms[vm][1]:
                raise
            return
        if self.vms[vm][1]:
            raise Difference(f"{vm}/{disk} was removed though {vm} has snapshots")
        del self.vms[vm][0][disk]

    def remove_vm(self):
        vm = self.some_vm()
        if vm is None:
            return
        self.did(f"rm -r {vm}")
        for name in self.vms[vm][1]:
            os.rmdir(f"{self.home}/{vm}/.snapshots/{name}")
        subprocess.run(["rm", "-r", f"{self.home}/{vm}"], check=True)
        del self.vms[vm]

    def look(self):
        path, data = self.some_source()
        if data:
            start, length = self.some_range(len(data))
            compare(path, data, min(start, len(data)), min(start + length, len(data)))

    def step(self):
        share = self.dice.random()
        for limit, action in [
            (0.03, self.make), (0.09, self.clone), (0.11, self.blank),
            (0.38, lambda: self.change(self.write)), (0.48, lambda: self.change(self.punch)),
            (0.56, lambda: self.change(self.zero)), (0.60, lambda: self.change(self.reserve)),
            (0.67, lambda: self.change(self.resize)), (0.82, lambda: self.change(self.copy)),
            (0.87, self.snapshot), (0.9, self.drop), (0.91, self.roll_back), (0.92, self.republish),
            (0.925, self.move), (0.935, self.rename), (0.942, self.remove_disk), (0.945, self.remove_vm),
            (1, self.look),
        ]:
            if share < limit:
                return action()

    def files(self):
        for vm, (disks, snapshots) in sorted(self.vms.items()):
            for disk, data in disks.items():
                yield f"{vm}/{disk}", data
            for snapshot, held in snapshots.items():
                for disk, data in held.items():
                    yield f"{vm}/.snapshots/{snapshot}/{disk}", data

    def compare_all(self):
        for path, data in self.files():
            compare(f"{self.home}/{path}", data)
        for path, data in self.published.items():
            compare(path, data)

    def leave(self, folder):
        os.makedirs(folder, exist_ok=True)
        for path, data in self.files():
            with open(f"{folder}/{path.replace('/', '%')}", "wb") as model:
                model.write(data)


def run(arguments):
    storm = Storm(arguments)
    try:
        for number in range(1, arguments.operations + 1):
            storm.step()
            if number % 500 == 0:
                storm.compare_all()
        storm.compare_all()
    except (Difference, OSError, subprocess.CalledProcessError) as problem:
        print(f"seed {arguments.seed}: {problem}")
        for line in storm.log:
            print(f"  {line}")
        return 1
    storm.leave(arguments.models)
    print(f"seed {arguments.seed}: {arguments.operations} operations, {len(list(storm.files()))} files agree")
    return 0


def verify(arguments):
    names = sorted(os.listdir(arguments.models))
    for name in names:
        with open(f"{arguments.models}/{name}", "rb") as model:
            try:
                compare(f"{arguments.mount}/localhost/{name.replace('%', '/')}", model.read())
            except (Difference, OSError) as problem:
                print(problem)
                return 1
    print(f"{len(names)} files agree")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    added = commands.add_parser("run")
    added.set_defaults(action=run)
    added.add_argument("mount")
    added.add_argument("template", help="what was published")
    added.add_argument("template_path", help="where it stands in the mount")
    added.add_argument("models")
    added.add_argument("--ccnfs", required=True)
    added.add_argument("--key", required=True, help="to republish with")
    added.add_argument("--seed", type=int, required=True)
    added.add_argument("--operations", type=int, required=True)
    added = commands.add_parser("verify")
    added.set_defaults(action=verify)
    added.add_argument("mount")
    added.add_argument("models")
    arguments = parser.parse_args()
    return arguments.action(arguments)


if __name__ == "__main__":
    sys.exit(main())
