#!/usr/bin/env bash
# Makes the program rpm available, which the packages' test asks for what is in a .rpm.
set -euo pipefail

command -v rpm >/dev/null && exit 0

install='apt-get install -y --no-install-recommends rpm'

if ! command -v apt-get >/dev/null; then
	echo "No rpm here. Install it, so that rpm is in PATH." >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "No rpm here. Run this:" >&2
	echo "  sudo $install" >&2
	exit 1
fi

echo "getting rpm by: $install" >&2
export DEBIAN_FRONTEND=noninteractive
if ! $install >/dev/null 2>&1; then
	apt-get update >/dev/null
	$install >/dev/null
fi
command -v rpm >/dev/null || {
	echo "rpm is installed, and there is no rpm in PATH." >&2
	exit 1
}
