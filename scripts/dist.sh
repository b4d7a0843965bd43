#!/usr/bin/env bash
# Builds what is handed out, into dist/: "packages" are .deb and .rpm, "all" is those, tarballs, SBOMs and checksums. VERSION,
# ARCHES and FORMATS come from the environment, as make sets them. The same commit and version give the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0 LC_ALL=C TZ=UTC
umask 022

go=${GO:-go}
nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
cyclonedx=github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
ldflags="-s -w -X github.com/raftsentinel/raftsentinel/cmd/version.linked=$VERSION"

# The commit's time is the time of every file. A tree without git has that of its change log.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}
export SOURCE_DATE_EPOCH

# build DIR PROGRAM...: static programs, the same wherever the tree lies.
build() {
	local dir=$1 program
	shift
	for program; do
		"$go" build -trimpath -buildvcs=false -ldflags "$ldflags" -o "$dir/$program" "./cmd/$program"
	done
}

# stage ARCH: everything that a host gets, as it lies in the tarball. Tells where.
stage() {
	local arch=$1 tree=dist/stage/sentineld-$VERSION-linux-$1 ctl=dist/stage/sentinelctl shell page
	rm -rf "$tree"
	mkdir -p "$tree"/{completions,docs,man,systemd}
	GOOS=linux GOARCH=$arch build "$tree" sentineld sentinelctl
	build dist/stage sentinelctl
	for shell in bash zsh fish; do
		"$ctl" completion "$shell" >"$tree/completions/sentinelctl.$shell"
	done
	"$ctl" docs sentineld.conf >"$tree/sentineld.conf"
	cp deploy/packages/sentineld.8 "$tree/man"
	for page in sentineld.conf.5 sentinelctl.1; do
		"$ctl" docs "$page" >"$tree/man/$page"
	done
	gzip -9n "$tree"/man/*
	cp -R deploy/systemd/. "$tree/systemd"
	cp docs/*.md "$tree/docs"
	cp README.md CHANGELOG.md LICENSE "$tree"
	find "$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	echo "$tree"
}

packages() {
	local arch format tree
	for arch in $ARCHES; do
		tree=$(stage "$arch")
		for format in $FORMATS; do
			TREE=$tree ARCH=$arch "$go" run "$nfpm" package -f deploy/packages/nfpm.yaml -p "$format" -t dist/
		done
	done
}

case "${1-}" in
packages) packages ;;
*)
	echo "usage: $0 packages" >&2
	exit 2
	;;
esac
