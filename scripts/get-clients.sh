#!/usr/bin/env bash
# Makes available in bin/clients what the test with real clients runs: redis-cli, python3 with redis-py, node with ioredis
# and node-redis, haproxy and redis_exporter. What the machine has is used. A package that brings a service is not
# installed but unpacked here.
set -euo pipefail
cd "$(dirname "$0")/.."
room=$PWD/bin/clients
mkdir -p "$room"

# program NAME...: where the first of them is that the machine has. /usr/sbin is not in everyone's PATH.
program() {
	local name
	for name; do
		PATH=$PATH:/usr/sbin type -P "$name" && return
	done
	return 1
}

# python_with_redis tells where it is. Debian's redis-py is for Debian's Python alone, and another may come first in PATH.
python_with_redis() {
	local python
	for python in /usr/bin/python3 python3; do
		if "$python" -c 'from redis.sentinel import Sentinel' >/dev/null 2>&1; then
			type -P "$python"
			return
		fi
	done
	return 1
}

node_of_today() {
	local node
	node=$(type -P node) || return 1
	"$node" -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 18 || (a == 18 && b >= 19) ? 0 : 1)' || return 1
	echo "$node"
}

# look finds what is here, and lists in need the packages of what is not.
look() {
	need=()
	cli=$(program redis-cli) || need+=(redis-tools)
	python=$(python_with_redis) || need+=(python3-redis)
	node=$(node_of_today) || need+=(nodejs)
	npm=$(program npm) || need+=(npm)
}

# get COMMAND...: runs an apt-get command, once more with fresh lists where they have grown old.
get() {
	echo "getting clients by: $*" >&2
	if ! "$@" >"$room/log" 2>&1 && ! { apt-get update && "$@"; } >"$room/log" 2>&1; then
		cat "$room/log" >&2
		return 1
	fi
}

look
if [ ${#need[@]} -gt 0 ]; then
	install=(apt-get install -y --no-install-recommends "${need[@]}")
	if ! type -P apt-get >/dev/null; then
		echo "Real clients are missing here. Install what Debian calls ${need[*]} (Node.js 18.19 or later)." >&2
		exit 1
	fi
	if [ "$(id -u)" -ne 0 ]; then
		echo "Real clients are missing here. Run this, which starts no service:" >&2
		echo "  sudo ${install[*]}" >&2
		exit 1
	fi
	export DEBIAN_FRONTEND=noninteractive
	get "${install[@]}"
	look
	if [ ${#need[@]} -gt 0 ]; then
		echo "These are installed, and what they bring is not in PATH or too old: ${need[*]} (Node.js 18.19 or later)." >&2
		exit 1
	fi
fi

# unpack PACKAGE: puts it, and the libraries that it needs and the machine lacks, into a folder, and names that.
unpack() {
	local dir=$room/unpacked/$1 deb
	if [ ! -e "$dir/complete" ]; then
		if ! type -P apt-get >/dev/null; then
			echo "$1 is missing here; install what Debian calls so." >&2
			return 1
		fi
		rm -rf "$dir"
		mkdir -p "$dir/archives/partial"
		get apt-get -o Debug::NoLocking=1 -o "Dir::Cache::archives=$dir/archives" install --download-only -y \
			--no-install-recommends "$1" || return
		for deb in "$dir"/archives/*.deb; do
			dpkg-deb -x "$deb" "$dir" || return
		done
		rm -rf "$dir/archives"
		touch "$dir/complete"
	fi
	echo "$dir"
}

# provide NAME COMMAND...: bin/clients/NAME runs the command. No link: some programs look at the name they are called by.
provide() {
	printf '#!/bin/sh\nexec %s "$@"\n' "${*:2}" >"$room/$1"
	chmod +x "$room/$1"
}

provide redis-cli "$cli"
provide python3 "$python"
provide node "$node"
if haproxy=$(program haproxy); then
	provide haproxy "$haproxy"
else
	dir=$(unpack haproxy)
	libraries=$(find "$dir" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
	provide haproxy env "LD_LIBRARY_PATH='$libraries'" "'$dir/usr/sbin/haproxy'"
fi
if exporter=$(program redis_exporter prometheus-redis-exporter); then
	provide redis_exporter "$exporter"
else
	dir=$(unpack prometheus-redis-exporter)
	provide redis_exporter "'$dir/usr/bin/prometheus-redis-exporter'"
fi

# npm's packages, as the lock file has them.
if ! cmp -s test/clients/node/package-lock.json "$room/complete.json"; then
	echo "getting ioredis and node-redis by: npm ci" >&2
	cp test/clients/node/package.json test/clients/node/package-lock.json "$room"
	if ! (cd "$room" && "$npm" ci --ignore-scripts --no-audit --no-fund) >"$room/log" 2>&1; then
		cat "$room/log" >&2
		exit 1
	fi
	cp test/clients/node/package-lock.json "$room/complete.json"
fi
