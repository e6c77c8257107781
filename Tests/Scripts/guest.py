#!/usr/bin/env python3
"""Boots a disk in QEMU, logs in on the serial console, runs commands, powers the guest off.

    guest.py --disk FILE [--cache none|writeback] [--run COMMAND]... [--log FILE] [--timeout S]

Software emulation (TCG) only, so that it behaves the same with and without KVM. Exit status 0 if
the guest came up, every command ended with status 0 and QEMU ended by itself after `poweroff`.
Python's standard library only.
"""

import argparse
import ctypes
import os
import re
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

QEMU = "qemu-system-x86_64"
# What is kept of the console to be searched; the log has all of it.
CONSOLE_LIMIT_BYTES = 4 * 1024 * 1024
PR_SET_PDEATHSIG = 1


class GuestFailure(Exception):
    """One sentence about what did not happen."""


class Console:
    """The guest's serial line: what it said so far, and until when it may say more."""

    def __init__(self, line, log, deadline, process):
        self.line = line
        self.log = log
        self.deadline = deadline
        self.process = process
        self.said = b""

    def wait_for(self, pattern, what):
        """Reads until `pattern` matches; returns what came before it and the match."""
        expression = re.compile(pattern)
        while True:
            match = expression.search(self.said)
            if match:
                before = self.said[: match.start()]
                self.said = self.said[match.end():]
                return before, match
            self.read_more(what)

    def read_more(self, what):
        remaining = self.deadline - time.monotonic()
        if remaining <= 0:
            raise GuestFailure(f"timed out waiting for {what}")
        readable, _, _ = select.select([self.line], [], [], min(remaining, 1.0))
        if not readable:
            if self.process.poll() is not None:
                raise GuestFailure(
                    f"qemu ended with status {self.process.returncode} while waiting for {what}"
                )
            return
        data = self.line.recv(65536)
        if not data:
            status = wait_for_end(self.process, self.deadline)
            raise GuestFailure(f"qemu ended with status {status} while waiting for {what}")
        self.log.write(data)
        self.log.flush()
        self.said = (self.said + data)[-CONSOLE_LIMIT_BYTES:]

    def send(self, text):
        self.line.sendall(text.encode() + b"\n")

    def drain_until_closed(self):
        """Reads on until QEMU closes the line: a full buffer would stop the guest's shutdown."""
        while True:
            remaining = self.deadline - time.monotonic()
            if remaining <= 0:
                raise GuestFailure("timed out waiting for the guest to power off")
            readable, _, _ = select.select([self.line], [], [], min(remaining, 1.0))
            if readable:
                data = self.line.recv(65536)
                if not data:
                    return
                self.log.write(data)
                self.log.flush()
            elif self.process.poll() is not None:
                return


def wait_for_end(process, deadline):
    try:
        return process.wait(timeout=max(1.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise GuestFailure("qemu did not end by itself after the guest powered off") from None


def log_in(console, user):
    console.wait_for(rb"login: ", "the login prompt")
    console.send(user)
    _, match = console.wait_for(
        rb"(Password:|Login incorrect|[#$] (?:\x1b\[[0-9;?]*[a-zA-Z])*$)", "a shell after login"
    )
    if match.group(1) in (b"Password:", b"Login incorrect"):
        raise GuestFailure(f"the guest wants a password for {user}")
    # A plain shell without prompt, echo or line editing, so that output is output only.
    ready = secrets.token_hex(8)
    console.send("exec /bin/sh")
    console.wait_for(rb"[#$] ", "a plain shell")
    console.send(f"PS1= PS2=; stty -echo; echo {ready[:8]}''{ready[8:]}")
    console.wait_for(ready.encode() + rb"\r?\n", "a plain shell")


def run(console, command):
    """Runs one command; returns its output and exit status."""
    token = secrets.token_hex(8)
    # The mark is typed in two halves: should the line be echoed, the echo is not the mark.
    console.send(f"(\n{command}\n) < /dev/null 2>&1; echo {token[:8]}''{token[8:]}:$?:")
    output, match = console.wait_for(
        token.encode() + rb":(\d+):\r?\n", f"the end of: {command}"
    )
    return output.decode(errors="replace").replace("\r\n", "\n"), int(match.group(1))


def end_with_parent():
    """Should this script be killed, its guest must not stay behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def start(arguments, guest_end, error_log):
    path = arguments.disk.replace(",", ",,")
    command = [
        QEMU,
        "-accel", "tcg,thread=multi",
        "-M", "q35",
        "-cpu", "max",
        "-smp", str(arguments.cpus),
        "-m", str(arguments.memory),
        "-display", "none",
        "-monitor", "none",
        "-no-reboot",
        "-nic", "none",
        "-drive", f"file={path},format=raw,if=virtio,cache={arguments.cache}",
        "-chardev", f"socket,id=console,fd={guest_end.fileno()}",
        "-serial", "chardev:console",
    ]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=error_log,
        stderr=error_log,
        pass_fds=[guest_end.fileno()],
        preexec_fn=end_with_parent,
    )


def stop(process):
    """Ends the QEMU this script started, and no other."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def boot(arguments):
    started = time.monotonic()
    deadline = started + arguments.timeout

    def say(text):
        print(f"guest: [{time.monotonic() - started:5.1f} s] {text}", flush=True)

    ours, guests = socket.socketpair()
    with open(arguments.log, "wb") as log:
        process = start(arguments, guests, log)
        guests.close()
        try:
            say(f"qemu {process.pid} boots {arguments.disk}, cache={arguments.cache}")
            console = Console(ours, log, deadline, process)
            log_in(console, arguments.user)
            say(f"logged in as {arguments.user}")
            for command in arguments.run:
                output, status = run(console, command)
                say(f"status {status}: {command}")
                for line in output.splitlines():
                    print(f"  {line}", flush=True)
                if status != 0:
                    raise GuestFailure(f"status {status} from: {command}")
            console.send("poweroff")
            console.drain_until_closed()
            status = wait_for_end(process, deadline)
            if status != 0:
                raise GuestFailure(f"qemu ended with status {status}")
            say("powered off")
        finally:
            stop(process)
            ours.close()


def last_lines(path, count=15):
    try:
        with open(path, "rb") as log:
            text = log.read()[-8192:].decode(errors="replace")
    except OSError:
        return []
    # Terminal control sequences would act on the reader's own terminal.
    return re.sub(r"\x1b[\[(][0-9;?]*[a-zA-Z]|[^\t\n -~]", "", text).splitlines()[-count:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--disk", required=True, help="raw disk image to boot and write to")
    parser.add_argument("--cache", default="writeback",
                        choices=["none", "writeback", "writethrough", "directsync", "unsafe"])
    parser.add_argument("--run", action="append", default=[], metavar="COMMAND",
                        help="shell command to run in the guest; may be repeated")
    parser.add_argument("--log", default=os.devnull, help="where the console's text goes")
    parser.add_argument("--timeout", type=float, default=240, metavar="SECONDS",
                        help="for everything from power-on to power-off (default 240)")
    parser.add_argument("--user", default="root")
    parser.add_argument("--memory", type=int, default=512, metavar="MIB")
    parser.add_argument("--cpus", type=int, default=2)
    arguments = parser.parse_args()

    if not shutil.which(QEMU):
        print(f"guest: {QEMU} is not installed", file=sys.stderr)
        print("  hint: apt-get install --no-install-recommends qemu-system-x86", file=sys.stderr)
        return 69
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        boot(arguments)
    except GuestFailure as failure:
        print(f"guest: {arguments.disk}: {failure}", file=sys.stderr)
        for line in last_lines(arguments.log):
            print(f"  | {line}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
