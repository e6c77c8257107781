#!/usr/bin/env python3
"""Writes a qcow2 image that says it is encrypted: encrypted-qcow2.py aes|luks PLAIN TO

The clusters stay as they are; nobody can decrypt them, which is as good for a test that wants a refusal.
Offsets are those of docs/interop/qcow2.txt of QEMU; the LUKS header is that of the LUKS On-Disk Format 1.2.3.
"""

import struct
import sys

SECTOR = 512
METHODS = {"aes": 1, "luks": 2}
CRYPT_METHOD_AT, HEADER_LENGTH_AT, CLUSTER_BITS_AT = 32, 100, 20
FULL_DISK_ENCRYPTION = 0x0537BE77
KEY_BYTES, STRIPES, SLOTS = 64, 4000, 8
SLOT_DISABLED = 0x0000DEAD
# Of the key material of a slot; slots begin at multiples of 4 KiB.
SLOT_SECTORS = -(-KEY_BYTES * STRIPES // SECTOR // 8) * 8


def luks_header():
    slots = b"".join(
        struct.pack(">II32sII", SLOT_DISABLED, 0, b"", 8 + slot * SLOT_SECTORS, STRIPES) for slot in range(SLOTS)
    )
    payload_at = 8 + SLOTS * SLOT_SECTORS
    return (
        struct.pack(">6sH32s32s32sII", b"LUKS\xba\xbe", 1, b"aes", b"xts-plain64", b"sha256", payload_at, KEY_BYTES)
        + struct.pack(">20s32sI40s", b"", b"", 1000, b"6e0b1c2a-0000-4000-8000-000000000000")
        + slots
    ), payload_at * SECTOR


def main():
    method, plain, to = sys.argv[1:]
    with open(plain, "rb") as file:
        image = bytearray(file.read())
    struct.pack_into(">I", image, CRYPT_METHOD_AT, METHODS[method])
    if method == "luks":
        cluster = 1 << struct.unpack_from(">I", image, CLUSTER_BITS_AT)[0]
        image += bytes(-len(image) % cluster)
        header, byte_count = luks_header()
        extension = struct.pack(">IIQQII", FULL_DISK_ENCRYPTION, 16, len(image), byte_count, 0, 0)
        first_extension = struct.unpack_from(">I", image, HEADER_LENGTH_AT)[0]
        image[first_extension : first_extension + len(extension)] = extension
        image += header + bytes(byte_count - len(header))
    with open(to, "wb") as file:
        file.write(image)


main()
