"""Where reports lie.

OUT/reports/<batch_id>/report.html .json .csv            shareable
DATA/state/batches/<batch_id>/report.html .json .csv     identified
DATA/state/batches/<batch_id>/rows.json                  what each row of the query file asks for
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from pacstream.archive import Archive, write_atomically
from pacstream.batch_view import read_view
from pacstream.results import output_errors
from pacstream_exporter.batch_report.content import View, report_of
from pacstream_exporter.batch_report.page import page_of
from pacstream_exporter.batch_report.people import people_of, write_people
from pacstream_exporter.batch_report.table import table_of
from pacstream_exporter.batch_report.words import batch_folder, read_words


def json_of(report: View) -> str:
    return json.dumps(report, indent=1, ensure_ascii=False) + "\n"


FORMATS: dict[str, Callable[[View], str]] = {"html": page_of, "json": json_of, "csv": table_of}


def write_all(batch_id: str, archive: Archive) -> None:
    """The reports of a batch that has ended, and who is who in its release.

    Raises RejectedError `no_batch_view`, and what `write_reports` and `people_of` raise.
    """
    view = read_view(archive, batch_id)
    write_reports(view, archive)
    if view["actions"]["anonymize"]:
        series = dict.fromkeys(one["series_uid"] for row in view["report"] for one in row["series"])
        people = people_of(batch_id, series, archive)
        with output_errors():
            write_people(people, batch_folder(archive, batch_id))


def write_reports(view: View, archive: Archive) -> None:
    """All formats of both copies. May be done again: the same view, the same files.

    Raises RejectedError `output_not_writable`, RetryLaterError `disk`.
    """
    batch_id = view["batch_id"]
    words = read_words(archive, batch_id)
    with output_errors():
        _write(batch_folder(archive, batch_id), report_of(view, words, identified=True))
        _write(Path(view["out"]) / "reports" / batch_id, report_of(view, identified=False))


def _write(folder: Path, report: View) -> None:
    for suffix, text_of in FORMATS.items():
        text = text_of(report).encode("utf-8", "surrogateescape")
        write_atomically(folder / f"report.{suffix}", text)
