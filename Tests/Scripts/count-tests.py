#!/usr/bin/env python3
"""Counts what `swift test` printed: count-tests.py LOG EXIT-STATUS

First line: passed, failed, skipped. Then what failed, and what was running when the runner died.
Both Swift Testing and XCTest are understood; a parameterised test counts once.
"""

import re
import sys

STARTED = re.compile(r"^\S+ +Test (?!run |case )(.+) started\.$")
ENDED = re.compile(r"^\S+ +Test (?!run |case )(.+?)(?: with \d+ test cases?)? (passed|failed) after ")
SKIPPED = re.compile(r"^\S+ +Test (?!run |case )(.+?) skipped\b")
ISSUE = re.compile(r"^\S+ +Test (?!run |case ).+ recorded an issue ")
XCTEST = re.compile(r"^Test Case '(.+)' (passed|failed|skipped) \(")
COMPILER = re.compile(r"(^|: )error: ")


def main():
    path, status = sys.argv[1], int(sys.argv[2])
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    running, issues = [], []
    with open(path, errors="replace") as log:
        for line in log.read().splitlines():
            if match := STARTED.match(line):
                running.append(match.group(1))
            elif match := ENDED.match(line):
                counts[match.group(2)] += 1
                if match.group(1) in running:
                    running.remove(match.group(1))
            elif SKIPPED.match(line):
                counts["skipped"] += 1
            elif match := XCTEST.match(line):
                counts[match.group(2)] += 1
            if ISSUE.match(line) or COMPILER.search(line) or "Fatal error" in line or "Precondition failed" in line:
                issues.append(line)
    # Killed by a trap or a time limit: the tests that were running did not pass.
    if status != 0 and counts["failed"] == 0:
        counts["failed"] = 1
        issues += [f"running when it ended: {name}" for name in running]
    print(counts["passed"], counts["failed"], counts["skipped"])
    print("\n".join(issues[:60]))


if __name__ == "__main__":
    main()
