"""`python -m demo.seed URL`: the demo's images into the Orthanc at URL, which may be starting.

An Orthanc that has as many instances is left as it is, and none is doubled: it knows their UIDs."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import requests

from demo import data
from demo.pacs import PacsFailedError, post_instances

START_LIMIT_S = 120.0
INSTANCES = 640
"""In the demo's images."""


def instances_at(http_url: str, limit_s: float = START_LIMIT_S) -> int:
    """How many the Orthanc has, once it answers. Raises PacsFailedError after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while True:
        try:
            answer = requests.get(f"{http_url}/statistics", timeout=5)
            if answer.ok:
                return int(answer.json()["CountInstances"])
        except requests.RequestException:
            pass  # it is starting
        if time.monotonic() > deadline:
            raise PacsFailedError(f"no Orthanc answers at {http_url} after {limit_s:.0f} s")
        time.sleep(0.5)


def seed(http_url: str, limit_s: float = START_LIMIT_S) -> int:
    """How many instances were sent."""
    if instances_at(http_url, limit_s) >= INSTANCES:
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return post_instances(http_url, data.build(Path(folder)).paths)


def main() -> int:
    """0 when all images are there, 1 if the Orthanc does not take them, 2 without a URL."""
    if len(sys.argv) != 2:
        print("usage: python -m demo.seed URL", file=sys.stderr)
        return 2
    try:
        print(f"{seed(sys.argv[1].rstrip('/'))} instances loaded")
    except PacsFailedError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
