#!/usr/bin/env python3
"""Puts faults between a node and the node it asks: fault-proxy.py --listen 127.0.0.1:PORT --to HOST:PORT

    fault-proxy.py --listen 127.0.0.1:0 --to 127.0.0.1:9695 --control FILE --stats FILE --seed 7 [--udp]
    echo '{"loss": 0.05, "flip": {"every": 50}}' > FILE.new && mv FILE.new FILE

Prints `listening PORT`. Answers (from HOST:PORT to whoever connects) are cut into CCNx 1.0 packets by their
PacketLength, so that a fault concerns whole packets. The control file holds one line of JSON, an object of all faults
from then on; what it does not name is off. A new line also ends with what the one before had counted.

    delay      milliseconds, each way; what is under way at once stays so
    loss       probability that an answer is dropped
    stall      true: answers are held back, requests go on; "swallow": answers are dropped
    truncate   true: the connection ends in the midst of an answer
    flip       true: one bit of the payload of a Content Object is another; lengths stay
    swap       true: the payload of another object comes under the name asked for
    duplicate  true: each answer comes twice
    reset      N: RST after N answers of a connection (SO_LINGER 0)
    drip       bytes per second of answers, each connection
    replay     true: the pointer to a catalog (a name that ends with @catalog and chunk 0) is the oldest one seen
    refuse     true: nothing is accepted, what was connected is reset
    reorder    true: an answer is overtaken by those of the next 20 milliseconds; --udp only

    every      N: faults of packets happen to each Nth packet only that they could happen to
    times      N: each of these faults happens at most so often
    tag        text that comes back in the statistics once the line is in force

A fault may have `every` and `times` of its own: {"value": 0.5, "every": 3, "times": 2}; `value` may be left out where
it is true. The statistics are JSON, written every 100 ms when they have changed. `asked` and `answered` count what
came from either side, `delivered` the answers that went on.

As long as HOST:PORT does not take connections this does not either. With --udp an answer is a datagram: each address
that asks has a socket of its own towards HOST:PORT, loss is of datagrams either way, and truncate cuts a datagram;
reset, drip and refuse do nothing. Python's standard library only; ends with status
0 on SIGTERM.
"""

import argparse
import asyncio
import collections
import contextlib
import json
import os
import random
import signal
import socket
import struct
import sys

# RFC 8609: the fixed header, and the types that are looked at.
FIXED_HEADER = 8
CONTENT_OBJECT = 1
MESSAGE, NAME, PAYLOAD = 0x0002, 0x0000, 0x0001
NAME_SEGMENT, CHUNK_SEGMENT = 0x0001, 0x0005
PACKET_LIMIT = 65_535
# Sources/Templates/Catalog.swift, Catalog.name(in:)
POINTER_TAIL = [(NAME_SEGMENT, b"@catalog"), (CHUNK_SEGMENT, b"\0")]

CONTROL_SECONDS, STATS_SECONDS, PROBE_SECONDS, CLOSE_SECONDS = 0.02, 0.1, 0.05, 5
READ_BYTES = 256 * 1024
# Of each way of a connection; beyond it nothing more is read from where it comes.
QUEUE_BYTES = 64 * 1024 * 1024
# Payloads to swap with.
SEEN_PAYLOADS = 64
# Of --udp: addresses that ask, and datagrams that wait for their time.
SESSIONS, DATAGRAMS = 64, 65_536
REORDER_SECONDS = 0.02

KINDS = ["delay", "loss", "stall", "truncate", "flip", "swap", "duplicate", "reset", "drip", "replay", "refuse",
         "reorder"]
NUMBERS = {"delay", "loss", "reset", "drip"}
END, CUT, RESET = "end", "cut", "reset"


class BadFaults(ValueError):
    pass


# ---- packets


def fields(data, start, end):
    """Type, start and end of each field's value between two places; ends where the fields do not add up."""
    while start + 4 <= end:
        kind, length = struct.unpack_from(">HH", data, start)
        start += 4
        if start + length > end:
            return
        yield kind, start, start + length
        start += length


class Object:
    """Where the name and the payload of a Content Object lie in its packet."""

    def __init__(self, packet):
        self.packet = packet
        self.name = self.payload = self.message = None
        if packet[1] != CONTENT_OBJECT:
            return
        for kind, start, end in fields(packet, packet[7], len(packet)):
            if kind == MESSAGE:
                self.message = (start, end)
                for field, first, last in fields(packet, start, end):
                    if field == NAME and self.name is None:
                        self.name = (first, last)
                    elif field == PAYLOAD and self.payload is None:
                        self.payload = (first, last)
                return

    @property
    def has_payload(self):
        return self.name is not None and self.payload is not None and self.payload[0] < self.payload[1]

    def payload_bytes(self):
        return self.packet[self.payload[0]:self.payload[1]]

    def name_bytes(self):
        return self.packet[self.name[0]:self.name[1]]

    def is_pointer(self):
        segments = [(kind, self.packet[start:end]) for kind, start, end in fields(self.packet, *self.name)]
        return segments[-2:] == POINTER_TAIL

    def with_payload(self, payload):
        """The packet with another payload, lengths put right; what vouches for it stays. None if it is too long."""
        first, last = self.payload
        growth = len(payload) - (last - first)
        if len(self.packet) + growth > PACKET_LIMIT:
            return None
        packet = bytearray(self.packet[:first] + payload + self.packet[last:])
        message, end = self.message
        struct.pack_into(">H", packet, 2, len(packet))
        struct.pack_into(">H", packet, message - 2, end - message + growth)
        struct.pack_into(">H", packet, first - 2, len(payload))
        return bytes(packet)

    def with_flipped_bit(self, rng):
        place = rng.randrange(*self.payload)
        packet = bytearray(self.packet)
        packet[place] ^= 1 << rng.randrange(8)
        return bytes(packet)


class Framer:
    """Cuts a stream into packets. What is not CCNx passes as it came."""

    def __init__(self):
        self.rest = b""
        self.is_foreign = False

    def packets(self, data):
        data = self.rest + data
        self.rest = b""
        start = 0
        while not self.is_foreign and start + FIXED_HEADER <= len(data):
            length = struct.unpack_from(">H", data, start + 2)[0]
            if data[start] != 1 or not FIXED_HEADER <= data[start + 7] <= length:
                self.is_foreign = True
                break
            if start + length > len(data):
                break
            yield data[start:start + length]
            start += length
        if self.is_foreign:
            yield data[start:]
        else:
            self.rest = data[start:]


# ---- faults


class Fault:
    def __init__(self, kind, said, every, times):
        if isinstance(said, dict):
            unknown = set(said) - {"value", "every", "times"}
            if unknown:
                raise BadFaults(f"{kind} has no {sorted(unknown)}")
            every, times = said.get("every", every), said.get("times", times)
            said = said.get("value", kind not in NUMBERS)
        if kind in NUMBERS and (isinstance(said, bool) or not isinstance(said, (int, float)) or said < 0):
            raise BadFaults(f"{kind} wants a number, not {said!r}")
        if kind not in NUMBERS and said not in (False, True) and (kind, said) != ("stall", "swallow"):
            raise BadFaults(f"{kind} wants true or false, not {said!r}")
        if not isinstance(every, int) or every < 1:
            raise BadFaults(f"every wants a number from 1 on, not {every!r}")
        self.value, self.every, self.left = said, every, times
        self.candidates = 0

    def strikes(self):
        """Called once for each packet that the fault could happen to."""
        if not self.value:
            return False
        self.candidates += 1
        return self.candidates % self.every == 0 and self.takes_one()

    def takes_one(self):
        if self.left is None:
            return True
        if self.left <= 0:
            return False
        self.left -= 1
        return True


class Faults:
    """What is done to answers. Remembers what it saw whatever is switched on."""

    def __init__(self, rng):
        self.rng = rng
        self.applied = collections.Counter({kind: 0 for kind in KINDS})
        self.seen = collections.deque(maxlen=SEEN_PAYLOADS)
        self.oldest_pointers = {}
        self.generation = 0
        self.switch({})

    def switch(self, said):
        """All faults from now on; nothing changes if the words are wrong."""
        if not isinstance(said, dict):
            raise BadFaults(f"the faults are not an object: {said!r}")
        unknown = set(said) - set(KINDS) - {"every", "times", "tag"}
        if unknown:
            raise BadFaults(f"unknown: {sorted(unknown)}")
        every, times = said.get("every", 1), said.get("times")
        now = {kind: Fault(kind, said.get(kind, 0 if kind in NUMBERS else False), every, times) for kind in KINDS}
        for kind, fault in now.items():
            setattr(self, kind, fault)
        self.said = said
        self.generation += 1

    def count(self, kind):
        self.applied[kind] += 1

    def altered(self, packet):
        """The answer with its name and other bytes, or as it was."""
        answer = Object(packet)
        if not answer.has_payload:
            return packet
        if answer.is_pointer():
            oldest = self.oldest_pointers.setdefault(answer.name_bytes(), packet)
            if self.replay.strikes():
                self.count("replay")
                packet, answer = oldest, Object(oldest)
        payload = answer.payload_bytes()
        swapped = answer.with_payload(self.other_than(payload)) if self.swap.strikes() else None
        self.seen.append(payload)
        if swapped is not None and swapped != packet:
            self.count("swap")
            packet, answer = swapped, Object(swapped)
        if self.flip.strikes():
            self.count("flip")
            packet = answer.with_flipped_bit(self.rng)
        return packet

    def other_than(self, payload):
        """A payload seen before, one of the same length if there is: that is what only a hash can tell."""
        others = [other for other in self.seen if other != payload]
        alike = [other for other in others if len(other) == len(payload)]
        return self.rng.choice(alike or others or [payload])

    def deliveries(self, packet, connection):
        """What comes of one answer: pairs of bytes and how the connection ends after them, or None."""
        if self.stall.value == "swallow":
            self.count("stall")
            return
        packet = self.altered(packet)
        if self.loss.value and self.rng.random() < self.loss.value and self.loss.strikes():
            self.count("loss")
            return
        if self.truncate.strikes():
            self.count("truncate")
            yield packet[:self.rng.randrange(1, len(packet))], CUT
            return
        yield packet, None
        if self.duplicate.strikes():
            self.count("duplicate")
            yield packet, None
        if self.reset.value and connection.answers_since(self.generation) >= self.reset.value \
                and self.reset.takes_one():
            self.count("reset")
            yield b"", RESET


# ---- connections


class Way:
    """One direction of a connection: what waits for its time."""

    def __init__(self):
        self.queue = collections.deque()
        self.byte_count = 0
        self.changed = asyncio.Event()

    def put(self, due, data, end=None):
        self.queue.append((due, data, end))
        self.byte_count += len(data)
        self.changed.set()

    def take(self, now):
        """All that is due, joined, and how the connection ends after it."""
        parts, end = [], None
        while self.queue and self.queue[0][0] <= now and end is None:
            _, data, end = self.queue.popleft()
            parts.append(data)
            self.byte_count -= len(data)
        self.changed.set()
        return b"".join(parts), end

    async def until(self, condition):
        while not condition():
            self.changed.clear()
            await self.changed.wait()


class Connection:
    def __init__(self, proxy, asker, answerer):
        self.proxy, self.faults, self.stats = proxy, proxy.faults, proxy.stats
        # Pairs of StreamReader and StreamWriter.
        self.asker, self.answerer = asker, answerer
        self.answer_count, self.counted_generation = 0, 0
        self.loop = asyncio.get_running_loop()

    def answers_since(self, generation):
        if self.counted_generation != generation:
            self.counted_generation, self.answer_count = generation, 0
        self.answer_count += 1
        return self.answer_count

    async def run(self):
        there, back = Way(), Way()
        tasks = [asyncio.create_task(work) for work in (
            self.take_in(self.asker[0], there, self.interests), self.take_in(self.answerer[0], back, self.answers),
            self.hand_on(there, self.answerer[1], False), self.hand_on(back, self.asker[1], True))]
        try:
            # Those that read end with a mark in the queue; those that write end the connection.
            await asyncio.wait(tasks[2:], return_when=asyncio.FIRST_COMPLETED)
            ends = [task.result() for task in tasks[2:] if task.done()]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for _, writer in (self.asker, self.answerer):
            await close(writer, resets=RESET in ends)

    async def take_in(self, reader, way, handle):
        framer = Framer()
        end = END
        try:
            while data := await reader.read(READ_BYTES):
                handle(way, framer, data)
                await way.until(lambda: way.byte_count < QUEUE_BYTES)
        except OSError:
            end = RESET
        if reader is self.answerer[0]:
            self.proxy.look_after_upstream()
        way.put(self.due(), b"", end)

    def due(self):
        return self.loop.time() + self.faults.delay.value / 1000

    def interests(self, way, framer, data):
        count_packets(self.stats["asked"], framer.packets(data))
        self.stats["asked"]["bytes"] += len(data)
        way.put(self.due(), data)

    def answers(self, way, framer, data):
        self.stats["answered"]["bytes"] += len(data)
        for packet in framer.packets(data):
            self.stats["answered"]["packets"] += 1
            if self.faults.delay.value:
                self.faults.count("delay")
            if framer.is_foreign:
                way.put(self.due(), packet)
                continue
            if self.faults.stall.value is True:
                self.faults.count("stall")
            for delivered, end in self.faults.deliveries(packet, self):
                if end is None:
                    self.stats["delivered"]["packets"] += 1
                way.put(self.due(), delivered, end)

    async def hand_on(self, way, writer, are_answers):
        try:
            while True:
                await way.until(lambda: way.queue)
                if are_answers and self.faults.stall.value is True:
                    await asyncio.sleep(CONTROL_SECONDS)
                    continue
                wait = way.queue[0][0] - self.loop.time()
                if wait > 0:
                    await asyncio.sleep(wait)
                    continue
                data, end = way.take(self.loop.time())
                if are_answers:
                    await self.deliver(data, writer)
                else:
                    writer.write(data)
                    await writer.drain()
                if end is not None:
                    return end
        except OSError:
            return END

    async def deliver(self, data, writer):
        start, next_piece = 0, self.loop.time()
        while start < len(data):
            rate = self.faults.drip.value
            piece = data[start:start + max(int(rate * CONTROL_SECONDS), 1)] if rate else data[start:]
            if rate:
                self.faults.count("drip")
            # What is under way when answers are held back stays where it is, in the midst of a packet or not.
            while self.faults.stall.value is True:
                await asyncio.sleep(CONTROL_SECONDS)
            writer.write(piece)
            await writer.drain()
            self.stats["delivered"]["bytes"] += len(piece)
            start += len(piece)
            if rate:
                next_piece += len(piece) / rate
                await asyncio.sleep(max(next_piece - self.loop.time(), 0))


def count_packets(counters, packets):
    counters["packets"] += sum(1 for _ in packets)


async def close(writer, resets):
    if resets:
        linger_zero(writer)
        return writer.transport.abort()
    writer.close()
    # What was written still goes out; nobody is waited for who does not read it.
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), CLOSE_SECONDS)


def linger_zero(writer):
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Proxy:
    def __init__(self, arguments, faults):
        self.arguments, self.faults = arguments, faults
        self.host, self.port = address(arguments.listen)
        self.upstream = address(arguments.to)
        self.stats = {
            "tag": None,
            "connections": {"accepted": 0, "open": 0, "failed": 0},
            "asked": {"packets": 0, "bytes": 0},
            "answered": {"packets": 0, "bytes": 0},
            "delivered": {"packets": 0, "bytes": 0},
            "faults": faults.applied,
            "error": None,
        }
        self.connections = set()
        self.server, self.place = None, None
        self.upstream_is_there, self.probe = True, None

    # ---- listening

    async def start(self):
        # Holds the port while nothing listens on it.
        self.place = self.bound()
        self.port = self.place.getsockname()[1]
        print(f"listening {self.port}", flush=True)
        await self.listen_or_not()

    def bound(self):
        place = socket.socket()
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind((self.host, self.port))
        return place

    async def listen_or_not(self):
        if self.faults.refuse.value or not self.upstream_is_there:
            if self.server:
                self.server.close()
                self.server = None
        elif self.server is None:
            self.server = await asyncio.start_server(self.accept, sock=self.bound())

    async def accept(self, reader, writer):
        self.stats["connections"]["accepted"] += 1
        task = asyncio.current_task()
        self.connections.add((task, writer))
        self.stats["connections"]["open"] += 1
        try:
            answerer = await asyncio.open_connection(*self.upstream)
            without_delay(writer)
            without_delay(answerer[1])
            try:
                await Connection(self, (reader, writer), answerer).run()
            finally:
                answerer[1].close()
        except OSError:
            self.stats["connections"]["failed"] += 1
            linger_zero(writer)
            self.look_after_upstream()
        except asyncio.CancelledError:
            pass
        finally:
            self.connections.discard((task, writer))
            self.stats["connections"]["open"] -= 1
            writer.transport.abort()

    def look_after_upstream(self):
        if self.probe is None or self.probe.done():
            self.probe = asyncio.create_task(self.probe_upstream())

    async def probe_upstream(self):
        """Called when the node behind ended a connection: listens as soon as that one does, and not before."""
        while True:
            try:
                _, writer = await asyncio.open_connection(*self.upstream)
                writer.close()
                self.upstream_is_there = True
            except OSError:
                self.upstream_is_there = False
            await self.listen_or_not()
            if self.upstream_is_there:
                return
            await asyncio.sleep(PROBE_SECONDS)

    def reset_all(self):
        for task, writer in list(self.connections):
            linger_zero(writer)
            task.cancel()
            writer.transport.abort()

    # ---- control and statistics

    async def follow_control(self):
        before = None
        while True:
            with contextlib.suppress(OSError):
                status = os.stat(self.arguments.control)
                now = (status.st_mtime_ns, status.st_ino, status.st_size)
                if now != before and await self.take_over(self.arguments.control):
                    before = now
            await asyncio.sleep(CONTROL_SECONDS)

    async def take_over(self, path):
        """False if the file is to be looked at again: it may be half written."""
        with open(path, encoding="utf-8") as file:
            line = file.read()
        try:
            self.faults.switch(json.loads(line))
        except ValueError as error:
            text = f"{path}: {error}"
            if text != self.stats["error"]:
                print(text, file=sys.stderr, flush=True)
            self.stats["error"] = text
            return False
        self.stats["tag"], self.stats["error"] = self.faults.said.get("tag"), None
        await self.obey_refusal()
        return True

    async def obey_refusal(self):
        await self.listen_or_not()
        if self.faults.refuse.value:
            self.faults.count("refuse")
            self.reset_all()

    def write_stats(self, before=None):
        text = json.dumps(self.stats)
        if text != before:
            with open(self.arguments.stats + ".new", "w", encoding="utf-8") as file:
                file.write(text + "\n")
            os.replace(self.arguments.stats + ".new", self.arguments.stats)
        return text

    async def keep_stats(self):
        before = None
        while True:
            before = self.write_stats(before)
            await asyncio.sleep(STATS_SECONDS)

    async def run(self):
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        await self.start()
        await self.obey_refusal()
        others = []
        if self.arguments.control:
            others.append(asyncio.create_task(self.follow_control()))
        if self.arguments.stats:
            others.append(asyncio.create_task(self.keep_stats()))
        stop = asyncio.create_task(stopped.wait())
        # One that fails ends the proxy: a test must not go on without its faults.
        done, _ = await asyncio.wait([stop, *others], return_when=asyncio.FIRST_COMPLETED)
        if self.server:
            self.server.close()
        self.reset_all()
        for task in others:
            task.cancel()
        await asyncio.sleep(0)
        if self.arguments.stats:
            self.write_stats()
        for task in done:
            task.result()


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, received):
        self.received = received

    def connection_made(self, transport):
        # As much as the system gives: what is lost here is not what was asked for.
        with contextlib.suppress(OSError):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)

    def datagram_received(self, data, sender):
        self.received(data, sender)


class DatagramProxy(Proxy):
    """The same for datagrams, which have neither connections nor an order."""

    def __init__(self, arguments, faults):
        super().__init__(arguments, faults)
        # By the address that asks: the socket towards the node behind.
        self.sessions = collections.OrderedDict()
        self.waiting = 0

    async def start(self):
        self.loop = asyncio.get_running_loop()
        self.front, _ = await self.loop.create_datagram_endpoint(
            lambda: Datagrams(self.asked), local_addr=(self.host, self.port))
        self.port = self.front.get_extra_info("sockname")[1]
        print(f"listening {self.port}", flush=True)

    async def listen_or_not(self):
        pass

    async def obey_refusal(self):
        pass

    def asked(self, data, asker):
        count_datagram(self.stats["asked"], data)
        if self.is_lost():
            return
        if asker not in self.sessions:
            self.sessions[asker] = asyncio.ensure_future(self.session(asker))
            self.stats["connections"]["accepted"] += 1
            if len(self.sessions) > SESSIONS:
                self.sessions.popitem(last=False)[1].add_done_callback(lambda session: session.result().close())
        session = self.sessions[asker]
        self.later(self.faults.delay.value / 1000, lambda: session.add_done_callback(
            lambda done: done.result().sendto(data)))

    async def session(self, asker):
        transport, _ = await self.loop.create_datagram_endpoint(
            lambda: Datagrams(lambda data, _: self.answered(data, asker)), remote_addr=self.upstream)
        return transport

    def is_lost(self):
        loss = self.faults.loss
        if not loss.value or self.faults.rng.random() >= loss.value or not loss.strikes():
            return False
        self.faults.count("loss")
        return True

    def answered(self, data, asker):
        count_datagram(self.stats["answered"], data)
        if self.faults.delay.value:
            self.faults.count("delay")
        if self.faults.stall.value is True:
            self.faults.count("stall")
        is_packet = len(data) >= FIXED_HEADER and struct.unpack_from(">H", data, 2)[0] == len(data)
        for delivered, end in self.faults.deliveries(data, self) if is_packet else [(data, None)]:
            if end == RESET:
                continue
            seconds = self.faults.delay.value / 1000
            if self.faults.reorder.strikes():
                self.faults.count("reorder")
                seconds += REORDER_SECONDS
            self.later(seconds, self.deliverer(delivered, asker))

    def deliverer(self, data, asker):
        def deliver():
            if self.faults.stall.value is True:
                return self.later(CONTROL_SECONDS, deliver)
            self.front.sendto(data, asker)
            count_datagram(self.stats["delivered"], data)
            return None
        return deliver

    def later(self, seconds, work):
        def run():
            self.waiting -= 1
            work()
        if self.waiting < DATAGRAMS:
            self.waiting += 1
            self.loop.call_later(seconds, run)

    def answers_since(self, _):
        """There are no connections to be reset."""
        return 0


def count_datagram(counters, data):
    counters["packets"] += 1
    counters["bytes"] += len(data)


def without_delay(writer):
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def address(text):
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    parser.add_argument("--to", required=True, metavar="HOST:PORT")
    parser.add_argument("--control", metavar="FILE")
    parser.add_argument("--stats", metavar="FILE")
    parser.add_argument("--udp", action="store_true", help="datagrams instead of connections")
    parser.add_argument("--seed", type=int, help="of what is drawn at random")
    for kind in KINDS:
        if kind in NUMBERS:
            parser.add_argument(f"--{kind}", type=float, default=argparse.SUPPRESS)
        else:
            parser.add_argument(f"--{kind}", action="store_true", default=argparse.SUPPRESS)
    parser.add_argument("--every", type=int, default=argparse.SUPPRESS)
    parser.add_argument("--times", type=int, default=argparse.SUPPRESS)
    arguments = parser.parse_args()
    faults = Faults(random.Random(arguments.seed))
    try:
        faults.switch({key: value for key, value in vars(arguments).items() if key in [*KINDS, "every", "times"]})
    except BadFaults as error:
        parser.error(str(error))
    asyncio.run((DatagramProxy if arguments.udp else Proxy)(arguments, faults).run())


if __name__ == "__main__":
    main()
