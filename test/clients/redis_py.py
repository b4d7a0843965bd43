"""Writes one key after the other through redis-py, and prints how each write ended.

Usage: redis_py.py MASTER PREFIX HOST:PORT...
"""

import json
import sys
import time

from redis.exceptions import ConnectionError, ReadOnlyError, TimeoutError
from redis.sentinel import Sentinel


def main():
    name, prefix, *addresses = sys.argv[1:]
    sentinel = Sentinel([tuple(a.rsplit(":", 1)) for a in addresses], socket_timeout=0.1)
    master = sentinel.master_for(name, socket_timeout=0.1)
    # A clock that runs evenly, and that can be compared with the test's.
    start = time.time() - time.monotonic()

    n = 0
    while True:
        n += 1
        outcome = {"n": n}
        try:
            master.set(f"{prefix}:{n}", n)
        except (ConnectionError, ReadOnlyError, TimeoutError) as e:
            outcome["error"] = f"{type(e).__name__}: {e}"
        outcome["at"] = start + time.monotonic()
        print(json.dumps(outcome), flush=True)
        time.sleep(0.005)


main()
