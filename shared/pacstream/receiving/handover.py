"""What the receiver hands over to the committer; all that the two know of each other."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Fate = Literal["kept", "aside", "lost"]
"""Durable under its name; durable in quarantine, its name has another content; not durable."""


class Settlement:
    """What became of an instance: for a sender that is to wait until it is durable."""

    def __init__(self) -> None:
        self._known = threading.Event()
        self._fate: Fate = "lost"

    def settle(self, fate: Fate) -> None:
        self._fate = fate
        self._known.set()

    def wait(self, seconds: float) -> Fate:
        """`lost` too if it is not known in time: the sender may send it again."""
        return self._fate if self._known.wait(seconds) else "lost"


@dataclass(frozen=True, slots=True)
class WrittenInstance:
    """A whole file under a temporary name in its series folder, not yet durable."""

    part: Path
    batch_id: str
    study_uid: str
    series_uid: str
    sop_instance_uid: str
    size: int
    settlement: Settlement | None = field(default=None, compare=False)
