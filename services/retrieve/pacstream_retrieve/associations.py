"""Associations with a PACS that stay open from one C-MOVE to the next."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from pynetdicom.association import Association

from pacstream.dimse import associate
from pacstream.messages import PacsNode

IDLE_S = 20.0


@dataclass
class _Line:
    """What is open to one PACS."""

    free: threading.BoundedSemaphore
    idle: list[tuple[float, Association]] = field(default_factory=list)


class Associations:
    """At most `limit` associations at once with each PACS, all proposing `contexts`."""

    def __init__(
        self,
        contexts: Sequence[str],
        *,
        limit: int,
        timeout_s: float,
        idle_s: float = IDLE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._contexts = tuple(contexts)
        self._limit = limit
        self._timeout_s = timeout_s
        self._idle_s = idle_s
        self._clock = clock
        self._lock = threading.Lock()
        self._lines: dict[PacsNode, _Line] = {}

    @contextmanager
    def association(self, node: PacsNode) -> Iterator[Association]:
        """An established association, for this block only; waits while all are in use.

        Afterwards it is kept for the next block if it is still established, and aborted if the
        block raised. Raises as `pacstream.dimse.associate` does.
        """
        self._release_idle()
        line = self._line(node)
        with line.free:
            association = self._kept(line) or self._opened(node)
            try:
                yield association
            except BaseException:
                association.abort()
                raise
            if association.is_established:
                with self._lock:
                    line.idle.append((self._clock(), association))

    def close_all(self) -> None:
        """Release the associations that are not in use."""
        self._release(lambda since: True)

    def _line(self, node: PacsNode) -> _Line:
        with self._lock:
            if node not in self._lines:
                self._lines[node] = _Line(threading.BoundedSemaphore(self._limit))
            return self._lines[node]

    def _kept(self, line: _Line) -> Association | None:
        with self._lock:
            while line.idle:
                _, association = line.idle.pop()
                if association.is_established:
                    return association
        return None

    def _opened(self, node: PacsNode) -> Association:
        return associate(node, self._contexts, self._timeout_s)

    def _release_idle(self) -> None:
        oldest = self._clock() - self._idle_s
        self._release(lambda since: since < oldest)

    def _release(self, due: Callable[[float], bool]) -> None:
        released: list[Association] = []
        with self._lock:
            for line in self._lines.values():
                released += [association for since, association in line.idle if due(since)]
                line.idle = [entry for entry in line.idle if not due(entry[0])]
        for association in released:
            if association.is_established:
                association.release()
