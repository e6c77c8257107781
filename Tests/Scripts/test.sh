#!/bin/bash
# Everything that can be tested on this machine. Closes with `N passed, N failed`.
#
# A suite that fails does not stop the others. Logs stay in .build/test-logs.
#   ONLY=swift|acceptance|fuzz  runs that part alone, on what is built already
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
logs=$PWD/.build/test-logs
rm -rf "$logs"
mkdir -p "$logs"
only=${ONLY:-}
# The longest acceptance script boots a guest four times under software emulation.
readonly SUITE_SECONDS=1500
passed=0 failed=0 skipped=0
failures=()
export SWIFT_BACKTRACE=enable=no
# The acceptance scripts draw the same each time, so that a failure is the change's; another SEED draws anew.
export SEED=${SEED:-23359}
# A third of what the script does alone.
export CHAOS_SECONDS=${CHAOS_SECONDS:-20}
export CCNFS_TEST_IMAGES=${CCNFS_TEST_IMAGES:-/var/tmp/ccnfs-images}

wants() { [ -z "$only" ] || [ "$only" = "$1" ]; }

# step NAME COMMAND...: one check of its own, its output in a log.
step() {
    local name=$1 log=$logs/$1.log started=$SECONDS
    shift
    printf '== %s\n' "$name"
    if "$@" > "$log" 2>&1; then
        passed=$((passed + 1))
        printf '   passed in %d s\n' $((SECONDS - started))
        return 0
    fi
    failed=$((failed + 1))
    failures+=("$name ($log)")
    printf '   FAILED in %d s\n' $((SECONDS - started))
    grep -E '(^|[^a-z])(error|warning):' "$log" | sort -u | head -n 20 | sed 's/^/   | /' || true
    tail -n 20 "$log" | sed 's/^/   | /'
    return 1
}

swift_tests() {
    local log=$logs/swift-test.log started=$SECONDS status=0 counts suite_passed suite_failed suite_skipped
    echo "== swift test"
    # A test that never ends is a failure like another.
    timeout -k 60 "$SUITE_SECONDS" "$swift" test --no-parallel > "$log" 2>&1 || status=$?
    counts=$(python3 Tests/Scripts/count-tests.py "$log" "$status")
    read -r suite_passed suite_failed suite_skipped <<< "$(head -n 1 <<< "$counts")"
    passed=$((passed + suite_passed))
    failed=$((failed + suite_failed))
    skipped=$((skipped + suite_skipped))
    printf '   %d passed, %d failed, %d skipped in %d s\n' \
        "$suite_passed" "$suite_failed" "$suite_skipped" $((SECONDS - started))
    if [ "$suite_failed" -gt 0 ]; then
        failures+=("swift test ($log)")
        tail -n +2 <<< "$counts" | sed 's/^/   | /'
    fi
}

# It sleeps most of its time, and may do so while others run.
sleeps() { [ "$(basename "$1")" = 56-central.sh ]; }

run_acceptance() { timeout -k 60 "$SUITE_SECONDS" bash "$1" > "$logs/$(basename "$1" .sh).log" 2>&1; }

# acceptance SCRIPT [PID]: runs it, or waits for its end
acceptance() {
    local script=$1 name log started=$SECONDS status=0 suite_passed suite_failed suite_skipped
    name=$(basename "$script" .sh)
    log=$logs/$name.log
    printf '== %s\n' "$name"
    if [ -n "${2:-}" ]; then
        wait "$2" || status=$?
    else
        run_acceptance "$script" || status=$?
    fi
    suite_skipped=$(grep -cE '^ok .* # SKIP' "$log" || true)
    suite_passed=$(($(grep -c '^ok ' "$log" || true) - suite_skipped))
    suite_failed=$(grep -c '^not ok ' "$log" || true)
    # It died before it could say so.
    if [ "$status" -ne 0 ] && [ "$suite_failed" -eq 0 ]; then
        suite_failed=1
        echo "not ok - $name ended with status $status" >> "$log"
    fi
    passed=$((passed + suite_passed))
    failed=$((failed + suite_failed))
    skipped=$((skipped + suite_skipped))
    printf '   %d passed, %d failed, %d skipped in %d s\n' \
        "$suite_passed" "$suite_failed" "$suite_skipped" $((SECONDS - started))
    grep -E '^ok .* # SKIP' "$log" | sed 's/^/   | /' || true
    if [ "$suite_failed" -gt 0 ]; then
        failures+=("$name ($log)")
        # Each failure with what its command said.
        awk '/^not ok / { show = 1 } /^ok / { show = 0 } show' "$log" | head -n 60 | sed 's/^/   | /'
    fi
}

close() {
    local failure
    if [ "${#failures[@]}" -gt 0 ]; then
        echo "failed:"
        for failure in "${failures[@]}"; do
            echo "  $failure"
        done
    fi
    if [ "$skipped" -gt 0 ]; then
        echo "$passed passed, $failed failed, $skipped skipped"
    else
        echo "$passed passed, $failed failed"
    fi
    [ "$failed" -eq 0 ] || exit 1
    exit 0
}

if [ -z "$only" ]; then
    # Nothing below can run without it.
    step setup Tests/Scripts/setup.sh all || close
fi
swift=$(Tests/Scripts/find-swift.sh) || {
    failed=$((failed + 1))
    close
}

if [ -z "$only" ]; then
    step lint Tests/Scripts/lint.sh || true
fi
if wants swift; then
    if step build "$swift" build --build-tests; then
        swift_tests
    fi
fi
if wants acceptance; then
    if [ -n "$only" ] ||
        step release "$swift" build -c release -Xswiftc -cross-module-optimization; then
        CCNFS=${CCNFS:-$PWD/.build/release/ccnfs}
        export CCNFS
        declare -A sleepers=()
        # They clean up after themselves, also when this script is ended.
        trap 'jobs -p | xargs -r kill 2> /dev/null || true' EXIT
        for script in Tests/Acceptance/*.sh; do
            sleeps "$script" || continue
            run_acceptance "$script" &
            sleepers[$script]=$!
        done
        for script in Tests/Acceptance/*.sh; do
            [ -n "${sleepers[$script]:-}" ] || acceptance "$script"
        done
        for script in "${!sleepers[@]}"; do acceptance "$script" "${sleepers[$script]}"; done
    fi
fi
if wants fuzz && [ -f Tests/Fuzzing/Package.swift ]; then
    step fuzz Tests/Scripts/fuzz.sh || true
    sed -n 's/^fuzz: /   /p' "$logs/fuzz.log"
fi
close
