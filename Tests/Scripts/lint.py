#!/usr/bin/env python3
"""The house rules that a formatter cannot know: lint.py PACKAGE.json (of `swift package dump-package`).

- A module that the package knows is imported only where the target declares it.
- `unsafe` stands only in the folders that wrap a C library or do file I/O.
- No `try!`, `as!`, `fatalError(`; nothing left for later without an owner.
"""

import collections
import json
import pathlib
import re
import sys

# Folders of Sources whose code may say `unsafe`; everywhere else a wrapper is missing.
UNSAFE_FOLDERS = {"Files", "FUSE", "Signing", "Images", "Store", "Faces"}

IMPORT = re.compile(
    r"^[ \t]*(?:@\w+(?:\([^)]*\))?[ \t]+)*(?:(?:public|package|internal|fileprivate|private)[ \t]+)?"
    r"import[ \t]+(?:(?:struct|class|enum|protocol|func|typealias|let|var|actor)[ \t]+)?(\w+)",
    re.MULTILINE,
)
# `nonisolated(unsafe)` is a statement about threads, not about memory.
UNSAFE = re.compile(r"(?<!nonisolated\()(?<![\w.`])unsafe\b(?![`:])")
FORBIDDEN = [
    (re.compile(r"\btry!"), "`try!`: the outside world never traps"),
    (re.compile(r"\bas!"), "`as!`: the outside world never traps"),
    (re.compile(r"\bfatalError\("), "`fatalError(`: say `precondition` with a sentence"),
]
LATER = re.compile(r"\b(TODO|FIXME|XXX)\b")
# A line comment, a block comment, a long string, a string: what is not code.
NOT_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|#*""".*?"""#*|"(?:\\.|[^"\\\n])*"', re.DOTALL)

problems = []


def complain(path, line, text):
    problems.append(f"{path}:{line}: {text}")


def code_of(text):
    """The text with comments and strings blanked, line numbers kept."""
    return NOT_CODE.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def declared_names(target):
    """Names of the targets and products that a target of the manifest depends on."""
    names = set()
    for dependency in target["dependencies"]:
        for kind in ("byName", "target", "product"):
            if dependency.get(kind):
                names.add(dependency[kind][0])
    return names


def main():
    package = json.loads(pathlib.Path(sys.argv[1]).read_text())
    targets = {target["name"]: target for target in package["targets"]}
    known = set(targets)
    for target in targets.values():
        known |= declared_names(target)

    unsafe_counts = collections.Counter()
    for name, target in sorted(targets.items()):
        folder = pathlib.Path(
            target.get("path") or ("Tests" if target["type"] == "test" else "Sources") + "/" + name
        )
        allowed = declared_names(target) | {name}
        for path in sorted(folder.rglob("*.swift")):
            text = path.read_text()
            code = code_of(text)
            for match in IMPORT.finditer(code):
                module = match.group(1)
                if module in known and module not in allowed:
                    complain(path, line_of(code, match.start(1)),
                             f"target {name} imports {module} without declaring it in Package.swift")
            for match in UNSAFE.finditer(code):
                unsafe_counts[folder.name] += 1
                if folder.parts[0] == "Sources" and folder.name not in UNSAFE_FOLDERS:
                    complain(path, line_of(code, match.start()),
                             "`unsafe` outside " + ", ".join(sorted(UNSAFE_FOLDERS)))

    for path in sorted([*pathlib.Path("Sources").rglob("*"), *pathlib.Path("Tests").rglob("*.swift"),
                        pathlib.Path("Package.swift")]):
        if path.suffix not in (".swift", ".h", ".c") or not path.is_file():
            continue
        text = path.read_text()
        code = code_of(text)
        if path.suffix == ".swift":
            for pattern, text_of_problem in FORBIDDEN:
                for match in pattern.finditer(code):
                    complain(path, line_of(code, match.start()), text_of_problem)
        for match in LATER.finditer(text):
            complain(path, line_of(text, match.start()), f"{match.group()}: put it in the tracker")

    for problem in problems:
        print(problem, file=sys.stderr)
    counts = ", ".join(f"{folder} {count}" for folder, count in sorted(unsafe_counts.items()))
    print(f"lint: {sum(unsafe_counts.values())} uses of `unsafe`" + (f" ({counts})" if counts else ""))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
