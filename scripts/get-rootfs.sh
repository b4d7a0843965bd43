#!/usr/bin/env bash
# Makes in bin/rootfs a Debian with systemd and a Redis server, without services of their own: the hosts of test/systemd boot
# it. Gets the programs that boot it too. Needs root. Another release of Debian: scripts/get-rootfs.sh trixie.
set -euo pipefail
cd "$(dirname "$0")/.."
release=${1:-bookworm}
root=$PWD/bin/rootfs/$release

# Redis's server hides in redis-tools, under the name of its check tool.
inside=systemd,systemd-sysv,dbus,init-system-helpers,iproute2,procps,redis-tools

if [ "$(id -u)" -ne 0 ]; then
	echo "A root file system is made, and its hosts are booted, by root alone." >&2
	exit 1
fi

# get COMMAND...: runs an apt-get command, once more with fresh lists where they have grown old.
get() {
	echo "getting what boots hosts by: $*" >&2
	if ! "$@" >"$log" 2>&1 && ! { apt-get update && "$@"; } >"$log" 2>&1; then
		cat "$log" >&2
		return 1
	fi
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive PATH=$PATH:/usr/sbin

need=()
for program in debootstrap systemd-nspawn:systemd-container nft:nftables ip:iproute2; do
	type -P "${program%:*}" >/dev/null || need+=("${program#*:}")
done
if [ ${#need[@]} -gt 0 ]; then
	if ! type -P apt-get >/dev/null; then
		echo "Missing here is what Debian calls ${need[*]}; install it." >&2
		exit 1
	fi
	get apt-get install -y --no-install-recommends "${need[@]}"
fi

# What is inside is part of the name of the mark, so that another list makes another root.
mark=$root/var/lib/complete-$(echo "$inside" | md5sum | cut -c1-8)
if [ -e "$mark" ]; then
	exit 0
fi

mirror=$(. /etc/os-release && [ "$ID" = debian ] &&
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Release: $VERSION_CODENAME" 'Component: main' | head -n 1) || true
mirror=${ROOTFS_MIRROR:-${mirror:-http://deb.debian.org/debian}}
echo "making bin/rootfs/$release from $mirror" >&2
rm -rf "$root"
mkdir -p "${root%/*}"
if ! debootstrap --variant=minbase --include="$inside" "$release" "$root" "$mirror" >"$log" 2>&1; then
	tail -n 20 "$log" >&2
	exit 1
fi
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
ln -s redis-check-rdb "$root/usr/bin/redis-server"
touch "$mark"
