#!/usr/bin/env bash
# Checks the units of deploy/systemd with systemd-analyze, where that is installed: no unknown key, no bad value, and none
# more exposed than 1.5. The programs they start need not be installed.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v systemd-analyze >/dev/null; then
	echo "units not checked: there is no systemd-analyze (apt-get install systemd)"
	exit 0
fi
version=$(systemd-analyze --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# put copies a file to where it is checked: verify wants every program to exist.
put() {
	sed -E 's#/usr/bin/sentinel(d|ctl)\b#/bin/true#g' "$1" >"$dir/${1#deploy/systemd/}"
}

check() {
	systemd-analyze verify --man=no --recursive-errors=yes "$1"
	case $1 in
	*.service)
		systemd-analyze security --offline=true --threshold=15 --no-pager "$1" >"$dir/exposure" || {
			grep -v '^✓' "$dir/exposure" >&2
			exit 1
		}
		tail -n 1 "$dir/exposure"
		;;
	esac
}

for unit in deploy/systemd/*.service deploy/systemd/*.timer; do
	put "$unit"
done
for unit in "$dir"/*.service "$dir"/*.timer; do
	check "$unit"
done
if [ "$version" -ge 253 ]; then
	mkdir "$dir/sentineld.service.d"
	put deploy/systemd/sentineld.service.d/notify-reload.conf
	check "$dir/sentineld.service"
else
	echo "the drop-in notify-reload.conf not checked: it is for systemd 253 and later, this is $version"
fi
