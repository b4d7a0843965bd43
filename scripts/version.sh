#!/usr/bin/env bash
# The version of this tree: the release, such as 0.4.0, exactly at its tag; 0.4.0-dev+COMMIT on the way to it, with .dirty behind
# where files differ from the commit; 0.4.0-dev where git knows nothing. A clone without tags says the same but for the release.
set -euo pipefail
cd "$(dirname "$0")/.."

release=$(cat cmd/version/RELEASE)
if ! commit=$(git rev-parse --short=12 HEAD 2>/dev/null); then
	echo "$release-dev"
	exit
fi
dirty=
if [ -n "$(git status --porcelain --untracked-files=no)" ]; then
	dirty=.dirty
elif git tag --points-at HEAD | grep -qxF "v$release"; then
	echo "$release"
	exit
fi
echo "$release-dev+$commit$dirty"
