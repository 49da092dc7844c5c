"""One table of all series of a batch: what the PACS told of each, in the order of their finding.

It is made from the series' own info tables, which hold what the PACS has answered, so it can be
made again at any time.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import pyarrow
import pyarrow.parquet

from pacstream.archive import inside, replacing, write_atomically
from pacstream.batch_action import Outcome, Task
from pacstream.errors import RejectedError
from pacstream.manifest import SeriesResult
from pacstream.results import output_errors
from pacstream_exporter.info import COLUMNS, info_path

STATE = "state"
"""The last column: what became of the series."""


def write_info_table(task: Task) -> Outcome:
    """Write `<batch_id>.csv` (UTF-8) and `<batch_id>.parquet` into the batch's output folder.

    All values are text, exactly as the PACS gave them: an ID keeps its zeros, a date that is none
    stays as it is. Raises RejectedError `info_missing` or `output_not_writable`, RetryLaterError
    `disk`.
    """
    rows = [_row(one) for one in task.manifest.series if one.info]
    batch_id = task.manifest.batch.batch_id
    with output_errors():
        write_atomically(inside(task.out, f"{batch_id}.csv"), _as_csv(rows))
        with replacing(inside(task.out, f"{batch_id}.parquet")) as part:
            pyarrow.parquet.write_table(_as_columns(rows), part)
    return Outcome({"series": len(task.manifest.series), "rows": len(rows)})


def _row(series: SeriesResult) -> dict[str, str]:
    return {**_told(info_path(series.order)), STATE: series.state}


def _told(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            (row,) = csv.DictReader(file)
    except (OSError, ValueError):
        raise RejectedError("the info table of a series is gone", code="info_missing") from None
    return row


def _as_csv(rows: Iterable[dict[str, str]]) -> bytes:
    text = io.StringIO()
    table = csv.DictWriter(text, [*COLUMNS, STATE], lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode("utf-8")


def _as_columns(rows: list[dict[str, str]]) -> pyarrow.Table:
    columns = {name: [row[name] for row in rows] for name in (*COLUMNS, STATE)}
    return pyarrow.table(
        {name: pyarrow.array(values, pyarrow.string()) for name, values in columns.items()}
    )
