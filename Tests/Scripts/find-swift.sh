#!/bin/bash
# Prints the path of a Swift compiler driver that is new enough, or says on stderr what to do.
#
# PATH alone is not to be trusted: Debian's python3-swiftclient installs another program named
# `swift` in /usr/bin.
set -euo pipefail

readonly NEEDED_MAJOR=6 NEEDED_MINOR=2
found=''

# 0: usable; 1: not Swift, or too old. What it is goes to `found`, for the error message.
is_usable() {
    local text version
    text=$("$1" --version 2>&1 < /dev/null) || {
        found="$1 does not start: $(head -n 1 <<< "$text")"
        return 1
    }
    version=$(sed -n 's/.*Swift version \([0-9][0-9]*\.[0-9][0-9]*\).*/\1/p' <<< "$text" | head -n 1)
    if [ -z "$version" ]; then
        found="$1 is not the Swift compiler"
        return 1
    fi
    if [ "${version%%.*}" -gt "$NEEDED_MAJOR" ] ||
        { [ "${version%%.*}" -eq "$NEEDED_MAJOR" ] && [ "${version#*.}" -ge "$NEEDED_MINOR" ]; }; then
        return 0
    fi
    found="$1 is Swift $version"
    return 1
}

candidates() {
    [ -z "${SWIFT:-}" ] || echo "$SWIFT"
    type -ap swift 2> /dev/null || true
    printf '%s\n' /opt/swift/usr/bin/swift /opt/swift-*/usr/bin/swift /usr/libexec/swift/bin/swift \
        "${HOME:-/root}/.local/share/swiftly/bin/swift"
}

while IFS= read -r candidate; do
    [ -x "$candidate" ] || continue
    if is_usable "$candidate"; then
        echo "$candidate"
        exit 0
    fi
done < <(candidates)

echo "no Swift $NEEDED_MAJOR.$NEEDED_MINOR or newer: ${found:-none is installed}" >&2
echo "  remedy: unpack the toolchain from https://www.swift.org/install/linux/ to /opt/swift," >&2
echo "          or name its driver in SWIFT=/path/to/usr/bin/swift" >&2
exit 1
