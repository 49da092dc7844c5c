"""What saved instances are called."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pacstream.archive import checked_uid


def instance_names(modality: str, uids: Iterable[str]) -> dict[str, str]:
    """`<Modality>.<SOP Instance UID>` by UID, without an extension, as DCMTK's storescp names it.

    Raises ZoneError if a UID is not safe as a file name.
    """
    prefix = re.sub(r"[^A-Z0-9]", "", modality.upper()) or "OT"
    return {uid: f"{prefix}.{checked_uid(uid)}" for uid in uids}
