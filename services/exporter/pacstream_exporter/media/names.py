"""File IDs (PS3.10 section 8.2): made of what a file is, not of when it was added.

The same patient, study, series or instance has the same name in every run, whatever lies beside it.
"""

from __future__ import annotations

import hashlib
import itertools
import string

LETTERS = string.digits + string.ascii_uppercase
LENGTH = 8


class Names:
    """The names in one folder of a file-set."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}

    def of(self, identity: str) -> str:
        """Eight characters of `[A-Z0-9]`; no two identities have the same. Who is asked for first
        keeps the name, so ask in a fixed order."""
        for attempt in itertools.count():
            name = _digest(identity, attempt)
            if self._owners.setdefault(name, identity) == identity:
                return name
        raise AssertionError("unreachable")


def _digest(identity: str, attempt: int) -> str:
    number = int.from_bytes(
        hashlib.blake2b(f"{attempt}\0{identity}".encode("utf-8", "surrogateescape")).digest()
    )
    letters = []
    for _ in range(LENGTH):
        number, place = divmod(number, len(LETTERS))
        letters.append(LETTERS[place])
    return "".join(letters)
