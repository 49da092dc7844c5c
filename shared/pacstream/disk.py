"""Whether a disk has room for more images."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path


class Watermark:
    """Reached when less than `percent` of the disk, `size` bytes or `inodes` files are free.

    The answer is remembered for `remember_s`: an instance asks for less than the call costs.
    """

    def __init__(
        self,
        folder: Path,
        *,
        percent: float = 0.0,
        size: int = 0,
        inodes: int = 0,
        remember_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._percent = percent
        self._size = size
        self._inodes = inodes
        self._remember_s = remember_s
        self._clock = clock
        self._known_until = float("-inf")
        self._reached = False

    def is_reached(self) -> bool:
        now = self._clock()
        if now >= self._known_until:
            self._reached = self._look()
            self._known_until = now + self._remember_s
        return self._reached

    def _look(self) -> bool:
        disk = os.statvfs(self._folder)
        free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
        if free < self._size or free < total * self._percent / 100:
            return True
        # a file system without a fixed number of inodes (btrfs, NFS) says 0 of 0
        return bool(disk.f_files) and disk.f_favail < self._inodes
