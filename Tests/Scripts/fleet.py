#!/usr/bin/env python3
"""Many VMs at once, each on its disk of one mount: what they read when they boot.

    fleet.py boot IMAGE DISK... --seed N

Every disk is read by a thread of its own, past the page cache, as a VM without a cache of the host reads: the runs and
the scattered blocks of a boot set, in the order of that VM, and some places more that each draws for itself. All bytes
are compared with IMAGE, of which the disks are copies. Prints JSON: `seconds`, `bytes` read in sum, `setBytes` of one
boot set, `unionBytes` of all that anybody read, in whole segments, each counted once, and `wrong`, a list of sentences.
Python's standard library only.
"""

import argparse
import json
import mmap
import os
import random
import sys
import threading
import time

BLOCK, SEGMENT = 4096, 32 * 1024
# One boot set: 8 MiB in runs, 2 MiB in single blocks.
RUNS, RUN = 128, 64 * 1024
SINGLES = 512
# What a VM reads besides, of as many places as all draw from.
OWN, OWN_PLACES = 32, 512


class BootSet:
    """Pairs of offset and length; the same for all, in an order of each one's own."""

    def __init__(self, seed, size):
        dice = random.Random(f"{seed}/boot")
        runs = [(dice.randrange(size // RUN) * RUN, RUN) for _ in range(RUNS)]
        self.shared = runs + [self.block(dice, size) for _ in range(SINGLES)]
        self.others = [self.block(dice, size) for _ in range(OWN_PLACES)]
        self.seed = seed

    @staticmethod
    def block(dice, size):
        return dice.randrange(size // BLOCK) * BLOCK, BLOCK

    def of(self, number):
        dice = random.Random(f"{self.seed}/{number}")
        places = self.shared + dice.sample(self.others, OWN)
        dice.shuffle(places)
        return places


def segments(places):
    return {segment for offset, length in places
            for segment in range(offset // SEGMENT, (offset + length - 1) // SEGMENT + 1)}


def read(path, places, image, begin, wrong):
    memory = mmap.mmap(-1, RUN)
    begin.wait()
    try:
        disk = os.open(path, os.O_RDONLY | os.O_DIRECT)
        for offset, length in places:
            view = memoryview(memory)[:length]
            count = os.preadv(disk, [view], offset)
            view.release()
            if memory[:count] != image[offset:offset + length]:
                wrong.append(f"{path} has other bytes at {offset}")
        os.close(disk)
    except OSError as error:
        wrong.append(f"{path}: {error.strerror}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["boot"])
    parser.add_argument("image")
    parser.add_argument("disks", nargs="+")
    parser.add_argument("--seed", default="1")
    arguments = parser.parse_args()
    with open(arguments.image, "rb") as file:
        image = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    boot_set = BootSet(arguments.seed, len(image))
    wanted = [boot_set.of(number) for number in range(len(arguments.disks))]
    begin, wrong = threading.Event(), []
    threads = [threading.Thread(target=read, args=(path, places, image, begin, wrong))
               for path, places in zip(arguments.disks, wanted)]
    for thread in threads:
        thread.start()
    started = time.monotonic()
    begin.set()
    for thread in threads:
        thread.join()
    json.dump({
        "seconds": round(time.monotonic() - started, 3),
        "bytes": sum(length for places in wanted for _, length in places),
        "setBytes": sum(length for _, length in wanted[0]),
        "unionBytes": SEGMENT * len(set().union(*map(segments, wanted))),
        "wrong": wrong[:20],
    }, sys.stdout)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
