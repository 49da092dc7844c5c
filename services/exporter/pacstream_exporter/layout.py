"""Where a batch's user finds the originals: PACSMAN's layout below the batch's output folder."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from pacstream.archive import checked_uid, inside
from pacstream.errors import ZoneError
from pacstream.messages import Order


def originals_folder(order: Order) -> Path:
    """`OUT/sub-…/ses-…/<number>-<description>`.

    Raises ZoneError if a part of it is not one plain file name.
    """
    parts = (order.subject, order.session, order.folder)
    if any(part in ("", ".", "..") or "/" in part or "\0" in part for part in parts):
        raise ZoneError("a folder of the order is no file name", code="path_outside_zone")
    return inside(Path(order.out), Path(*parts))


def instance_names(modality: str, uids: Iterable[str]) -> dict[str, str]:
    """`<Modality>.<SOP Instance UID>` by UID, without an extension, as DCMTK's storescp names it.

    Raises ZoneError if a UID is not safe as a file name.
    """
    prefix = re.sub(r"[^A-Z0-9]", "", modality.upper()) or "OT"
    return {uid: f"{prefix}.{checked_uid(uid)}" for uid in uids}
