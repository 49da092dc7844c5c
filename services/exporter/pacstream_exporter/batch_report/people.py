"""Who is who in a batch's release: in the trusted zone only.

mapping.csv        PatientID, IssuerOfPatientID, Pseudonym, DateShiftDays
mapper.json        PACSMAN's: {"<pseudonym>": "<patient ID>"}
date_offsets.csv   PACSMAN's: one line of days, in the order of mapping.csv
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from pacstream.archive import Archive, write_atomically
from pacstream.keys import load_key
from pacstream.manifest import manifest_path, read_manifest
from pacstream.messages import Dates, Order
from pacstream.pseudonyms import subject_of
from pacstream_exporter.issuers import issuers_of

COLUMNS = ("PatientID", "IssuerOfPatientID", "Pseudonym", "DateShiftDays")
Person = tuple[str, str, str, int]
"""A line of mapping.csv."""


def people_of(batch_id: str, series: Iterable[str], archive: Archive) -> list[Person]:
    """The patients of a batch's series (UIDs), in their order, each once.

    Days are 0 where the release keeps dates, or has none. Raises RejectedError as
    `pacstream.keys.load_key`, and if the manifest or an order file can't be read.
    """
    found: dict[Person, None] = {}
    orders = _orders(batch_id, archive)
    for series_uid in series:
        order = orders(series_uid)
        if order is not None and order.actions.anonymize:
            found |= dict.fromkeys(_persons(order, archive))
            time.sleep(0)  # the service has heartbeats to answer
    return list(found)


def _orders(batch_id: str, archive: Archive) -> Callable[[str], Order | None]:
    """The manifest has all orders of a batch that has ended. Before that, order files tell of what
    was retrieved for it, and not of what was here already."""
    path = manifest_path(archive, batch_id)
    if path.exists():
        manifest = read_manifest(archive, archive.relative(path))
        return {one.order.series.series_uid: one.order for one in manifest.series}.get

    def retrieved(series_uid: str) -> Order | None:
        order_file = archive.read_order(series_uid)
        return order_file.orders.get(batch_id) if order_file else None

    return retrieved


def _persons(order: Order, archive: Archive) -> Iterator[Person]:
    """One for each issuer that the instances name; one without, if there are none any more."""
    key = load_key(archive.keys, order.project, order.key_id)
    patient_id = order.series.patient_id
    for issuer in sorted(issuers_of(archive, order.series.series_uid)) or [""]:
        subject = subject_of(order, issuer)
        days = subject.shift_days(key) if order.dates is Dates.SHIFTED else 0
        yield patient_id, issuer, subject.name(key), days


def write_people(people: Sequence[Person], folder: Path) -> None:
    """The three files, each whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(people)
    write_atomically(folder / "mapping.csv", text.getvalue().encode("utf-8", "surrogateescape"))
    mapper = {pseudonym: patient_id for patient_id, _, pseudonym, _ in people}
    told = json.dumps(mapper, ensure_ascii=False, indent=1)
    write_atomically(folder / "mapper.json", told.encode("utf-8", "surrogateescape"))
    offsets = ",".join(str(days) for *_, days in people)
    write_atomically(folder / "date_offsets.csv", f"{offsets}\n".encode())
