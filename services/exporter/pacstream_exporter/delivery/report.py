"""A line for each file, in the trusted zone: paths and UIDs of originals are identifiers."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Iterable
from pathlib import Path

from pacstream.archive import write_atomically
from pacstream_exporter.delivery.outcome import Delivery

COLUMNS = ("file", "sop_instance_uid", "state", "reason", "status", "evidence", "was_there")


def write_report(folder: Path, deliveries: Iterable[Delivery]) -> Path:
    """`report-<time>.csv` in `folder`, in UTF-8; names that are no text keep their bytes."""
    moment = datetime.datetime.now(datetime.UTC)
    target = folder / f"report-{moment:%Y%m%d-%H%M%S-%f}.csv"
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows(_line(one) for one in deliveries)
    write_atomically(target, text.getvalue().encode("utf-8", "surrogateescape"))
    return target


def _line(one: Delivery) -> tuple[str, ...]:
    item = one.item
    return (
        item.name,
        item.identity.sop_instance if item.identity else "",
        one.state.value,
        one.reason,
        "" if one.status is None else f"{one.status:04X}",
        one.evidence.value,
        "yes" if one.was_there else "",
    )
