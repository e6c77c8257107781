#!/usr/bin/env python3
"""The work of a guest on its filesystem, and what must be left of it.

    guest-files.py work   FOLDER LOG --seed N [--seconds S]
    guest-files.py verify FOLDER LOG --seed N [--until TEXT]

`work` runs three workers, each in a folder of its own: files are written under another name, synchronized,
renamed, and their folder is synchronized; some are renamed again, some removed; other files grow by records,
each synchronized. LOG, which lies elsewhere, gets a line after each promise and before each thing that ends
one. It ends at the first error or when the time is over.

`verify` asks for every promise that nothing ended: is the file there and whole? And for every file of a
final name, promised or not: it was synchronized before it got the name, so it must be whole. With `--until`
the promises made before that line of LOG count, such as those before a snapshot was asked for. Bytes come
from the seed and the file's number. Python's standard library only.
"""

import argparse
import os
import random
import sys
import threading
import time

WORKERS = 3
RECORD = 1500
GROWING = 4


def content(seed, worker, number):
    dice = random.Random(f"{seed}/{worker}/{number}")
    return dice.randbytes(dice.choice([0, 1, 700, 4096, 5000, 20_000, 100_000]))


def record(seed, worker, name, index):
    return random.Random(f"{seed}/{worker}/{name}/{index}").randbytes(RECORD)


def synchronize_folder(folder):
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


class Worker(threading.Thread):
    def __init__(self, number, folder, log, seed, until):
        super().__init__(daemon=True)
        self.number, self.log, self.seed, self.until = number, log, seed, until
        self.folder = os.path.join(folder, f"worker-{number}")
        self.dice = random.Random(f"{seed}/{number}/work")
        self.names = []
        self.records = {}
        self.error = None

    def say(self, text):
        # One write(2) to a file that was opened to append: lines of several workers do not mix.
        os.write(self.log, f"{self.number} {text}\n".encode())

    def path(self, name):
        return os.path.join(self.folder, name)

    def run(self):
        count = 0
        try:
            os.makedirs(self.folder, exist_ok=True)
            while time.monotonic() < self.until:
                count += 1
                self.make(count)
                if self.dice.random() < 0.3:
                    self.rename(self.dice.randrange(len(self.names)))
                if len(self.names) > 30:
                    self.remove(self.dice.randrange(len(self.names)))
                if self.dice.random() < 0.5:
                    self.grow(f"grows-{self.dice.randrange(GROWING)}")
        except OSError as error:
            self.error = error

    def make(self, number):
        name = f"file-{number}"
        file = os.open(self.path("new"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            os.write(file, content(self.seed, self.number, number))
            os.fsync(file)
        finally:
            os.close(file)
        os.rename(self.path("new"), self.path(name))
        if number % 3 != 0:
            synchronize_folder(self.folder)
            self.say(f"whole {name}")
        self.names.append((name, number))

    def rename(self, index):
        name, number = self.names[index]
        other = f"again-{number}" if name.startswith("file") else f"file-{number}"
        self.say(f"ends {name}")
        os.rename(self.path(name), self.path(other))
        synchronize_folder(self.folder)
        self.say(f"whole {other}")
        self.names[index] = (other, number)

    def remove(self, index):
        name, _ = self.names.pop(index)
        self.say(f"ends {name}")
        os.unlink(self.path(name))

    def grow(self, name):
        index = self.records.get(name, 0)
        file = os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(file, record(self.seed, self.number, name, index))
            os.fsync(file)
        finally:
            os.close(file)
        self.records[name] = index + 1
        self.say(f"records {name} {index + 1}")


def work(arguments):
    log = os.open(arguments.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    until = time.monotonic() + arguments.seconds
    workers = [Worker(number, arguments.folder, log, arguments.seed, until) for number in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    errors = {str(worker.error) for worker in workers if worker.error}
    print(f"{sum(len(worker.names) for worker in workers)} files; ended by: {'; '.join(sorted(errors)) or 'the time'}")
    return 0


def promises(arguments):
    """Names that must be whole, and how many records files must have, by worker."""
    whole, records = set(), {}
    until_passed = False
    with open(arguments.log) as log:
        for line in log:
            if not line.endswith("\n"):
                break
            if line.strip() == arguments.until:
                # What is ended from here on may or may not have been when the snapshot was taken.
                until_passed = True
                continue
            if line.count(" ") == 0:
                # A mark that is not the one asked for.
                continue
            worker, what, *words = line.split()
            if what == "whole" and not until_passed:
                whole.add((worker, words[0]))
            elif what == "ends":
                whole.discard((worker, words[0]))
            elif what == "records" and not until_passed:
                records[worker, words[0]] = int(words[1])
    return whole, records


def verify(arguments):
    whole, records = promises(arguments)
    wrong = []
    there = set()
    for worker in range(WORKERS):
        folder = os.path.join(arguments.folder, f"worker-{worker}")
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            kind, _, number = name.partition("-")
            there.add((str(worker), name))
            with open(os.path.join(folder, name), "rb") as file:
                found = file.read()
            if kind in ("file", "again"):
                expected = content(arguments.seed, worker, int(number))
                if found != expected:
                    wrong.append(f"{worker}/{name} has {len(found)} bytes that are not its {len(expected)}")
            elif kind == "grows":
                count = records.get((str(worker), name), 0)
                expected = b"".join(record(arguments.seed, worker, name, index) for index in range(count))
                if found[:len(expected)] != expected:
                    wrong.append(f"{worker}/{name} has not its {count} records; {len(found)} bytes")
    wrong += [f"{worker}/{name} is not there" for worker, name in sorted(whole - there)]
    wrong += [f"{worker}/{name} is not there" for worker, name in sorted(set(records) - there)]
    for sentence in wrong[:10]:
        print(sentence)
    print(f"{len(whole)} files and {len(records)} growing ones promised, {len(there)} there; {len(wrong)} faults")
    if not whole:
        print("nothing was promised")
    return 1 if wrong or not whole else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["work", "verify"])
    parser.add_argument("folder")
    parser.add_argument("log")
    parser.add_argument("--seed", required=True)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--until", default="")
    arguments = parser.parse_args()
    return {"work": work, "verify": verify}[arguments.action](arguments)


if __name__ == "__main__":
    sys.exit(main())
