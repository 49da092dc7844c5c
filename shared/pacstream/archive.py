"""Where a file lives in the trusted zone, and how it gets there.

    DATA/incoming/<SeriesInstanceUID>/order.json            why the series is here
    DATA/incoming/<SeriesInstanceUID>/<SOPInstanceUID>.dcm
    DATA/quarantine/<reason>/...
    DATA/state/  DATA/keys/  DATA/run/

A file has its name only when it is whole: it is written beside, flushed, renamed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pacstream.errors import RejectedError, ZoneError
from pacstream.messages import Order

UID = re.compile(r"[0-9][0-9.]{0,63}")
PART_SUFFIX = ".part"


class OrderFile(BaseModel):
    """order.json: who asked for a series. `current` is the batch that is being retrieved for."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    study_uid: str
    patient_id: str = ""
    current: str = ""
    orders: dict[str, Order] = {}


def checked_uid(uid: str) -> str:
    """`uid` itself if it is safe as a file name (PS3.5 section 9.1); else ZoneError."""
    if not UID.fullmatch(uid):
        raise ZoneError(
            "a UID has characters that PS3.5 section 9.1 does not allow", code="bad_uid"
        )
    return uid


def inside(zone: Path, relative: str | Path) -> Path:
    """`zone / relative`, or ZoneError if that would leave the zone."""
    path = Path(os.path.normpath(zone / relative))
    if not path.is_relative_to(os.path.normpath(zone)):
        raise ZoneError("a path leaves its zone", code="path_outside_zone")
    return path


def flush_folder(folder: Path) -> None:
    """Make the folder's entries durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target`; flush and rename it when the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{uuid.uuid4().hex}{PART_SUFFIX}")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(target)
        flush_folder(target.parent)
    finally:
        part.unlink(missing_ok=True)


def write_atomically(target: Path, content: bytes) -> None:
    with replacing(target) as part:
        part.write_bytes(content)


class Archive:
    """The trusted zone below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.incoming = self.root / "incoming"
        self.quarantine = self.root / "quarantine"
        self.state = self.root / "state"
        self.keys = self.root / "keys"
        self.run = self.root / "run"
        self.decisions = self.state / "decisions.jsonl"

    def zone(self) -> str:
        """An id of this zone, made when first asked for: the same for all who see its files."""
        path = self.state / "zone"
        if not path.exists():
            self.state.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{uuid.uuid4().hex}{PART_SUFFIX}")
            try:
                with part.open("w", encoding="ascii") as file:
                    file.write(uuid.uuid4().hex)
                    file.flush()
                    os.fsync(file.fileno())
                # A link never replaces: the first process wins.
                with contextlib.suppress(FileExistsError):
                    path.hardlink_to(part)
            finally:
                part.unlink(missing_ok=True)
        return path.read_text("ascii")

    def series_folder(self, series_uid: str) -> Path:
        return self.incoming / checked_uid(series_uid)

    def instance_path(self, series_uid: str, sop_instance_uid: str) -> Path:
        return self.series_folder(series_uid) / f"{checked_uid(sop_instance_uid)}.dcm"

    def relative_instance(self, series_uid: str, sop_instance_uid: str) -> str:
        """What a message says of the file of an instance; both UIDs are checked already."""
        return f"incoming/{series_uid}/{sop_instance_uid}.dcm"

    def relative(self, path: Path) -> str:
        return str(path.relative_to(self.root))

    def resolve(self, relative: str) -> Path:
        """The file that a message names; ZoneError if it would leave the trusted zone."""
        return inside(self.root, relative)

    def instances(self, series_uid: str) -> set[str]:
        """SOP Instance UIDs of the files that are here."""
        try:
            names = os.listdir(self.series_folder(series_uid))
        except FileNotFoundError:
            return set()
        return {name[:-4] for name in names if name.endswith(".dcm") and not name.startswith(".")}

    def quarantine_path(self, reason: str, name: str) -> Path:
        """A new path in quarantine; `reason` is a code, `name` may be anything."""
        safe = re.sub(r"[^0-9A-Za-z._-]+", "_", name).lstrip(".")[:120] or "unnamed"
        folder = self.quarantine / re.sub(r"[^0-9a-z_]+", "_", reason.lower())
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{safe}-{uuid.uuid4().hex[:8]}"

    def cancel(self, batch_id: str) -> None:
        """Tell every process on this zone that a batch is to end: C-MOVEs are cancelled."""
        write_atomically(self.run / "cancelled" / batch_id, b"")

    def is_cancelled(self, batch_id: str) -> bool:
        return (self.run / "cancelled" / batch_id).exists()

    def read_order(self, series_uid: str) -> OrderFile | None:
        """The series' order file; None if nobody asked for the series.

        Raises RejectedError if it can't be understood.
        """
        try:
            text = (self.series_folder(series_uid) / "order.json").read_text("utf-8")
        except FileNotFoundError:
            return None
        try:
            return OrderFile.model_validate_json(text)
        except ValidationError:
            raise RejectedError("order.json can't be understood", code="bad_order_file") from None

    def write_order(self, order: Order) -> OrderFile:
        """Add `order` to the series' order file and make it the current one. Durable on return.

        One writer per series at a time: the ledger never has two moves of one series under way.
        """
        series = order.series
        before = self.read_order(series.series_uid)
        orders = dict(before.orders) if before and before.study_uid == series.study_uid else {}
        orders[order.batch_id] = order
        return self._put(
            series.series_uid,
            OrderFile(
                study_uid=series.study_uid,
                patient_id=series.patient_id,
                current=order.batch_id,
                orders=orders,
            ),
        )

    def admit(self, study_uid: str, series_uid: str, patient_id: str) -> None:
        """Let instances of a series in without any order yet (a trial by the preflight)."""
        if self.read_order(series_uid) is None:
            self._put(series_uid, OrderFile(study_uid=study_uid, patient_id=patient_id))

    def _put(self, series_uid: str, order_file: OrderFile) -> OrderFile:
        text = json.dumps(order_file.model_dump(mode="json"), indent=1, ensure_ascii=False)
        write_atomically(self.series_folder(series_uid) / "order.json", text.encode())
        return order_file
