"""What the ledger knows of a batch that has ended, as a file in the trusted zone: reports are made
from it.

    DATA/state/batches/<batch_id>/ledger.json
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pacstream.archive import Archive, write_atomically
from pacstream.errors import RejectedError

View = dict[str, Any]


def view_path(archive: Archive, batch_id: str) -> Path:
    return archive.state / "batches" / batch_id / "ledger.json"


def write_view(archive: Archive, view: View) -> None:
    """Durable on return. Raises OSError."""
    text = json.dumps(view, ensure_ascii=False)
    write_atomically(view_path(archive, view["batch_id"]), text.encode("utf-8", "surrogateescape"))


def read_view(archive: Archive, batch_id: str) -> View:
    """Raises RejectedError `no_batch_view` if it is missing or can't be understood."""
    try:
        view: View = json.loads(view_path(archive, batch_id).read_bytes())
    except (OSError, ValueError):
        raise RejectedError(
            "what became of the batch can't be read", code="no_batch_view"
        ) from None
    return view
