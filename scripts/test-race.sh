#!/usr/bin/env bash
# The tests of the given packages, with the race detector.
#
# All timers of a testing/synctest bubble share one context of the detector (bubble.timers.raceCtx, runtime/time.go of Go 1.26), also where two
# threads run two of them at once; a timer outside a bubble has its thread's. Its runtime, ThreadSanitizer, then sometimes ends the process: by
# a check of its own (kEpochLast, tsan_rtl.cpp), or by a segmentation violation on goroutine 0 as it puts a stack away. No test has failed then and
# no race was told, so nothing is known of that package. Where that is all that went wrong, such packages are run again, twice at most, and it
# is said; whatever else fails, fails.
set -euo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT

own='^ThreadSanitizer: CHECK failed: .*kEpochLast|^goroutine 0 .*synctest bubble'
other='^ *--- FAIL|^panic:|^fatal error:|DATA RACE|\[(build|setup) failed\]'

packages=("$@")
for again in 1 2 0; do
	if CGO_ENABLED=1 "${GO:-go}" test -race -count 1 -timeout 15m "${packages[@]}" 2>&1 | tee "$log"; then
		exit 0
	fi
	mapfile -t packages < <(awk -F'\t' '$1 == "FAIL" && NF > 1 { print $2 }' "$log")
	ended=$(grep -cE "$own" "$log" || true)
	if [ "$again" -eq 0 ] || [ "$ended" -eq 0 ] || [ "$ended" -ne "${#packages[@]}" ] || grep -qE "$other" "$log"; then
		exit 1
	fi
	echo "NOT JUDGED: the race detector ended its own run of ${packages[*]}; once more:"
done
