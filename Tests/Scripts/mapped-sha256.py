#!/usr/bin/env python3
"""The SHA-256 of a file read through a memory mapping: mapped-sha256.py FILE"""

import hashlib
import mmap
import sys

with open(sys.argv[1], "rb") as file:
    with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapping:
        print(hashlib.sha256(mapping).hexdigest())
