"""A report as a CSV: a line for each row and series; a row without series has one, too."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from pacstream_exporter.batch_report.content import View

COLUMNS = (
    "row", "row_state", "row_reason", "series", "modality", "state", "reason", "remark", "evidence",
    "rounds", "expected", "done", "withheld", "failed", "cancelled", "pending", "conversion",
)  # fmt: skip
IDENTIFYING = ("series_uid", "folder", "missing", "asked")
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def table_of(report: View) -> str:
    """UTF-8 with a header. A cell that a spreadsheet would take for a formula begins with `'`."""
    columns = (*COLUMNS, *IDENTIFYING) if report["identified"] else COLUMNS
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for line in _lines(report):
        writer.writerow({name: _cell(value) for name, value in line.items()})
    return text.getvalue()


def _lines(report: View) -> Iterator[dict[str, Any]]:
    for row in report["rows"]:
        own = {"row": row["row"], "row_state": row["state"], "row_reason": row["reason"]}
        if report["identified"]:
            own["asked"] = "; ".join(f"{key}={value}" for key, value in row["asked"].items())
        for number, series in enumerate(row["series"], start=1):
            line = {**own, "series": number, **series}
            if report["identified"]:
                line["missing"] = " ".join(series["missing"])
            yield line
        if not row["series"]:
            yield own


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
