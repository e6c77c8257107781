#!/usr/bin/env python3
"""Speaks to the group of neighbours on a local link and hears it; shares nothing with the product (Docs/Formats.md).

    neighbour.py say ADDRESS PORT... [--lifetime MS] [--node HEX]
    neighbour.py noise ADDRESS COUNT SEED
    neighbour.py hear ADDRESS SECONDS

ADDRESS is the machine's own on the link.

say      announces a node for each port.
noise    sends random bytes, and announcements with some bytes changed.
hear     prints what announcements say, a line for each: SOURCE TRANSPORT PORT LIFETIME NODE.
"""

import argparse
import os
import random
import socket
import struct
import time

GROUP = ("239.255.37.223", 9696)
HOP_LIMIT = 1


def tlv(kind, value):
    return struct.pack(">HH", kind, len(value)) + value


def announcement(node, port, lifetime, transport=b"tcp"):
    segments = [b"neighborhood", b"@announce", node, b"%d" % lifetime, transport, b"%d" % port]
    name = tlv(0, b"".join(tlv(1, segment) for segment in segments))
    body = tlv(1, b"\0\0") + tlv(1, name)
    return struct.pack(">BBHBBBB", 1, 0, 8 + len(body), HOP_LIMIT, 0, 0, 14) + body


def decoded(packet):
    """Lifetime, transport, port and node; None for anything else."""
    if len(packet) < 8 or packet[:2] != b"\1\0" or packet[4] != HOP_LIMIT:
        return None
    name = packet[packet[7] + 8 :]
    segments = []
    while len(name) >= 4:
        length = struct.unpack(">H", name[2:4])[0]
        segments.append(name[4 : 4 + length])
        name = name[4 + length :]
    if len(segments) != 6 or segments[:2] != [b"neighborhood", b"@announce"]:
        return None
    return int(segments[3]), segments[4].decode(), int(segments[5]), segments[2].hex()


def speaker(address):
    speaker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    speaker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
    speaker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, HOP_LIMIT)
    return speaker


def say(options):
    node = bytes.fromhex(options.node) if options.node else None
    for port in options.ports:
        packet = announcement(node or os.urandom(16), port, options.lifetime)
        speaker(options.address).sendto(packet, GROUP)


def noise(options):
    source = random.Random(options.seed)
    sender = speaker(options.address)
    for number in range(options.count):
        packet = bytearray(announcement(source.randbytes(16), source.randrange(1, 65536), 60000))
        if number % 2:
            packet = bytearray(source.randbytes(source.randrange(1400)))
        elif source.random() < 0.5:
            packet = packet[: source.randrange(len(packet))]
        else:
            # In the header or in what says what it is: nothing that is still an announcement.
            packet[source.choice([0, 1, 3, 4, 7, 9, 13, 15, 30, 45])] ^= 1 << source.randrange(8)
        sender.sendto(bytes(packet), GROUP)
        # What comes faster than it is taken the kernel throws away, uncounted.
        time.sleep(0.002)


def hear(options):
    hearer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    hearer.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    hearer.bind(GROUP)
    membership = socket.inet_aton(GROUP[0]) + socket.inet_aton(options.address)
    hearer.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    end = time.monotonic() + options.seconds
    while (left := end - time.monotonic()) > 0:
        hearer.settimeout(left)
        try:
            packet, source = hearer.recvfrom(2048)
        except TimeoutError:
            return
        if (said := decoded(packet)) is not None:
            lifetime, transport, port, node = said
            print(source[0], transport, port, lifetime, node, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("say")
    verb.add_argument("address")
    verb.add_argument("ports", nargs="+", type=int)
    verb.add_argument("--lifetime", type=int, default=60000)
    verb.add_argument("--node")
    verb.set_defaults(run=say)
    verb = verbs.add_parser("noise")
    verb.add_argument("address")
    verb.add_argument("count", type=int)
    verb.add_argument("seed", type=int)
    verb.set_defaults(run=noise)
    verb = verbs.add_parser("hear")
    verb.add_argument("address")
    verb.add_argument("seconds", type=float)
    verb.set_defaults(run=hear)
    options = parser.parse_args()
    options.run(options)


main()
