"""What each row of a query file asks for, kept for the identified report: the ledger knows rows by
number only."""

from __future__ import annotations

import json
from pathlib import Path

from pacstream.archive import Archive, write_atomically
from pacstream_exporter.batch_report.content import Words

ROWS = "rows.json"


def batch_folder(archive: Archive, batch_id: str) -> Path:
    """Of one batch, in the trusted zone."""
    return archive.state / "batches" / batch_id


def keep_words(archive: Archive, batch_id: str, words: Words) -> None:
    """Durable on return."""
    text = json.dumps({str(row): dict(keys) for row, keys in words.items()}, ensure_ascii=False)
    write_atomically(
        batch_folder(archive, batch_id) / ROWS, text.encode("utf-8", "surrogateescape")
    )


def read_words(archive: Archive, batch_id: str) -> Words:
    """Nothing for a batch that is older than this file."""
    try:
        text = (batch_folder(archive, batch_id) / ROWS).read_bytes()
        return {int(row): keys for row, keys in json.loads(text).items()}
    except (FileNotFoundError, ValueError):
        return {}
