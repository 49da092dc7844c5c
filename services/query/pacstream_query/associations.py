"""The DIMSE source: C-FIND on associations that are kept for a moment, shared by a batch's rows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pynetdicom.association import Association

from pacstream.dimse import associate
from pacstream.errors import PacsUnreachableError, RetryLaterError
from pacstream.messages import PacsNode
from pacstream_query.identifiers import FindRequest, read_answer
from pacstream_query.source import (
    FindRefusedError,
    Outcome,
    QueryCancelledError,
    Source,
    Take,
    never,
)

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
MESSAGE_ID = 1
SUCCESS, CANCELLED, PENDING = 0x0000, 0xFE00, (0xFF00, 0xFF01)
LIMIT_REACHED, OUT_OF_RESOURCES = 0xB001, 0xA700
CANCEL_PATIENCE_S = 10.0
"""For the final answer after a C-CANCEL; then the association is aborted."""


class Session:
    """C-FINDs to one PACS, one after the other, on one association."""

    def __init__(
        self,
        open_one: Callable[[], Association],
        kept: Association | None,
        *,
        cancelled: Callable[[], bool] = never,
        cancels: bool = True,
    ) -> None:
        self._open = open_one
        self._association = kept
        self._trusted = kept is None
        self._asking = False
        self._cancelled = cancelled
        self._cancels = cancels

    def find(self, request: FindRequest, take: Take) -> Outcome:
        """All answers to `request`. A key beyond ASCII is asked in older character sets, too, if
        nothing is found: not every PACS knows UTF-8.

        Raises FindRefusedError, RetryLaterError (code pacs_out_of_resources for 0xA7xx but 0xA700),
        PacsUnreachableError if the association breaks or stays silent, QueryCancelledError. A kept
        association may have been closed by the PACS meanwhile: its first request is sent again.
        """
        *others, last = request.character_sets()
        for character_set in others:
            try:
                outcome = self._find(request, character_set, take)
            except FindRefusedError:
                continue
            if outcome.received or outcome.limited:
                return outcome
        return self._find(request, last, take)

    def _find(self, request: FindRequest, character_set: tuple[str, ...], take: Take) -> Outcome:
        trusted, self._trusted = self._trusted, True
        try:
            return self._ask(request, character_set, take)
        except PacsUnreachableError:
            if trusted:
                raise
        self._association = None
        return self._ask(request, character_set, take)

    def _ask(self, request: FindRequest, character_set: tuple[str, ...], take: Take) -> Outcome:
        if self._cancelled():
            raise QueryCancelledError("the batch was cancelled")
        if self._association is None or not self._association.is_established:
            self._association = self._open()
        self._asking = True
        outcome, last = Outcome(), None
        try:
            # send_c_find is a generator: it is exhausted before anything else is asked
            responses = self._association.send_c_find(
                request.identifier(character_set), STUDY_ROOT_FIND, msg_id=MESSAGE_ID
            )
            for status, identifier in responses:
                last = status.get("Status")
                if last in PENDING:
                    answer = read_answer(identifier, request)
                    if outcome.count(answer) and answer is not None:
                        take(answer)
                    if self._cancelled():
                        self._stop(responses)
        except RuntimeError:
            raise PacsUnreachableError("the association ended before a C-FIND") from None
        outcome.limited = last in (LIMIT_REACHED, OUT_OF_RESOURCES)
        self._asking = last is None or last == LIMIT_REACHED
        if self._asking:
            # some PACSs send Success after this warning, which would answer the next request
            self.end()
        _check(last)
        return outcome

    def _stop(self, responses: Iterator[Any]) -> None:
        """C-CANCEL (PS3.7 section 9.3.2.3) and the rest of the answers, or an abort."""
        deadline = time.monotonic() + CANCEL_PATIENCE_S
        if self._cancels and self._association is not None:
            self._association.send_c_cancel(MESSAGE_ID, query_model=STUDY_ROOT_FIND)
            for status, _ in responses:
                if status.get("Status") not in PENDING:
                    self._asking = status.get("Status") is None
                elif time.monotonic() > deadline:
                    break
        self.end()
        raise QueryCancelledError("the batch was cancelled")

    def end(self) -> Association | None:
        """The association if it can serve another session; one with a request open is aborted."""
        if self._association is None or not self._association.is_established:
            self._association = None
            return None
        if self._asking:
            self._association.abort()
            self._association = None
            return None
        return self._association


def _check(code: int | None) -> None:
    if code is None:
        raise PacsUnreachableError("no answer to a C-FIND: aborted or timed out")
    if code >> 8 == 0xA7 and code != OUT_OF_RESOURCES:
        raise RetryLaterError("the PACS is out of resources", code="pacs_out_of_resources")
    if code not in (SUCCESS, LIMIT_REACHED, OUT_OF_RESOURCES):
        raise FindRefusedError(f"{code:04X}")


class Associations:
    """Lends sources: one association per PACS and session, released after `idle_s` without use.

    At most `concurrency` sessions with one PACS are open at once; others wait for their turn.
    """

    def __init__(
        self,
        timeout_s: float,
        idle_s: float = 5.0,
        concurrency: int = 2,
        connection_timeout_s: float | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._connection_timeout_s = connection_timeout_s
        self._idle_s = idle_s
        self._concurrency = concurrency
        self._idle: dict[PacsNode, list[Association]] = {}
        self._turns: dict[tuple[str, int], threading.BoundedSemaphore] = {}
        self._lock = threading.Lock()

    @contextmanager
    def session(self, node: PacsNode, cancelled: Callable[[], bool] = never) -> Iterator[Source]:
        """A source for `node`, as its profile says. Raises RejectedError for a wrong web_url."""
        with self._turn(node):
            if node.profile.source == "dicomweb":
                from pacstream_query.qido import WebSource  # slow to load, and seldom used

                yield WebSource(node.profile.web_url, self._timeout_s, cancelled)
                return
            session = Session(
                lambda: self._open(node),
                self._take(node),
                cancelled=cancelled,
                cancels=node.profile.cancels,
            )
            try:
                yield session
            finally:
                association = session.end()
                if association is not None:
                    self._keep(node, association)

    def _open(self, node: PacsNode) -> Association:
        return associate(
            node,
            [STUDY_ROOT_FIND],
            self._timeout_s,
            connection_timeout_s=self._connection_timeout_s,
        )

    def _turn(self, node: PacsNode) -> threading.BoundedSemaphore:
        with self._lock:
            return self._turns.setdefault(
                (node.address, node.port), threading.BoundedSemaphore(self._concurrency)
            )

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
