#!/usr/bin/env python3
"""A connection of a certain speed: link-proxy.py --listen 127.0.0.1:PORT --to HOST:PORT [--rate BYTES]

Prints `listening PORT`, takes connections, and copies what comes both ways, each way at `--rate` bytes a second at most
(0, no limit). The kernel paces what is sent (SO_MAX_PACING_RATE), so that the proxy itself costs little. Python's
standard library only; ends at SIGTERM.
"""

import argparse
import socket
import sys
import threading

# <asm-generic/socket.h>
SO_MAX_PACING_RATE = getattr(socket, "SO_MAX_PACING_RATE", 47)
PIECE_BYTES = 256 * 1024


def address(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


def copy(source, destination):
    buffer = memoryview(bytearray(PIECE_BYTES))
    try:
        while count := source.recv_into(buffer):
            destination.sendall(buffer[:count])
    except OSError:
        pass
    for end in (source, destination):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(near, upstream, rate):
    try:
        far = socket.create_connection(upstream)
    except OSError:
        near.close()
        return
    with near, far:
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if rate:
                end.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, rate)
        back = threading.Thread(target=copy, args=(far, near), daemon=True)
        back.start()
        copy(near, far)
        back.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listen", required=True)
    parser.add_argument("--to", required=True)
    parser.add_argument("--rate", type=int, default=0)
    arguments = parser.parse_args()
    listener = socket.create_server(address(arguments.listen))
    print(f"listening {listener.getsockname()[1]}", flush=True)
    while True:
        near, _ = listener.accept()
        upstream = address(arguments.to)
        threading.Thread(target=serve, args=(near, upstream, arguments.rate), daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
