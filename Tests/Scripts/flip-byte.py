#!/usr/bin/env python3
"""Damages a store: flip-byte.py FOLDER IMAGE OFFSET [LENGTH]

Looks in all files below FOLDER for the bytes that IMAGE has at OFFSET (LENGTH, 4096) and inverts one
of them wherever they are found. Prints each file and place; status 1 if there is none.
"""

import mmap
import os
import sys


def main():
    folder, image, offset = sys.argv[1], sys.argv[2], int(sys.argv[3])
    length = int(sys.argv[4]) if len(sys.argv) > 4 else 4096
    with open(image, "rb") as file:
        file.seek(offset)
        wanted = file.read(length)
    if not wanted.strip(b"\0"):
        sys.exit(f"{image} has only zeros at {offset}")
    found = 0
    for directory, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(directory, name)
            if os.path.islink(path) or not os.path.isfile(path) or os.path.getsize(path) < length:
                continue
            with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as bytes_of_file:
                place = bytes_of_file.find(wanted)
                while place >= 0:
                    at = place + length // 2
                    bytes_of_file[at] ^= 0xFF
                    print(f"{path} {at}")
                    found += 1
                    place = bytes_of_file.find(wanted, place + length)
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
