#!/bin/bash
# Everything that can be said about the sources without building them.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
swift=$(Tests/Scripts/find-swift.sh)
status=0

swift_folders=()
for folder in Sources Tests; do
    if [ -n "$(find "$folder" -name '*.swift' -print -quit 2> /dev/null)" ]; then
        swift_folders+=("$folder")
    fi
done
"$swift" format lint --strict -r "${swift_folders[@]}" Package.swift || status=1

mkdir -p .build
# A scratch path of its own: a build under way holds the lock of the usual one.
"$swift" package --scratch-path .build/lint dump-package > .build/package.json \
    2> .build/dump-package.log || {
    cat .build/dump-package.log >&2
    exit 1
}
python3 Tests/Scripts/lint.py .build/package.json || status=1

mapfile -t scripts < <(grep -rlE '^#!/bin/(ba)?sh' .ci Mounts Tests --include='*' 2> /dev/null | sort)
if command -v shellcheck > /dev/null; then
    # SC2317: functions that are handed to `check` or `timed` look unreachable.
    shellcheck -x -P Tests/Scripts -e SC2317 "${scripts[@]}" || status=1
else
    for script in "${scripts[@]}"; do
        bash -n "$script" || status=1
    done
fi
for script in Tests/Scripts/*.py; do
    python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])' "$script" || status=1
done

[ "$status" -eq 0 ] && echo "lint: clean"
exit "$status"
