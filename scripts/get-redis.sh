#!/usr/bin/env bash
# Makes a Redis server's program available. Debian and Ubuntu's redis-tools holds the server under the name of its check
# tool and brings no service; the package redis-server would start one on port 6379.
set -euo pipefail

for program in redis-server valkey-server redis-check-rdb valkey-check-rdb; do
	if command -v "$program" >/dev/null; then
		exit 0
	fi
done

install='apt-get install -y --no-install-recommends redis-tools'

if ! command -v apt-get >/dev/null; then
	echo "No Redis server here. Install Redis 6.2 or later, or Valkey, so that redis-server or valkey-server is in PATH." >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "No Redis server here. Run this, which starts no service:" >&2
	echo "  sudo $install" >&2
	exit 1
fi

echo "getting Redis by: $install" >&2
export DEBIAN_FRONTEND=noninteractive
if ! $install >/dev/null 2>&1; then
	apt-get update >/dev/null
	$install >/dev/null
fi
command -v redis-check-rdb >/dev/null || {
	echo "redis-tools is installed and redis-check-rdb is not in PATH; install Redis by hand" >&2
	exit 1
}
