#!/bin/bash
# Fuzzes the decoders for FUZZ_SECONDS in all (60): every executable of Tests/Fuzzing gets its share.
#
# Tests/Fuzzing is a package of its own: a libFuzzer target has no main and would not link in a
# normal build.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
seconds=${FUZZ_SECONDS:-60}
package=Tests/Fuzzing
scratch=$PWD/.build/fuzzing
if [ ! -f "$package/Package.swift" ]; then
    echo "fuzz: there is no $package/Package.swift" >&2
    exit 66
fi
swift=$(Tests/Scripts/find-swift.sh)
# Without this the crash reporter hangs on the very crash that is looked for.
export SWIFT_BACKTRACE=enable=no

"$swift" build --package-path "$package" --scratch-path "$scratch" -c release --sanitize fuzzer
mapfile -t targets < <("$swift" package --package-path "$package" --scratch-path "$scratch/manifest" dump-package |
    python3 -c 'import json, sys
for target in json.load(sys.stdin)["targets"]:
    if target["type"] == "executable":
        print(target["name"])')
[ "${#targets[@]}" -gt 0 ] || {
    echo "fuzz: $package has no executable" >&2
    exit 66
}

status=0
for target in "${targets[@]}"; do
    found=$scratch/found/$target
    corpus=$scratch/corpus/$target
    mkdir -p "$found" "$corpus"
    # New inputs go to the first folder, seeds are only read.
    folders=("$corpus")
    for seeds in "$package/Corpus/$target" Tests/Fixtures; do
        [ ! -d "$seeds" ] || folders+=("$seeds")
    done
    log=$scratch/$target.log
    share=$((seconds / ${#targets[@]} + 1))
    if timeout -k 10 $((share + 120)) "$scratch/release/$target" -max_total_time="$share" -timeout=10 \
        -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 -artifact_prefix="$found/" \
        "${folders[@]}" > "$log" 2>&1; then
        echo "fuzz: $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") runs in $share s, nothing found"
    else
        status=1
        echo "fuzz: $target failed; input in $found" >&2
        tail -n 30 "$log" >&2
    fi
done
exit "$status"
