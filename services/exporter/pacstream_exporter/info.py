"""The info table of a series: what the PACS told of it, as a CSV of one line."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from pacstream.archive import write_atomically
from pacstream.messages import Order
from pacstream.results import originals_folder, output_errors

COLUMNS = (
    "PatientID",
    "PatientName",
    "SeriesNumber",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesDescription",
    "ProtocolName",
    "AcquisitionDate",
    "StudyDate",
    "PatientBirthDate",
    "StudyTime",
    "DeviceSerialNumber",
    "Modality",
    "ImageType",
    "StudyDescription",
    "AccessionNumber",
    "SequenceName",
)
"""Every table has all of them, whatever the PACS returned, so that tables can be joined."""


def info_table(attributes: Mapping[str, str]) -> str:
    """A header line and a line of values, exactly as the PACS gave them; a missing one is empty."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerow([attributes.get(column, "") for column in COLUMNS])
    return text.getvalue()


def info_path(order: Order) -> Path:
    """`<series folder>.csv`. Raises ZoneError."""
    folder = originals_folder(order)
    return folder.with_name(f"{folder.name}.csv")


def write_info(order: Order, attributes: Mapping[str, str]) -> Path:
    """Write `<series folder>.csv` (UTF-8) beside the series folder.

    Raises RejectedError `output_not_writable`, RetryLaterError `disk`, ZoneError.
    """
    target = info_path(order)
    with output_errors():
        write_atomically(target, info_table(attributes).encode("utf-8"))
    return target
