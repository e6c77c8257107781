#!/usr/bin/env python3
"""Works on the VMs of a node until it dies at a crash point; says later whether anything was lost.

    kill-matrix.py run   MOUNT NOTES --ccnfs TOOL --pid N --template FILE... --key FILE --export FILE --seed N
    kill-matrix.py check MOUNT NOTES --ccnfs TOOL
    kill-matrix.py on    MOUNT NOTES --ccnfs TOOL --seed N

`run` takes VMs, disks and snapshots through everything a node can do with them, one operation after the
other and for a while with two writers beside (disk_history.py), and keeps in memory what all of them
must show. When an operation fails and the node is dead, it writes down in NOTES what must be there and
which operation was under way, prints that, and ends with status 0. It ends with 3 if the node outlives
all operations, and with 1 if an operation fails while the node lives.

`check` compares a node, started anew, with NOTES: every disk, snapshot, VM and version of the template
is as it was after the last answered operation; of the one under way all or nothing is there, and of
its bytes each is the old or the new one. `on` then writes, takes a snapshot, deletes everything, and asks
whether the space comes back. Python's standard library only.
"""

import argparse
import errno
import os
import pickle
import sys
import time

sys.dont_write_bytecode = True
from disk_history import KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE  # noqa: E402
from machine_model import Died, Machine, World, Wrong, disks_in, faults, observe  # noqa: E402

# How long work that the node does in the background may take to come to a crash point.
BACKGROUND_SECONDS = 5
# What is left of an overlay's folder once nothing is in it.
EMPTY_BYTES = 256 * 1024
NOT_ALIVE = 0
LIVES_ON = 3


# ---- the order of things


def scribble(machine, vm, disk, count=6):
    """Writes, holes and zeros at any offset of a disk."""
    dice = machine.dice
    for _ in range(count):
        size = len(machine.world.disks[vm, disk])
        length = dice.choice([1, 512, 1000, 4096, 8192, 12288, 65536, 100_001])
        offset = dice.randrange(0, size - length)
        kind = dice.choice(["buffered", "buffered", "direct", "dsync", "punch", "zero"])
        if kind == "direct":
            offset, length = offset // 512 * 512, max(512, length // 512 * 512)
        if kind == "punch":
            machine.discard(vm, disk, PUNCH_HOLE | KEEP_SIZE, offset, length)
        elif kind == "zero":
            machine.discard(vm, disk, ZERO_RANGE, offset, length)
        else:
            machine.write(vm, disk, offset, length, kind)


def everything(machine, arguments):
    first = machine.world.versions[1]
    template = [os.path.join(machine.template, disk) for disk in ("disk0", "disk1")]
    mib = 1024 * 1024

    # A VM as scripts make it; writes of all kinds; what was freed is punched after the next flush.
    machine.make("a")
    machine.clone(template[0], first["disk0"], "a", "disk0")
    machine.clone(template[1], first["disk1"], "a", "disk1")
    scribble(machine, "a", "disk0")
    machine.write("a", "disk0", 16 * mib - 10_000, 20_000)
    machine.fsync("a", "disk0")
    machine.write("a", "disk0", 5 * mib, 4 * 65536)
    machine.discard("a", "disk0", PUNCH_HOLE | KEEP_SIZE, 5 * mib + 100, 2 * 65536)
    machine.discard("a", "disk1", ZERO_RANGE | KEEP_SIZE, len(first["disk1"]) - 5000, 100_000)
    machine.discard("a", "disk1", ZERO_RANGE, len(first["disk1"]) - 5000, 100_000)
    machine.reserve("a", "disk0", 6 * mib, mib)
    machine.fsync("a", "disk0")
    machine.fsync("a", "disk1")

    # Snapshots, with something written between them; the one in the middle goes.
    machine.snapshot("a", "s1")
    scribble(machine, "a", "disk0")
    machine.write("a", "disk1", 4096, 300_000)
    machine.snapshot("a", "s2", by_tool=True)
    scribble(machine, "a", "disk0")
    machine.write("a", "disk1", 65536, 100_000)
    machine.snapshot("a", "s3")
    scribble(machine, "a", "disk0", 3)

    # Clones of a snapshot's disk, of a VM's disk, of a part, over what was written.
    machine.make("b")
    machine.clone(machine.path("a", "disk0", "s1"), machine.world.snapshots["a", "s1"]["disk0"], "b", "disk0")
    machine.cp("a", "disk0", "b", "disk1")
    scribble(machine, "b", "disk0", 3)
    scribble(machine, "b", "disk1", 3)
    machine.clone_part("a", "disk0", "b", "disk0", 2 * mib, 3 * mib)
    machine.clone(template[1], first["disk1"], "b", "disk1", over=True)
    machine.fsync("b", "disk1")

    # Two writers on two disks that are alike, under snapshots and clones.
    machine.make("w")
    for disk in ("disk0", "disk1"):
        machine.clone(template[0], first["disk0"], "w", disk)

    def under_writers():
        time.sleep(0.05)
        machine.snapshot("w", "w1")
        machine.clone_under_writers("w", "disk0", "c")
        machine.snapshot("w", "w2")
        time.sleep(0.05)
        machine.drop("w", "w1")
        machine.snapshot("w", "w3", by_tool=True)

    machine.with_writers("w", ["disk0", "disk1"], under_writers)

    # Sizes.
    machine.blank("b", "disk2", 8 * mib)
    machine.write("b", "disk2", 3 * mib - 100, 200_000)
    machine.truncate("b", "disk2", 3 * mib)
    machine.truncate("b", "disk2", 9 * mib)
    machine.write("b", "disk2", 3 * mib - 5000, 10_000)
    machine.truncate("b", "disk2", 3 * mib + 1234)
    machine.truncate("b", "disk2", 4 * mib)
    machine.truncate("c", "disk0", 17 * mib)

    # Back, and away.
    machine.rollback("a", "s1")
    scribble(machine, "a", "disk0", 2)
    machine.drop("a", "s2", by_tool=True)
    machine.reclaim()
    machine.drop("a", "s1")
    machine.drop("a", "s3")
    machine.reclaim()
    machine.open_and_unlink("b", "disk1")
    machine.unlink("b", "disk0")
    machine.reclaim()

    # Elsewhere.
    scribble(machine, "a", "disk0", 2)
    # Whole sectors are published.
    machine.truncate("a", "disk1", len(machine.world.disks["a", "disk1"]) // 512 * 512)
    machine.republish("a", arguments.key, rebase=False)
    scribble(machine, "a", "disk1", 2)
    machine.republish("a", arguments.key, rebase=True)
    scribble(machine, "a", "disk0", 2)
    machine.import_vm(arguments.export, "imported", arguments.exported)
    scribble(machine, "imported", "disk0", 2)
    machine.deploy("d1", "d2")
    machine.rename("d1", "e1")
    machine.remove("d2")
    machine.remove("b")
    machine.drop("w", "w3")
    machine.drop("w", "w2")
    machine.remove("w")
    machine.reclaim()


# ---- the three commands


def write_notes(path, machine):
    with open(path, "wb") as file:
        # The reader asks for nothing that cannot be written down; the dice and paths are not needed.
        pickle.dump((machine.world, machine.candidates, machine.under_way, machine.story, machine.start, machine.reader,
                     machine.written), file)


def run(arguments):
    disks = {}
    for number, path in enumerate(arguments.template):
        with open(path, "rb") as file:
            disks[f"disk{number}"] = file.read()
    world = World({}, {}, {1: disks})
    world.vms = set(os.listdir(os.path.join(arguments.mount, "localhost")))
    for vm in world.vms:
        for disk, data in disks_in(os.path.join(arguments.mount, "localhost", vm)).items():
            world.disks[vm, disk] = data
    arguments.exported = world.disks_of("origin")
    machine = Machine(arguments, world)
    status = NOT_ALIVE
    try:
        everything(machine, arguments)
        # The node does some things on its own.
        if machine.died_soon(BACKGROUND_SECONDS):
            print(f"died in the background after {machine.count} operations")
        else:
            print(f"{machine.count} operations, and the node lives on")
            status = LIVES_ON
    except Died as death:
        print(f"died after {machine.count} operations; {death}")
    except Wrong as wrong:
        print(f"after {machine.count} operations: {wrong}")
        status = 1
    write_notes(arguments.notes, machine)
    return status


def check(arguments):
    with open(arguments.notes, "rb") as file:
        world, candidates, under_way, story, start, reader, written = pickle.load(file)
    arguments.seed, arguments.pid = 0, 0
    machine = Machine(arguments, world)
    machine.story, machine.start, machine.reader, machine.written = story, start, reader, written
    found = observe(arguments.mount)

    def asked(pairs):
        """Disks of one snapshot or clone that was under way when the node died."""
        sent = min(want.sent for want, _ in pairs.values())
        return machine.moment_faults({want.disk: data for want, data in pairs.values()}, sent, None)

    best = None
    for index, candidate in enumerate(candidates or [world]):
        for key in written:
            if key in candidate.disks:
                candidate.disks[key] = None
        said = faults(candidate, found, asked)
        if best is None or len(said) < len(best):
            best, chosen = said, index
    said = best
    own = {key: found.disks[key] for key in written if key in found.disks}
    if written:
        said = said + machine.written_faults(own)
    how = ["not happened", "happened"][chosen] if chosen < 2 else "happened in part"
    print(f"{len(found.disks)} disks, {len(found.snapshots)} snapshots, {len(found.versions)} versions; "
          + (f"under way, {how}: {under_way}" if under_way else "nothing was under way"))
    for sentence in said[:10]:
        print(f"  {sentence}")
    return 1 if said else 0


def go_on(arguments):
    """A disk takes writes and snapshots as before; then everything is deleted and its space is back."""
    arguments.pid = 0
    machine = Machine(arguments, observe(arguments.mount))
    try:
        for vm in sorted(machine.world.vms):
            disks = [disk for disk, data in machine.world.disks_of(vm).items() if len(data) > 200_000]
            if not disks:
                continue
            scribble(machine, vm, disks[0], 2)
            machine.snapshot(vm, "after")
            scribble(machine, vm, disks[0], 2)
            machine.fsync(vm, disks[0])
        said = faults(machine.world, observe(arguments.mount), lambda pairs: [])
        if said:
            print(f"after going on: {said[0]}")
            return 1
        for vm, name in sorted(machine.world.snapshots):
            machine.drop(vm, name)
        for vm in sorted(machine.world.vms):
            machine.remove(vm)
        machine.reclaim()
    except (Wrong, OSError) as wrong:
        print(f"going on: {wrong}")
        return 1
    overlays = os.path.join(os.environ["CCNFS_STATE"], "overlays")
    for _ in range(200):
        left = [os.path.join(directory, name) for directory, _, names in os.walk(overlays) for name in names]
        taken = sum(os.stat(path).st_blocks * 512 for path in left)
        if taken <= EMPTY_BYTES and not left:
            print(f"{machine.count} operations; the space is back")
            return 0
        time.sleep(0.1)
    print(f"with every VM deleted, {len(left)} files of overlays take {taken} bytes: {left[:4]}")
    return 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["run", "check", "on"])
    parser.add_argument("mount")
    parser.add_argument("notes")
    parser.add_argument("--ccnfs", required=True)
    parser.add_argument("--pid", type=int)
    parser.add_argument("--template", action="append", default=[], help="an image that was published; in order")
    parser.add_argument("--key")
    parser.add_argument("--export", help="the VM `origin`, exported as it is")
    parser.add_argument("--seed", default="0")
    arguments = parser.parse_args()
    try:
        return {"run": run, "check": check, "on": go_on}[arguments.action](arguments)
    except OSError as error:
        name = errno.errorcode.get(error.errno, error.errno)
        print(f"{name}: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
