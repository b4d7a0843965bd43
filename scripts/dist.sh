#!/usr/bin/env bash
# Builds what is handed out, into the directory DIST: "packages" are .deb and .rpm; "all" is those, tarballs, SBOMs and checksums,
# and what earlier runs made there goes before. DIST, VERSION, TAGS, ARCHES and FORMATS come from the environment, as make sets them. The same
# commit, version and Go give the same bytes.
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
		"$go" build -trimpath -buildvcs=false -tags "${TAGS:-grpcnotrace}" -ldflags "$ldflags" -o "$dir/$program" "./cmd/$program"
	done
}

# tree ARCH: where everything lies that a host gets, as in the tarball.
tree() { echo "$DIST/stage/sentineld-$VERSION-linux-$1"; }

# stage ARCH: makes that tree.
stage() {
	local arch=$1 tree ctl=$DIST/stage/sentinelctl shell page
	tree=$(tree "$arch")
	rm -rf "$tree"
	mkdir -p "$tree"/{completions,docs,man,systemd}
	GOOS=linux GOARCH=$arch build "$tree" sentineld sentinelctl
	build "$DIST/stage" sentinelctl
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
}

packages() {
	local arch format
	for arch in $ARCHES; do
		for format in $FORMATS; do
			TREE=$(tree "$arch") ARCH=$arch "$go" run "$nfpm" package -f deploy/packages/nfpm.yaml -p "$format" -t "$DIST/"
		done
	done
}

tarballs() {
	local arch name
	for arch in $ARCHES; do
		name=$(basename "$(tree "$arch")")
		tar -C "$DIST/stage" --sort=name --owner=0 --group=0 --numeric-owner -c "$name" | gzip -9n >"$DIST/$name.tar.gz"
	done
}

# sboms tells what is linked into the programs, which is the same for each architecture, in CycloneDX's JSON.
sboms() {
	local program arches=($ARCHES)
	for program in sentineld sentinelctl; do
		"$go" run -trimpath "$cyclonedx" bin -json -std -noserial -notimestamp -version "v$VERSION" -output "$DIST/$program-$VERSION.cdx.json" \
			"$(tree "${arches[0]}")/$program"
	done
}

case "${1-}" in
packages)
	for arch in $ARCHES; do stage "$arch"; done
	packages
	;;
all)
	rm -rf "$DIST"/{stage,SHA256SUMS,sentineld[-_]*,sentinelctl-*}
	for arch in $ARCHES; do stage "$arch"; done
	packages
	tarballs
	sboms
	rm -rf "$DIST/stage"
	(cd "$DIST" && sha256sum sentineld[-_]* sentinelctl-* >SHA256SUMS)
	;;
*)
	echo "usage: $0 packages|all" >&2
	exit 2
	;;
esac
