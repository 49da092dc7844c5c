"""`sub-` and `ses-` labels: letters and digits, and no two patients or sessions ever share one."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pacstream_converter.bids.book import Entry

LONGEST_SESSION = 24
"""A longer name is a mapped UID, for a release without dates: such sessions are counted."""


class Labels:
    """Labels that are given once and kept: what the book knows, and what is new."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._subjects: dict[str, str] = {}
        self._sessions: dict[tuple[str, str], str] = {}
        for entry in entries:
            subject, session = folders_of(entry.source)
            self._subjects[subject] = entry.subject.removeprefix("sub-")
            self._sessions[subject, session] = entry.session.removeprefix("ses-")

    def subject(self, folder: str) -> str:
        if folder not in self._subjects:
            wanted = _letters(folder.removeprefix("sub-")) or "unknown"
            self._subjects[folder] = _free(wanted, self._subjects.values())
        return self._subjects[folder]

    def session(self, subject: str, folder: str, wish: str = "") -> str:
        """`wish` is what to make the label of, if not of the folder's name."""
        key = subject, folder
        if key not in self._sessions:
            taken = [label for (one, _), label in self._sessions.items() if one == subject]
            wanted = _letters((wish or folder).removeprefix("ses-"))
            if not wanted or len(wanted) > LONGEST_SESSION:
                wanted = f"{len(taken) + 1:02}"
            self._sessions[key] = _free(wanted, taken)
        return self._sessions[key]


def folders_of(source: str) -> tuple[str, str]:
    """The folders of patient and session of a product's name."""
    parts = source.split("/")
    if len(parts) != 3:
        raise ValueError("a product's name is `<patient>/<session>/<series>`")
    return parts[0], parts[1]


def _letters(text: str) -> str:
    return re.sub(r"[^0-9A-Za-z]", "", text)


def _free(wanted: str, taken: Iterable[str]) -> str:
    """Capitals do not matter: not to all file systems, either."""
    known = {one.casefold() for one in taken}
    label, number = wanted, 1
    while label.casefold() in known:
        number += 1
        label = f"{wanted}x{number}"
    return label
