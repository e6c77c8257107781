#!/usr/bin/env python3
"""How long a small read takes whose bytes must come from elsewhere, and how long a round trip to there.

    cold-reads.py read DISK IMAGE --count N --seed S
    cold-reads.py trip PORT PATH --count N

`read` reads 4 KiB, O_DIRECT, one after another, at places that lie so far apart that none comes with another one, and
compares each with IMAGE; prints the first and the median of the others in milliseconds. `trip` asks an HTTP server on
loopback for 4 KiB, again and again over one connection, and prints the median in milliseconds. Python's standard
library only.
"""

import argparse
import http.client
import mmap
import os
import random
import statistics
import sys
import time

BLOCK, APART = 4096, 256 * 1024


def places(image, count, seed):
    """Blocks that are no zeros, one of each stretch that is drawn."""
    dice = random.Random(seed)
    stretches = list(range(len(image) // APART))
    dice.shuffle(stretches)
    found = []
    for stretch in stretches:
        place = stretch * APART + dice.randrange(APART // BLOCK) * BLOCK
        if image[place:place + BLOCK].strip(b"\0"):
            found.append(place)
            if len(found) == count:
                return found
    sys.exit(f"the image has data in {len(found)} stretches only")


def read(arguments):
    with open(arguments.image, "rb") as file:
        image = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    memory = mmap.mmap(-1, BLOCK)
    disk = os.open(arguments.disk, os.O_RDONLY | os.O_DIRECT)
    times = []
    for place in places(image, arguments.count, arguments.seed):
        started = time.perf_counter()
        os.preadv(disk, [memory], place)
        times.append((time.perf_counter() - started) * 1000)
        if memory[:] != image[place:place + BLOCK]:
            sys.exit(f"other bytes at {place}")
    print(round(times[0], 3), round(statistics.median(times[1:]), 3))


def trip(arguments):
    connection = http.client.HTTPConnection("127.0.0.1", int(arguments.disk))
    times = []
    for number in range(arguments.count + 1):
        place = number * APART
        started = time.perf_counter()
        connection.request("GET", arguments.image, headers={"Range": f"bytes={place}-{place + BLOCK - 1}"})
        if len(connection.getresponse().read()) != BLOCK:
            sys.exit(f"{arguments.image} has no {BLOCK} bytes at {place}")
        times.append((time.perf_counter() - started) * 1000)
    # The first one connects.
    print(round(statistics.median(times[1:]), 3))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["read", "trip"])
    parser.add_argument("disk", metavar="DISK|PORT")
    parser.add_argument("image", metavar="IMAGE|PATH")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", default="1")
    arguments = parser.parse_args()
    {"read": read, "trip": trip}[arguments.action](arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
