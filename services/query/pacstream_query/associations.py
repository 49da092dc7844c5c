"""Associations for C-FIND: kept for a moment, so that the rows of a batch share one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pynetdicom.association import Association

from pacstream.dimse import associate
from pacstream.errors import PacsRejectedError, PacsUnreachableError, RetryLaterError
from pacstream.messages import PacsNode
from pacstream_query.identifiers import Answer, FindRequest, read_answer

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
SUCCESS, PENDING, LIMIT_REACHED = 0x0000, (0xFF00, 0xFF01), 0xB001


class FindRefusedError(PacsRejectedError):
    """The PACS answered a C-FIND with a failure status (PS3.4 table C.4-1)."""

    def __init__(self, status: int) -> None:
        super().__init__("the PACS refuses a C-FIND", code=f"find_refused_{status:04X}")


@dataclass
class Answers:
    """All answers to one C-FIND."""

    items: list[Answer] = field(default_factory=list)
    unusable: int = 0
    """Answers of another level, without their unique key, or that can't be decoded."""
    limited: bool = False
    """The PACS says that there are more (0xB001)."""

    def add(self, answer: Answer | None) -> None:
        if answer is None:
            self.unusable += 1
        else:
            self.items.append(answer)


class Session:
    """C-FINDs to one PACS, one after the other, on one association."""

    def __init__(self, open_one: Callable[[], Association], kept: Association | None) -> None:
        self._open = open_one
        self._association = kept
        self._trusted = kept is None
        self._asking = False

    def find(self, request: FindRequest) -> Answers:
        """All answers to `request`.

        Raises FindRefusedError, RetryLaterError (code pacs_out_of_resources for 0xA7xx), or
        PacsUnreachableError if the association breaks or stays silent. A kept association may
        have been closed by the PACS meanwhile: its first request is sent again on a new one.
        """
        trusted, self._trusted = self._trusted, True
        try:
            return self._ask(request)
        except PacsUnreachableError:
            if trusted:
                raise
        self._association = None
        return self._ask(request)

    def _ask(self, request: FindRequest) -> Answers:
        if self._association is None or not self._association.is_established:
            self._association = self._open()
        self._asking = True
        answers, last = Answers(), None
        try:
            # send_c_find is a generator: it is exhausted before anything else is asked
            for status, identifier in self._association.send_c_find(
                request.identifier(), STUDY_ROOT_FIND
            ):
                last = status.get("Status")
                if last in PENDING:
                    answers.add(read_answer(identifier, request))
        except RuntimeError:
            raise PacsUnreachableError("the association ended before a C-FIND") from None
        answers.limited = last == LIMIT_REACHED
        self._asking = last is None or answers.limited
        if answers.limited:
            # some PACSs send Success after this warning, which would answer the next request
            self.end()
        _check(last)
        return answers

    def end(self) -> Association | None:
        """The association if it can serve another session; one with a request open is aborted."""
        association, self._association = self._association, None
        if association is None or not association.is_established:
            return None
        if self._asking:
            association.abort()
            return None
        return association


def _check(code: int | None) -> None:
    if code is None:
        raise PacsUnreachableError("no answer to a C-FIND: aborted or timed out")
    if code >> 8 == 0xA7:
        raise RetryLaterError("the PACS is out of resources", code="pacs_out_of_resources")
    if code not in (SUCCESS, LIMIT_REACHED):
        raise FindRefusedError(code)


class Associations:
    """Lends one association per PACS and session; releases it after `idle_s` without use."""

    def __init__(self, timeout_s: float, idle_s: float = 5.0) -> None:
        self._timeout_s = timeout_s
        self._idle_s = idle_s
        self._idle: dict[PacsNode, list[Association]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def session(self, node: PacsNode) -> Iterator[Session]:
        def open_one() -> Association:
            return associate(node, [STUDY_ROOT_FIND], self._timeout_s)

        session = Session(open_one, self._take(node))
        try:
            yield session
        finally:
            association = session.end()
            if association is not None:
                self._keep(node, association)

    def close(self) -> None:
        """Release all that is idle."""
        with self._lock:
            idle = [one for associations in self._idle.values() for one in associations]
            self._idle.clear()
        for association in idle:
            association.release()

    def _take(self, node: PacsNode) -> Association | None:
        with self._lock:
            kept = self._idle.get(node, [])
            while kept:
                association = kept.pop()
                if association.is_established:
                    return association
        return None

    def _keep(self, node: PacsNode, association: Association) -> None:
        with self._lock:
            self._idle.setdefault(node, []).append(association)
        timer = threading.Timer(self._idle_s, self._expire, (node, association))
        timer.daemon = True
        timer.start()

    def _expire(self, node: PacsNode, association: Association) -> None:
        with self._lock:
            kept = self._idle.get(node, [])
            if association not in kept:
                return
            kept.remove(association)
        association.release()
