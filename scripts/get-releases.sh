#!/usr/bin/env bash
# Builds sentineld of released versions into bin/releases/VERSION, from the commits that test/upgrade/releases names:
# those that are given, or the oldest and the newest, which test/upgrade rolls to this build. What was built before is kept.
set -euo pipefail
cd "$(dirname "$0")/.."
list=test/upgrade/releases
go=${GO:-go}

# build VERSION COMMIT: the program of that commit. It is built outside this tree, so that it carries no other commit's name.
build() {
	local version=$1 commit=$2 dir=bin/releases/$1
	if [ -x "$dir/sentineld" ] && [ "$(cat "$dir/commit" 2>/dev/null)" = "$commit" ]; then
		return
	fi
	if ! git cat-file -e "$commit^{commit}" 2>/dev/null; then
		echo "$version cannot be built: this clone lacks its commit $commit. Get it by: git fetch --unshallow, or git fetch origin $commit" >&2
		return 1
	fi
	echo "building sentineld $version" >&2
	mkdir -p "$dir"
	rm -f "$dir/commit"
	room=$(mktemp -d)
	git archive "$commit" | tar -x -C "$room"
	# -s -w: no symbols, which would take half of the time. Until v0.3.0 the version was the daemon's own.
	local module=github.com/raftsentinel/raftsentinel
	(cd "$room" && "$go" build -o "$OLDPWD/$dir/sentineld" -ldflags \
		"-s -w -X $module/cmd/sentineld/daemon.version=${version#v} -X $module/cmd/version.linked=${version#v}" ./cmd/sentineld)
	rm -rf "$room"
	echo "$commit" >"$dir/commit"
}

room=
trap 'rm -rf "$room"' EXIT

for version in ${*:-$(grep -v '^#' "$list" | cut -d' ' -f1 | sed -n '1p;$p')}; do
	commit=$(grep "^$version " "$list" | cut -d' ' -f2) || {
		echo "$list does not name $version" >&2
		exit 1
	}
	build "$version" "$commit"
done
