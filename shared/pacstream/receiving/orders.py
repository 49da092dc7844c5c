"""The order files of the incoming zone, read again only when they change."""

from __future__ import annotations

from pacstream.archive import Archive, OrderFile

REMEMBERED = 256

Stamp = tuple[int, int, int]


class Orders:
    """Who asked for a series. Safe to use from many threads."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._known: dict[str, tuple[Stamp, OrderFile]] = {}

    def find(self, series_uid: str) -> OrderFile | None:
        """The series' order file, None if nobody asked. Raises as `Archive.read_order` does."""
        stamp = self._stamp(series_uid)
        if stamp is None:
            return None
        known = self._known.get(series_uid)
        if known is not None and known[0] == stamp:
            return known[1]
        order = self._archive.read_order(series_uid)
        if order is not None:
            if len(self._known) >= REMEMBERED:
                self._known = {}
            self._known[series_uid] = (stamp, order)
        return order

    def _stamp(self, series_uid: str) -> Stamp | None:
        try:
            status = (self._archive.series_folder(series_uid) / "order.json").stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size
