"""Associations with a PACS that stay open from one request to the next."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from pacstream.dimse import associate
from pacstream.messages import PacsNode

IDLE_S = 20.0

Peer = tuple[str, int, str, str]
"""Address, port, called and calling AE title."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """What an association is opened for; the arguments of `pacstream.dimse.associate`.

    Two proposals are the same only if they are one object.
    """

    contexts: Sequence[str | PresentationContext]
    stored_here: Sequence[str] = ()


@dataclass
class _Idle:
    since: float
    proposal: Proposal
    association: Association


@dataclass
class _Line:
    """What is open to one PACS."""

    free: threading.BoundedSemaphore
    idle: list[_Idle] = field(default_factory=list)


class Associations:
    """At most `limit` at once with each PACS, whatever they are for.

    `timeout_s` and `connection_timeout_s` as for `pacstream.dimse.associate`.
    """

    def __init__(
        self,
        *,
        limit: int,
        timeout_s: float,
        connection_timeout_s: float | None = None,
        idle_s: float = IDLE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = limit
        self._timeout_s = timeout_s
        self._connection_timeout_s = connection_timeout_s
        self._idle_s = idle_s
        self._clock = clock
        self._lock = threading.Lock()
        self._lines: dict[Peer, _Line] = {}

    @contextmanager
    def turn(self, node: PacsNode) -> Iterator[None]:
        """Count as one of the `limit`, for this block, without any association."""
        with self._line(node).free:
            yield

    @contextmanager
    def association(self, node: PacsNode, proposal: Proposal) -> Iterator[Association]:
        """An established association, for this block only; waits while all are in use.

        Afterwards it is kept for the next block if it is still established, and aborted if the
        block raised. Raises as `pacstream.dimse.associate` does.
        """
        self._release_idle()
        line = self._line(node)
        with line.free:
            association = self._kept(line, proposal) or self._opened(node, proposal)
            try:
                yield association
            except BaseException:
                association.abort()
                raise
            if association.is_established:
                with self._lock:
                    line.idle.append(_Idle(self._clock(), proposal, association))

    def close_all(self) -> None:
        """Release the associations that are not in use."""
        with self._lock:
            lines = list(self._lines.values())
        for line in lines:
            self._release(line, lambda idle: True)

    def _line(self, node: PacsNode) -> _Line:
        with self._lock:
            peer = (node.address, node.port, node.called_aet, node.calling_aet)
            if peer not in self._lines:
                self._lines[peer] = _Line(threading.BoundedSemaphore(self._limit))
            return self._lines[peer]

    def _kept(self, line: _Line, proposal: Proposal) -> Association | None:
        with self._lock:
            for idle in [one for one in line.idle if one.proposal is proposal]:
                line.idle.remove(idle)
                if idle.association.is_established:
                    return idle.association
        # those of other proposals would make it one more than the PACS is to bear
        self._release(line, lambda idle: True)
        return None

    def _opened(self, node: PacsNode, proposal: Proposal) -> Association:
        return associate(
            node,
            proposal.contexts,
            self._timeout_s,
            connection_timeout_s=self._connection_timeout_s,
            stored_here=proposal.stored_here,
        )

    def _release_idle(self) -> None:
        oldest = self._clock() - self._idle_s
        with self._lock:
            lines = list(self._lines.values())
        for line in lines:
            self._release(line, lambda idle: idle.since < oldest)

    def _release(self, line: _Line, due: Callable[[_Idle], bool]) -> None:
        with self._lock:
            released = [idle.association for idle in line.idle if due(idle)]
            line.idle = [idle for idle in line.idle if not due(idle)]
        for association in released:
            if association.is_established:
                association.release()
