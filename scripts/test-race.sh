#!/usr/bin/env bash
# The tests of the given packages, with the race detector. The detector has checks of its own, and one of them (kEpochLast, in ThreadSanitizer's
# tsan_rtl.cpp) has ended the run of a package twice in some sixty whole runs, each time one that lives in testing/synctest's bubbles: no test
# had failed and no race was told, so nothing is known of that package. Where that is all that went wrong, those packages are run again, once,
# and it is said; whatever else fails, fails.
set -euo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT

run() { CGO_ENABLED=1 "${GO:-go}" test -race -count 1 -timeout 15m "$@" 2>&1 | tee "$log"; }

run "$@" && exit 0
mapfile -t failed < <(awk -F'\t' '$1 == "FAIL" && NF > 1 { print $2 }' "$log")
ended=$(grep -c '^ThreadSanitizer: CHECK failed: .*kEpochLast' "$log" || true)
if [ "$ended" -eq 0 ] || [ "$ended" -ne "${#failed[@]}" ] || grep -qE '^ *--- FAIL|^panic:|^fatal error:|DATA RACE|\[(build|setup) failed\]' "$log"; then
	exit 1
fi
echo "NOT JUDGED: the race detector ended its own run of ${failed[*]}; once more:"
run "${failed[@]}"
