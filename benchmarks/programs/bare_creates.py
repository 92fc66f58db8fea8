"""Has bare bwrap run ``true`` in sandboxes, several at once: ``bare_creates.py BWRAP``.

Reads how many at once, one number a line, and answers with the seconds until each had ended, as JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

sys.path.insert(0, os.path.dirname(__file__))
Floor: Any = importlib.import_module("floor").Floor


def create(floor: Any, count: int) -> list[float]:
    """Start so many at once, and return the seconds until each had ended."""
    began = time.perf_counter()
    running = {floor.spawn(["/bin/true"], None) for _ in range(count)}
    seconds = []
    while running:
        running.discard(os.wait()[0])
        seconds.append(time.perf_counter() - began)
    return seconds


def main() -> None:
    floor = Floor(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(create(floor, int(line))), flush=True)
    floor.close()


if __name__ == "__main__":
    main()
