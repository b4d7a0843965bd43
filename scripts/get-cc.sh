#!/usr/bin/env bash
# Makes a C compiler available: Go's race detector is linked through cgo.
set -euo pipefail

works() {
	local dir
	dir=$(mktemp -d)
	# A compiler without the C library's headers is no use.
	printf '#include <stdlib.h>\nint main(void) { return 0; }\n' >"$dir/x.c"
	"${CC:-gcc}" -o "$dir/x" "$dir/x.c" >/dev/null 2>&1
	local status=$?
	rm -rf "$dir"
	return $status
}

if works; then
	exit 0
fi

install='apt-get install -y --no-install-recommends gcc libc6-dev'

if ! command -v apt-get >/dev/null; then
	echo "No working C compiler here, and the race detector needs one. Install gcc and the C library's headers." >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "No working C compiler here, and the race detector needs one. Run:" >&2
	echo "  sudo $install" >&2
	exit 1
fi

echo "getting a C compiler by: $install" >&2
export DEBIAN_FRONTEND=noninteractive
if ! $install >/dev/null 2>&1; then
	apt-get update >/dev/null
	$install >/dev/null
fi
works || {
	echo "gcc is installed and does not compile a program; see gcc's own message" >&2
	exit 1
}
