"""Whether the trusted zone's disk has room for more images."""

from __future__ import annotations

import shutil
from pathlib import Path


class Watermark:
    """Reached when less than `percent` of the disk, or less than `size` bytes, is free."""

    def __init__(self, folder: Path, *, percent: float, size: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._percent = percent
        self._size = size

    def is_reached(self) -> bool:
        usage = shutil.disk_usage(self._folder)
        return usage.free < self._size or usage.free < usage.total * self._percent / 100
