"""What a PACS can be asked, whichever way it is asked: C-FIND (DIMSE) or QIDO-RS (DICOMweb)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pacstream.errors import PacsRejectedError, PacstreamError
from pacstream_query.identifiers import Answer, FindRequest

Take = Callable[[Answer], None]
"""Given each answer as it comes; the same answer may come twice."""


class FindRefusedError(PacsRejectedError):
    """The PACS answered a query with a failure: a C-FIND status (PS3.4 table C.4-1), or an HTTP one
    (PS3.18 table 8.5-1)."""

    def __init__(self, status: str) -> None:
        super().__init__("the PACS refuses a query", code=f"find_refused_{status}")


class QueryCancelledError(PacstreamError):
    """The batch was cancelled while the PACS was asked."""

    code = "cancelled"


@dataclass
class Outcome:
    """How a request ended."""

    received: int = 0
    """Answers, the unusable ones included."""
    unusable: int = 0
    """Answers of another level, without their unique key, or that can't be decoded."""
    limited: bool = False
    """There are more than it answered: 0xB001, 0xA700, HTTP 413, or it says so."""

    def count(self, answer: Answer | None) -> bool:
        """Note an answer; True if it can be used."""
        self.received += 1
        self.unusable += answer is None
        return answer is not None


class Source(Protocol):
    """One PACS, asked one request at a time."""

    def find(self, request: FindRequest, take: Take) -> Outcome:
        """Give `take` all answers to `request`.

        Raises FindRefusedError, RetryLaterError, PacsRejectedError, or QueryCancelledError if the
        batch was cancelled meanwhile.
        """
        ...


def never() -> bool:
    """Nothing is cancelled."""
    return False
