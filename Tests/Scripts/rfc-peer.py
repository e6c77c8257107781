#!/usr/bin/env python3
"""A CCNx 1.0 peer written from RFC 8569 and RFC 8609 alone: it shares nothing with the product.

    rfc-peer.py fetch --via ADDRESS NAME... [--names FILE] [--out FILE] [--chunks] [--count] [--window N]
                [--hop-limit N] [--lifetime MS] [--tries N] [--hash-restriction HEX] [--keyid-restriction HEX]
                [--crc32c] [--pieces N] [--push] [--for SECONDS] [--signed FILE]
    rfc-peer.py serve --listen ADDRESS --dir DIR [--others-to ADDRESS]
    rfc-peer.py relay --listen ADDRESS --to ADDRESS [--keep DIR]
    rfc-peer.py hostile --to ADDRESS --kind KIND [--connections N] [--parallel P] [--seed S] [--hold SECONDS]
                [--from HOST] [--prefix NAME] [--name NAME] [--interests N]
    rfc-peer.py decode FILE...

ADDRESS is tcp:HOST:PORT or udp:HOST:PORT; over TCP a packet ends where its PacketLength says, over UDP it is one
datagram. NAME is a URI: ccnx:/mycorp.com/%40catalog/Chunk=0x00.

fetch    asks for each name, with --chunks for all chunks of it, and writes the payloads one after another. Prints
         JSON. Status 0; 1: nobody there or nonsense came; 2: an Interest Return came; 3: nothing came in time.
serve    answers for objects it has: files of DIR named by the SHA-256 of what is in them, in hexadecimal, under
         any prefix (`<prefix>/@object/<32 bytes>/<chunk size>/chunk n`). Everything else is returned: no route; or
         with --others-to passed on, so that what somebody signed comes fresh from him.
relay    forwards to one next hop and caches by name; --keep writes each payload it caches as `serve` wants it.
hostile  connections as no honest peer makes them. KIND is garbage, half, giant, flood, drip, slowloris, deaf (asks
         for --name under ever new prefixes and never reads), or mixed: any of those but deaf; or datagrams: over UDP,
         each connection a socket that sends --interests datagrams, most of them no packets.
decode   says what is in packets that stand in files in hexadecimal.

serve and relay print `listening PORT`, their counts at SIGUSR1, and again when SIGTERM ends them. Python's standard
library only.
"""

import argparse
import asyncio
import collections
import dataclasses
import errno
import hashlib
import json
import os
import random
import signal
import socket as sockets
import struct
import sys
import time
import urllib.parse

# ---- RFC 8609: codes

VERSION = 1
INTEREST, CONTENT_OBJECT, INTEREST_RETURN = 0, 1, 2
FIXED_HEADER = struct.Struct(">BBHBBBB")
MAXIMUM_PACKET = 65535

LIFETIME, CACHE_TIME = 0x0001, 0x0002
T_INTEREST, T_OBJECT, VALIDATION_ALGORITHM, VALIDATION_PAYLOAD = 1, 2, 3, 4
T_NAME, T_PAYLOAD, T_KEYID_RESTRICTION, T_HASH_RESTRICTION, T_PAYLOAD_TYPE, T_EXPIRY = 0, 1, 2, 3, 5, 6
NAME_SEGMENT, IPID, APPLICATION = 0x0001, 0x0002, 0x1000
SHA_256, KEY_ID, PUBLIC_KEY, CRC32C = 0x0001, 0x0009, 0x000B, 0x0002
PAD = 0x0FFE
# Chunks are the matter of a draft, not of the RFC; these two are what Cefore sends and takes.
CHUNK, END_CHUNK = 0x0005, 0x0008

NO_ROUTE, HOP_LIMIT_EXCEEDED = 1, 2
DEFAULT_LIFETIME = 2000
DEFAULT_HOP_LIMIT = 32


class Malformed(Exception):
    pass


# ---- numbers, TLVs, checksums


def minimal(number):
    return number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")


def tlv(kind, value):
    return struct.pack(">HH", kind, len(value)) + value


def hash_tlv(kind, digest):
    """A hash field holds another TLV, whose type is the hash function."""
    return tlv(kind, tlv(SHA_256, digest))


def tlvs(data, start, end):
    """(type, start of value, end of value) of each; they fill the range to the byte."""
    while start < end:
        if end - start < 4:
            raise Malformed("a TLV is cut in its head")
        kind, length = struct.unpack_from(">HH", data, start)
        start += 4
        if length > end - start:
            raise Malformed(f"a TLV of {length} bytes does not fit its container")
        yield kind, start, start + length
        start += length


def digest_of(data, start, end):
    inner = list(tlvs(data, start, end))
    if len(inner) != 1 or inner[0][0] != SHA_256 or inner[0][2] - inner[0][1] != 32:
        raise Malformed("a hash is not one SHA-256")
    return bytes(data[inner[0][1]:inner[0][2]])


def crc32c_table():
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        yield byte


CRC_TABLE = list(crc32c_table())


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


# ---- names


UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
LABELS = {"Name": NAME_SEGMENT, "IPID": IPID, "Chunk": CHUNK}


def parse_uri(uri):
    if not uri.startswith("ccnx:/"):
        raise Malformed(f"{uri} does not begin with ccnx:/")
    segments = []
    for part in uri[len("ccnx:/"):].split("/"):
        label, equals, value = part.partition("=")
        if not equals:
            segments.append((NAME_SEGMENT, urllib.parse.unquote_to_bytes(part)))
            continue
        if label in LABELS:
            kind = LABELS[label]
        elif label.startswith("App:"):
            kind = APPLICATION + int(label[len("App:"):])
        else:
            kind = int(label, 16)
        in_hexadecimal = value.startswith("0x") and kind != NAME_SEGMENT
        segments.append((kind, bytes.fromhex(value[2:]) if in_hexadecimal else urllib.parse.unquote_to_bytes(value)))
    if not segments or not segments[0][1]:
        raise Malformed(f"{uri} has an empty first segment")
    return tuple(segments)


def uri_of(name):
    parts = []
    for kind, value in name:
        if kind == NAME_SEGMENT:
            parts.append("".join(chr(byte) if byte in UNRESERVED else f"%{byte:02X}" for byte in value))
        else:
            label = {CHUNK: "Chunk", IPID: "IPID"}.get(kind, f"0x{kind:04x}")
            parts.append(f"{label}=0x{value.hex()}")
    return "ccnx:/" + "/".join(parts)


def with_chunk(name, number):
    """The name of chunk `number` of what `name`, with or without a chunk of its own, names."""
    return (name[:-1] if name[-1][0] == CHUNK else name) + ((CHUNK, minimal(number)),)


def object_name(name):
    """(id, chunk size, chunk) if the name is that of an object, else None."""
    if len(name) < 5 or name[-4] != (NAME_SEGMENT, b"@object") or name[-1][0] != CHUNK:
        return None
    (id_kind, identity), (size_kind, size), (_, chunk) = name[-3:]
    if id_kind != NAME_SEGMENT or size_kind != NAME_SEGMENT or len(identity) != 32 or not size.isdigit():
        return None
    if not 1 <= int(size) <= 65536 or not 1 <= len(chunk) <= 8:
        return None
    return identity, int(size), int.from_bytes(chunk, "big")


# ---- packets


@dataclasses.dataclass
class Packet:
    """`wire` is as it came. What is absent is None."""

    kind: int
    wire: bytes
    hop_limit: int = 0
    return_code: int = 0
    header_length: int = 8
    lifetime: int = None
    cache_time: int = None
    name: tuple = None
    payload: bytes = b""
    payload_type: int = None
    keyid_restriction: bytes = None
    hash_restriction: bytes = None
    expiry: int = None
    end_chunk: int = None
    algorithm: int = None
    key_id: bytes = None
    public_key: bytes = None
    # What the validation covers, and its payload.
    validated: bytes = None
    signature: bytes = None

    @property
    def object_hash(self):
        """From the message to the end, validation included; no header that a hop may change."""
        return hashlib.sha256(self.wire[self.header_length:]).digest()

    @property
    def key(self):
        return self.name, self.keyid_restriction, self.hash_restriction

    def satisfies(self, interest):
        return (
            (self.name is None or self.name == interest.name)
            and (interest.keyid_restriction is None or interest.keyid_restriction == self.key_id)
            and (interest.hash_restriction is None or interest.hash_restriction == self.object_hash)
            and (self.name is not None or interest.hash_restriction is not None)
        )


def encode(kind, message_kind, headers, fields, hop_limit=0, return_code=0, checksum=False):
    headers = b"".join(headers)
    validated = tlv(message_kind, b"".join(fields))
    tail = b""
    if checksum:
        validated += tlv(VALIDATION_ALGORITHM, tlv(CRC32C, b""))
        tail = tlv(VALIDATION_PAYLOAD, struct.pack(">I", crc32c(validated)))
    header_length = FIXED_HEADER.size + len(headers)
    length = header_length + len(validated) + len(tail)
    if length > MAXIMUM_PACKET:
        raise Malformed(f"the packet would have {length} bytes")
    return FIXED_HEADER.pack(VERSION, kind, length, hop_limit, return_code, 0, header_length) + headers \
        + validated + tail


def encode_name(name):
    return tlv(T_NAME, b"".join(tlv(kind, value) for kind, value in name))


def encode_interest(name, hop_limit=DEFAULT_HOP_LIMIT, lifetime=DEFAULT_LIFETIME, keyid_restriction=None,
                    hash_restriction=None, payload=b"", kind=INTEREST, return_code=0, checksum=False):
    headers = []
    if lifetime is not None:
        headers.append(tlv(LIFETIME, struct.pack(">H" if lifetime < 65536 else ">I", lifetime)))
    fields = [encode_name(name)]
    if keyid_restriction:
        fields.append(hash_tlv(T_KEYID_RESTRICTION, keyid_restriction))
    if hash_restriction:
        fields.append(hash_tlv(T_HASH_RESTRICTION, hash_restriction))
    if payload:
        fields.append(tlv(T_PAYLOAD, payload))
    return encode(kind, T_INTEREST, headers, fields, hop_limit, return_code, checksum)


def encode_return(interest, code):
    """RFC 8569 section 10: the Interest as it came, HopLimit included, with type and code changed."""
    wire = bytearray(interest.wire)
    wire[1], wire[5] = INTEREST_RETURN, code
    return bytes(wire)


def encode_object(name, payload, end_chunk=None, expiry=None, cache_time=None, checksum=False):
    headers = [tlv(CACHE_TIME, struct.pack(">Q", cache_time))] if cache_time is not None else []
    fields = [encode_name(name)] if name else []
    if expiry is not None:
        fields.append(tlv(T_EXPIRY, struct.pack(">Q", expiry)))
    if end_chunk is not None:
        fields.append(tlv(END_CHUNK, minimal(end_chunk)))
    if payload:
        fields.append(tlv(T_PAYLOAD, payload))
    return encode(CONTENT_OBJECT, T_OBJECT, headers, fields, checksum=checksum)


def encode_again(packet):
    """What this codec would have sent for it; None if it carries a signature."""
    checksum = packet.algorithm == CRC32C
    if packet.algorithm is not None and not checksum:
        return None
    if packet.kind == CONTENT_OBJECT:
        return encode_object(packet.name, packet.payload, packet.end_chunk, packet.expiry, packet.cache_time, checksum)
    return encode_interest(packet.name, packet.hop_limit, packet.lifetime, packet.keyid_restriction,
                           packet.hash_restriction, packet.payload, packet.kind, packet.return_code, checksum)


def frame_length(data, start=0):
    """Length of the packet that begins there; None if fewer bytes than a fixed header are."""
    if len(data) - start < FIXED_HEADER.size:
        return None
    version, _, length, _, _, _, header_length = FIXED_HEADER.unpack_from(data, start)
    if version != VERSION or header_length < FIXED_HEADER.size or length < header_length:
        raise Malformed(f"no packet: version {version}, length {length}, header {header_length}")
    return length


def decode(wire):
    if frame_length(wire) != len(wire):
        raise Malformed("PacketLength is not the number of bytes")
    _, kind, _, hop_limit, return_code, _, header_length = FIXED_HEADER.unpack_from(wire)
    if kind not in (INTEREST, CONTENT_OBJECT, INTEREST_RETURN):
        raise Malformed(f"packet type {kind}")
    packet = Packet(kind, wire, header_length=header_length)
    if kind != CONTENT_OBJECT:
        packet.hop_limit = hop_limit
    if kind == INTEREST_RETURN:
        packet.return_code = return_code
        if not return_code:
            raise Malformed("an Interest Return has no code")
    for header, start, end in tlvs(wire, FIXED_HEADER.size, header_length):
        if header == LIFETIME:
            packet.lifetime = int.from_bytes(wire[start:end], "big")
        elif header == CACHE_TIME:
            packet.cache_time = int.from_bytes(wire[start:end], "big")
    parts = list(tlvs(wire, header_length, len(wire)))
    if not parts or parts[0][0] != (T_OBJECT if kind == CONTENT_OBJECT else T_INTEREST):
        raise Malformed("the message is not what the packet type says")
    decode_message(packet, *parts[0][1:])
    if len(parts) > 1:
        decode_validation(packet, parts[1:])
    return packet


def decode_message(packet, start, end):
    wire, first = packet.wire, start
    for field, start, end in tlvs(wire, start, end):
        if field == T_NAME:
            if start != first + 4:
                raise Malformed("the name is not first")
            packet.name = tuple((kind, bytes(wire[s:e])) for kind, s, e in tlvs(wire, start, end))
            if not packet.name or not packet.name[0][1] or any(kind == PAD for kind, _ in packet.name):
                raise Malformed("no such name can be")
        elif field == T_PAYLOAD:
            packet.payload = bytes(wire[start:end])
        elif packet.kind == CONTENT_OBJECT:
            if field == T_PAYLOAD_TYPE:
                packet.payload_type = wire[start]
            elif field == T_EXPIRY:
                packet.expiry = int.from_bytes(wire[start:end], "big")
            elif field == END_CHUNK:
                packet.end_chunk = int.from_bytes(wire[start:end], "big")
        elif field == T_KEYID_RESTRICTION:
            packet.keyid_restriction = digest_of(wire, start, end)
        elif field == T_HASH_RESTRICTION:
            packet.hash_restriction = digest_of(wire, start, end)
    if packet.kind != CONTENT_OBJECT and packet.name is None:
        raise Malformed("an Interest has no name")


def decode_validation(packet, parts):
    wire = packet.wire
    if [kind for kind, _, _ in parts] != [VALIDATION_ALGORITHM, VALIDATION_PAYLOAD]:
        raise Malformed("after the message stands something other than a validation")
    (_, start, end), (_, payload, payload_end) = parts
    algorithms = list(tlvs(wire, start, end))
    if len(algorithms) != 1:
        raise Malformed("there is not one validation algorithm")
    packet.algorithm, inner, inner_end = algorithms[0]
    packet.signature = bytes(wire[payload:payload_end])
    for kind, at, until in tlvs(wire, inner, inner_end):
        if kind == KEY_ID:
            packet.key_id = digest_of(wire, at, until)
        elif kind == PUBLIC_KEY:
            packet.public_key = bytes(wire[at:until])
    packet.validated = wire[packet.header_length:end]
    if packet.algorithm == CRC32C and packet.signature != struct.pack(">I", crc32c(packet.validated)):
        raise Malformed("the CRC32C is wrong")


# ---- faces


def parse_address(text):
    transport, _, rest = text.partition(":")
    host, _, port = rest.rpartition(":")
    if transport not in ("tcp", "udp") or not host or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text} is not tcp:HOST:PORT or udp:HOST:PORT")
    return transport, host.strip("[]"), int(port)


class StreamFace(asyncio.Protocol):
    """`received(face, wire)` is told each packet, `ended(face)` the end."""

    def __init__(self, received, ended=None):
        self.received, self.ended = received, ended
        self.buffer = bytearray()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        start = 0
        try:
            while (length := frame_length(self.buffer, start)) and len(self.buffer) - start >= length:
                wire = bytes(self.buffer[start:start + length])
                start += length
                self.received(self, wire)
        except Malformed:
            self.transport.close()
        del self.buffer[:start]

    def connection_lost(self, error):
        if self.ended:
            self.ended(self)

    def send(self, wire):
        if not self.transport.is_closing():
            self.transport.write(wire)

    def close(self):
        self.transport.close()


class DatagramFace:
    """A neighbour is whoever has an address: two of the same address are equal."""

    def __init__(self, transport, address=None):
        self.transport, self.address = transport, address

    def __eq__(self, other):
        return isinstance(other, DatagramFace) and self.address == other.address

    def __hash__(self):
        return hash(self.address)

    def send(self, wire):
        self.transport.sendto(wire, self.address)

    def close(self):
        # Without an address it is the far end of a socket of its own.
        if self.address is None:
            self.transport.close()


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, received, is_connected):
        self.received, self.is_connected = received, is_connected

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.received(DatagramFace(self.transport, None if self.is_connected else address), data)


async def connect(address, received, ended=None):
    transport, host, port = address
    loop = asyncio.get_running_loop()
    if transport == "tcp":
        _, face = await loop.create_connection(lambda: StreamFace(received, ended), host, port)
        return face
    channel, _ = await loop.create_datagram_endpoint(lambda: Datagrams(received, True), remote_addr=(host, port))
    return DatagramFace(channel)


async def listen(address, received):
    """Returns the port that was bound."""
    transport, host, port = address
    loop = asyncio.get_running_loop()
    if transport == "tcp":
        server = await loop.create_server(lambda: StreamFace(received), host, port)
        return server.sockets[0].getsockname()[1]
    channel, _ = await loop.create_datagram_endpoint(lambda: Datagrams(received, False), local_addr=(host, port))
    return channel.get_extra_info("sockname")[1]


# ---- fetch


class Returned(Exception):
    def __init__(self, packet):
        super().__init__()
        self.packet = packet

    def is_of(self, interest):
        """RFC 8569 section 10: apart from type and code it is the Interest, byte for byte."""
        return self.packet.wire == encode_return(decode(interest), self.packet.return_code)


class Fetch:
    def __init__(self, arguments):
        self.arguments = arguments
        self.waiting = {}
        self.most_outstanding = 0
        self.packets = self.bytes = self.sent = self.unasked = 0
        self.last = self.returned_whole = None
        self.digest = hashlib.sha256()
        self.room = asyncio.Semaphore(arguments.window)
        self.failure = None

    def received(self, _, wire):
        try:
            packet = decode(wire)
        except Malformed as error:
            self.failure = str(error)
            return
        answer = self.waiting.get(packet.name)
        if answer is None or answer.done():
            self.unasked += 1
        elif packet.kind == INTEREST_RETURN:
            answer.set_exception(Returned(packet))
        elif packet.kind == CONTENT_OBJECT:
            answer.set_result(packet)

    def ended(self, _):
        self.failure = self.failure or "the peer closed the connection"
        for answer in self.waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionError(self.failure))

    async def ask(self, name):
        a = self.arguments
        interest = encode_interest(name, a.hop_limit, a.lifetime, a.keyid_restriction, a.hash_restriction,
                                   checksum=a.crc32c)
        async with self.room:
            answer = self.waiting[name] = asyncio.get_running_loop().create_future()
            self.most_outstanding = max(self.most_outstanding, len(self.waiting))
            try:
                for attempt in range(a.tries):
                    await self.send(interest)
                    done, _ = await asyncio.wait([answer], timeout=(a.lifetime or DEFAULT_LIFETIME) / 1000)
                    if done:
                        break
                if not answer.done():
                    raise TimeoutError
                packet = answer.result()
            except Returned as back:
                self.returned_whole = back.is_of(interest)
                raise
            finally:
                del self.waiting[name]
        self.packets += 1
        self.bytes += len(packet.payload)
        self.last = packet
        return packet

    async def send(self, interest):
        self.sent += 1
        if not self.arguments.pieces:
            return self.face.send(interest)
        for start in range(0, len(interest), self.arguments.pieces):
            self.face.send(interest[start:start + self.arguments.pieces])
            # Long enough for each piece to arrive as one.
            await asyncio.sleep(0.002)

    async def object(self, name):
        if not self.arguments.chunks:
            return [(await self.ask(name)).payload]
        payloads, number = [], 0
        while True:
            packet = await self.ask(with_chunk(name, number))
            payloads.append(packet.payload)
            if packet.end_chunk is not None:
                break
            number += 1
        rest = range(number + 1, packet.end_chunk + 1)
        return payloads + [p.payload for p in await self.all(self.ask(with_chunk(name, n)) for n in rest)]

    def write_signed(self):
        parts = {"der": self.last.public_key, "signed": self.last.validated, "signature": self.last.signature}
        for ending, data in parts.items():
            with open(f"{self.arguments.signed}.{ending}", "wb") as out:
                out.write(data or b"")

    @staticmethod
    async def all(asks):
        tasks = [asyncio.ensure_future(ask) for ask in asks]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def run(self):
        a = self.arguments
        names = [parse_uri(uri) for uri in a.name]
        if a.names:
            with open(a.names, encoding="ascii") as lines:
                names += [parse_uri(line.strip()) for line in lines if line.strip()]
        self.face = await connect(a.via, self.received, self.ended)
        for name in names if a.push else []:
            self.face.send(encode_object(name, b"nobody asked for this", end_chunk=0))
        started = time.monotonic()
        status, returned = 0, None
        try:
            while True:
                objects = await self.all(self.object(name) for name in names)
                if time.monotonic() - started >= a.duration:
                    break
            for payload in (payload for payloads in objects for payload in payloads):
                self.digest.update(payload)
            if a.out:
                with open(a.out, "wb") as out:
                    out.writelines(payload for payloads in objects for payload in payloads)
            if a.signed:
                self.write_signed()
        except Returned as back:
            status, returned = 2, back.packet
        except TimeoutError:
            status = 1 if self.failure else 3
        except ConnectionError:
            status = 1
        return status, self.report(time.monotonic() - started, status, returned)

    def report(self, seconds, status, returned):
        report = {
            "packets": self.packets, "bytes": self.bytes, "interests": self.sent, "unasked": self.unasked,
            "mostOutstanding": self.most_outstanding, "seconds": round(seconds, 3),
            "returnCode": returned.return_code if returned else None,
        }
        if returned:
            report |= {"returnedHopLimit": returned.hop_limit, "returnedWhole": self.returned_whole}
        if self.failure and status:
            report["failure"] = self.failure
        if status == 0:
            last = self.last
            report |= {"sha256": self.digest.hexdigest(), "objectHash": last.object_hash.hex(),
                       "endChunk": last.end_chunk, "expiry": last.expiry, "validation": last.algorithm,
                       "keyId": last.key_id.hex() if last.key_id else None}
        return report


async def fetch(arguments):
    try:
        status, report = await Fetch(arguments).run()
    except OSError as error:
        status, report = 1, {"packets": 0, "bytes": 0, "returnCode": None, "failure": str(error)}
    print(json.dumps(report))
    return status


# ---- serve, relay


class Folder:
    """Objects by their SHA-256; a file that has other bytes than its name says is not there."""

    def __init__(self, path):
        self.path = path
        self.recent = collections.OrderedDict()

    def bytes_of(self, identity):
        if identity not in self.recent:
            try:
                with open(os.path.join(self.path, identity.hex()), "rb") as file:
                    data = file.read()
            except OSError:
                return None
            if hashlib.sha256(data).digest() != identity:
                return None
            self.recent[identity] = data
            while len(self.recent) > 64:
                self.recent.popitem(last=False)
        return self.recent[identity]

    def look_up(self, interest):
        asked = object_name(interest.name)
        data = self.bytes_of(asked[0]) if asked else None
        if data is None:
            return None
        _, size, chunk = asked
        if chunk * size >= len(data):
            return None
        wire = encode_object(interest.name, data[chunk * size:(chunk + 1) * size], (len(data) - 1) // size)
        return wire if decode(wire).satisfies(interest) else None

    def add(self, packet):
        pass


class Cache:
    """Objects as they came, by their names. Never past ExpiryTime; not for whoever restricts the key, since nothing
    is verified here (RFC 8569 section 2.4.3)."""

    LIMIT = 256 << 20

    def __init__(self, keep):
        self.keep = keep
        self.packets = collections.OrderedDict()
        self.byte_count = 0

    def look_up(self, interest):
        packet = self.packets.get(interest.name)
        if packet is None or interest.keyid_restriction is not None or not packet.satisfies(interest):
            return None
        if packet.expiry is not None and packet.expiry <= time.time() * 1000:
            return None
        self.packets.move_to_end(interest.name)
        return packet.wire

    def add(self, packet):
        if packet.name is None:
            return
        old = self.packets.pop(packet.name, None)
        self.byte_count += len(packet.wire) - (len(old.wire) if old else 0)
        self.packets[packet.name] = packet
        while self.byte_count > self.LIMIT:
            self.byte_count -= len(self.packets.popitem(last=False)[1].wire)
        if self.keep:
            with open(os.path.join(self.keep, hashlib.sha256(packet.payload).hexdigest()), "wb") as file:
                file.write(packet.payload)


@dataclasses.dataclass
class Pending:
    expiry: float
    # Of each previous hop, its newest Interest.
    origins: dict


class Forwarder:
    """RFC 8569 section 2.4 with one next hop, or none."""

    def __init__(self, content, upstream):
        self.content, self.upstream_address, self.upstream = content, upstream, None
        self.pending = {}
        self.counts = collections.Counter(interests=0, hits=0, aggregated=0, upstream=0, objects=0, returned=0,
                                          unsolicited=0, malformed=0)

    async def stay_connected(self):
        while True:
            lost = asyncio.Event()
            try:
                self.upstream = await connect(self.upstream_address, self.from_upstream, lambda _: lost.set())
                await lost.wait()
            except OSError:
                pass
            self.upstream = None
            await asyncio.sleep(0.2)

    def received(self, face, wire):
        try:
            packet = decode(wire)
        except Malformed:
            self.counts["malformed"] += 1
            face.close()
            return
        if packet.kind == INTEREST:
            self.interest(face, packet)
        else:
            self.counts["unsolicited"] += 1

    def interest(self, face, interest):
        self.counts["interests"] += 1
        if interest.hop_limit == 0:
            return self.give_back(face, interest, HOP_LIMIT_EXCEEDED)
        now = time.monotonic()
        lifetime = DEFAULT_LIFETIME if interest.lifetime is None else interest.lifetime
        expiry = now + lifetime / 1000
        entry = self.pending.get(interest.key)
        if entry and entry.expiry <= now:
            del self.pending[interest.key]
            entry = None
        if entry:
            is_repeated = face in entry.origins
            goes_further = interest.hop_limit > max(i.hop_limit for i in entry.origins.values())
            entry.origins[face] = interest
            entry.expiry = max(entry.expiry, expiry)
            if not is_repeated and not goes_further:
                self.counts["aggregated"] += 1
                return None
            return self.forward(interest)
        found = self.content.look_up(interest)
        if found:
            self.counts["hits"] += 1
            return face.send(found)
        if self.upstream is None:
            return self.give_back(face, interest, NO_ROUTE)
        if interest.hop_limit == 1:
            return self.give_back(face, interest, HOP_LIMIT_EXCEEDED)
        if lifetime:
            self.pending[interest.key] = Pending(expiry, {face: interest})
        return self.forward(interest)

    def forward(self, interest):
        wire = bytearray(interest.wire)
        wire[4] -= 1
        if wire[4] and self.upstream:
            self.counts["upstream"] += 1
            self.upstream.send(bytes(wire))

    def give_back(self, face, interest, code):
        self.counts["returned"] += 1
        face.send(encode_return(interest, code))

    def from_upstream(self, face, wire):
        try:
            packet = decode(wire)
        except Malformed:
            self.counts["malformed"] += 1
            return face.close()
        now = time.monotonic()
        if packet.kind == INTEREST_RETURN:
            entry = self.pending.pop(packet.key, None)
            for origin, interest in (entry.origins if entry else {}).items():
                self.give_back(origin, interest, packet.return_code)
            return None
        # As many keys as there are kinds of restriction, whatever is pending.
        keys = [(packet.name, key_id, digest) for key_id in (None, packet.key_id)
                for digest in (None, packet.object_hash)]
        faces = set()
        for key in dict.fromkeys(keys):
            entry = self.pending.pop(key, None)
            if entry and entry.expiry > now:
                faces |= set(entry.origins)
        if not faces:
            self.counts["unsolicited"] += 1
            return None
        self.counts["objects"] += 1
        self.content.add(packet)
        for origin in faces:
            origin.send(wire)


async def forward(arguments, content, upstream):
    forwarder = Forwarder(content, upstream)
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def report():
        print(json.dumps(forwarder.counts), flush=True)

    loop.add_signal_handler(signal.SIGUSR1, report)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    connecting = asyncio.ensure_future(forwarder.stay_connected()) if upstream else None
    print("listening", await listen(arguments.listen, forwarder.received), flush=True)
    await ended.wait()
    if connecting:
        connecting.cancel()
    report()
    return 0


async def serve(arguments):
    return await forward(arguments, Folder(arguments.dir), arguments.others_to)


async def relay(arguments):
    if arguments.keep:
        os.makedirs(arguments.keep, exist_ok=True)
    return await forward(arguments, Cache(arguments.keep), arguments.to)


# ---- hostile


KINDS = ["garbage", "half", "giant", "flood", "drip", "slowloris"]


class Hostile:
    def __init__(self, arguments):
        self.arguments = arguments
        self.prefix = parse_uri(arguments.prefix)
        self.outcomes = collections.defaultdict(collections.Counter)
        self.returns = collections.Counter()
        self.objects = 0
        self.loop = asyncio.get_running_loop()

    def random_interest(self, draw):
        return encode_interest(self.prefix + ((NAME_SEGMENT, draw.randbytes(8)), (CHUNK, b"\0")), lifetime=4000)

    # What each kind sends; it may end early when the node ends the connection.

    async def garbage(self, send, draw):
        # From its first byte on no packet of this version.
        await send(bytes([draw.randint(VERSION + 1, 255)]) + draw.randbytes(draw.randint(7, 4095)))

    async def half(self, send, draw):
        interest = self.random_interest(draw)
        await send(interest[:draw.randint(1, len(interest) - 1)])

    async def giant(self, send, draw):
        form = draw.randrange(4)
        if form == 0:
            # All that it promises, and nonsense.
            await send(FIXED_HEADER.pack(1, 0, MAXIMUM_PACKET, 32, 0, 0, 8) + draw.randbytes(MAXIMUM_PACKET - 8))
        elif form == 1:
            # A TLV longer than its packet.
            await send(FIXED_HEADER.pack(1, 0, 64, 32, 0, 0, 8) + struct.pack(">HH", 1, 65535) + draw.randbytes(52))
        elif form == 2:
            await send(FIXED_HEADER.pack(1, 0, draw.randrange(8), 32, 0, 0, 8))
        else:
            await send(FIXED_HEADER.pack(1, 0, MAXIMUM_PACKET, 32, 0, 0, 8) + draw.randbytes(32768))

    async def flood(self, send, draw):
        for _ in range(self.arguments.interests):
            await send(self.random_interest(draw))

    async def drip(self, send, draw):
        """An honest Interest, a byte at a time. It is answered in the end."""
        interest = self.random_interest(draw)
        pause = self.arguments.hold / 2 / len(interest)
        for byte in interest:
            await send(bytes([byte]))
            await asyncio.sleep(pause)

    async def slowloris(self, send, draw):
        """A packet that goes on for ever."""
        await send(FIXED_HEADER.pack(1, 0, MAXIMUM_PACKET, 32, 0, 0, 8) + struct.pack(">HH", 1, MAXIMUM_PACKET - 12))
        while True:
            await asyncio.sleep(self.arguments.hold / 20)
            await send(b"\0")

    async def deaf(self, send, draw):
        """Asks for what is there and takes none of it: under a new prefix each time, or it would be one question."""
        wanted = parse_uri(self.arguments.name)
        for _ in range(self.arguments.interests):
            name = wanted[:1] + ((NAME_SEGMENT, draw.randbytes(8)),) + wanted[-4:]
            await send(encode_interest(name, lifetime=60000))

    async def read(self, socket):
        """Until the end of the stream; counts what is answered."""
        buffer = bytearray()
        while data := await self.loop.sock_recv(socket, 65536):
            buffer += data
            while (length := frame_length(buffer)) and len(buffer) >= length:
                packet = decode(bytes(buffer[:length]))
                del buffer[:length]
                if packet.kind == INTEREST_RETURN:
                    self.returns[packet.return_code] += 1
                elif packet.kind == CONTENT_OBJECT:
                    self.objects += 1

    async def connection(self, number):
        a = self.arguments
        draw = random.Random(a.seed * 1_000_003 + number)
        kind = draw.choice(KINDS) if a.kind == "mixed" else a.kind
        self.outcomes[kind][await self.outcome(kind, draw)] += 1

    async def datagrams(self, draw):
        _, host, port = self.arguments.to
        with sockets.socket(sockets.AF_INET, sockets.SOCK_DGRAM) as socket:
            socket.setblocking(False)
            if self.arguments.source:
                socket.bind((self.arguments.source, 0))
            socket.connect((host, port))
            for _ in range(self.arguments.interests):
                interest = self.random_interest(draw)
                data = draw.choice([
                    interest, interest[:draw.randint(0, len(interest) - 1)], interest + interest,
                    draw.randbytes(draw.randint(0, 2000)), encode_object(self.prefix + ((CHUNK, b"\0"),), b"x"),
                ])
                try:
                    await self.loop.sock_sendall(socket, data)
                except OSError as error:
                    return f"{error}"
                await asyncio.sleep(0)
            return "sent"

    async def outcome(self, kind, draw):
        _, host, port = self.arguments.to
        if kind == "datagrams":
            return await self.datagrams(draw)
        socket = sockets.socket()
        socket.setblocking(False)
        try:
            if kind == "deaf":
                socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
            if self.arguments.source:
                socket.bind((self.arguments.source, 0))
            try:
                await asyncio.wait_for(self.loop.sock_connect(socket, (host, port)), 10)
            except (OSError, TimeoutError):
                return "notConnected"
            return await self.converse(kind, draw, socket)
        finally:
            socket.close()

    async def converse(self, kind, draw, socket):
        async def send(data):
            await self.loop.sock_sendall(socket, data)

        sending = asyncio.ensure_future(getattr(self, kind)(send, draw))
        tasks = {sending}
        if kind != "deaf":
            tasks.add(asyncio.ensure_future(self.read(socket)))
        deadline = time.monotonic() + self.arguments.hold
        try:
            while tasks:
                left = deadline - time.monotonic()
                done, tasks = await asyncio.wait(tasks, timeout=max(0, left), return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    return "leftOpen"
                for task in done:
                    if error := task.exception():
                        broken = isinstance(error, OSError) and error.errno in (errno.ECONNRESET, errno.EPIPE)
                        return "reset" if broken else f"{error}"
                    if task is not sending:
                        return "closed"
            await asyncio.sleep(max(0, deadline - time.monotonic()))
            return "leftOpen"
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def run(self):
        a = self.arguments
        numbers = iter(range(a.connections))

        async def worker():
            for number in numbers:
                await self.connection(number)

        started = time.monotonic()
        await asyncio.gather(*(worker() for _ in range(a.parallel)))
        total = sum(self.outcomes.values(), collections.Counter())
        return {
            "connections": a.connections, "seconds": round(time.monotonic() - started, 1),
            # By the node: orderly, or with a reset. The others this end gave up.
            "closed": total["closed"], "reset": total["reset"], "leftOpen": total["leftOpen"],
            "notConnected": total["notConnected"], "outcomes": self.outcomes, "returns": self.returns,
            "objects": self.objects,
        }


async def hostile(arguments):
    print(json.dumps(await Hostile(arguments).run()))
    return 0


# ---- decode


async def decode_files(arguments):
    status = 0
    for path in arguments.file:
        with open(path, encoding="ascii") as text:
            wire = bytes.fromhex("".join(text.read().split()))
        try:
            packet = decode(wire)
        except Malformed as error:
            print(json.dumps({"file": os.path.basename(path), "malformed": str(error)}))
            status = 1
            continue
        again = encode_again(packet)
        print(json.dumps({
            "file": os.path.basename(path), "kind": ["interest", "object", "return"][packet.kind],
            "name": uri_of(packet.name), "hopLimit": packet.hop_limit, "returnCode": packet.return_code,
            "lifetime": packet.lifetime, "payload": packet.payload.hex(), "endChunk": packet.end_chunk,
            "validation": packet.algorithm, "keyId": packet.key_id.hex() if packet.key_id else None,
            "objectHash": packet.object_hash.hex(), "sameEncoded": None if again is None else again == wire,
        }))
    return status


# ---- the command


def hexadecimal(text):
    digest = bytes.fromhex(text)
    if len(digest) != 32:
        raise argparse.ArgumentTypeError("is not 32 bytes in hexadecimal")
    return digest


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("fetch")
    command.set_defaults(run=fetch)
    command.add_argument("name", nargs="*")
    command.add_argument("--via", type=parse_address, required=True)
    command.add_argument("--names", help="a file with a name a line")
    command.add_argument("--out")
    command.add_argument("--count", action="store_true", help="nothing is written")
    command.add_argument("--chunks", action="store_true")
    command.add_argument("--window", type=int, default=32, help="Interests outstanding at once")
    command.add_argument("--hop-limit", type=int, default=DEFAULT_HOP_LIMIT)
    command.add_argument("--lifetime", type=int, default=DEFAULT_LIFETIME, help="milliseconds")
    command.add_argument("--tries", type=int, help="default: 1, over UDP 5")
    command.add_argument("--hash-restriction", type=hexadecimal)
    command.add_argument("--keyid-restriction", type=hexadecimal)
    command.add_argument("--crc32c", action="store_true", help="Interests carry one")
    command.add_argument("--pieces", type=int, help="each Interest goes out in pieces of so many bytes")
    command.add_argument("--push", action="store_true", help="first sends an object of its own under each name")
    command.add_argument("--for", dest="duration", type=float, default=0, help="all over again for so many seconds")
    command.add_argument("--signed", metavar="FILE",
                         help="the last packet's key, what is signed, and the signature go to FILE.der and so on")

    command = commands.add_parser("serve")
    command.set_defaults(run=serve)
    command.add_argument("--listen", type=parse_address, required=True)
    command.add_argument("--dir", required=True)
    command.add_argument("--others-to", type=parse_address)

    command = commands.add_parser("relay")
    command.set_defaults(run=relay)
    command.add_argument("--listen", type=parse_address, required=True)
    command.add_argument("--to", type=parse_address, required=True)
    command.add_argument("--keep")

    command = commands.add_parser("hostile")
    command.set_defaults(run=hostile)
    command.add_argument("--to", type=parse_address, required=True)
    command.add_argument("--kind", choices=KINDS + ["deaf", "mixed", "datagrams"], required=True)
    command.add_argument("--connections", type=int, default=100)
    command.add_argument("--parallel", type=int, default=64)
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--hold", type=float, default=1, help="seconds until a connection is given up from here")
    command.add_argument("--from", dest="source", help="own address")
    command.add_argument("--prefix", default="ccnx:/mycorp.com")
    command.add_argument("--name", help="of an object that is there, for deaf")
    command.add_argument("--interests", type=int, default=100, help="of one connection that floods or is deaf")

    command = commands.add_parser("decode")
    command.set_defaults(run=decode_files)
    command.add_argument("file", nargs="+")

    arguments = parser.parse_args()
    if arguments.run is fetch:
        if not (arguments.name or arguments.names) or not (arguments.out or arguments.count):
            parser.error("fetch needs names, and --out or --count")
        if arguments.tries is None:
            arguments.tries = 5 if arguments.via[0] == "udp" else 1
    if arguments.run is hostile and arguments.kind == "deaf" and not arguments.name:
        parser.error("deaf needs --name")
    return arguments


def main():
    arguments = parse_arguments()
    try:
        return asyncio.run(arguments.run(arguments))
    except Malformed as error:
        sys.exit(f"rfc-peer: {error}")


sys.exit(main())
