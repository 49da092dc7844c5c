"""What the receiver hands over to the committer; all that the two know of each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class WrittenInstance:
    """A whole file under a temporary name in its series folder, not yet durable."""

    part: Path
    batch_id: str
    study_uid: str
    series_uid: str
    sop_instance_uid: str
    size: int
