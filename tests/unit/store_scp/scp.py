"""A store SCP in this process, and senders for it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pynetdicom import AE, _config, build_context

from pacstream.archive import Archive
from pacstream.dimse import responses_only
from pacstream.errors import BrokerUnavailableError
from pacstream.messages import Actions, InstancesReceived, Message, Order, Series
from pacstream.receiving.part10 import file_meta
from pacstream.settings import Settings
from pacstream_store_scp.process import StoreScp

BATCH = "batch-1"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"


@dataclass
class Announcements:
    """In the broker's place: keeps what is published, or is away."""

    away: bool = False
    messages: list[InstancesReceived] = field(default_factory=list)
    before: Callable[[InstancesReceived], None] = lambda message: None

    def publish(self, message: Message) -> None:
        self.connect()
        assert isinstance(message, InstancesReceived)
        self.before(message)
        self.messages.append(message)

    def connect(self) -> None:
        if self.away:
            raise BrokerUnavailableError("away")

    @property
    def uids(self) -> list[str]:
        return [i.sop_instance_uid for message in self.messages for i in message.instances]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def new_settings(data: Path, **values: object) -> Settings:
    given = {"data": data, "store_host": "127.0.0.1", "store_port": free_port(), **values}
    return Settings.model_validate(given)


@contextmanager
def running(settings: Settings, announcements: Announcements) -> Iterator[StoreScp]:
    # pynetdicom has one setting for all acceptors of a process: a fake PACS is to keep its own
    before = _config.UNRESTRICTED_STORAGE_SERVICE
    scp = StoreScp(settings, announcements.publish, announcements.connect)
    scp.start()
    try:
        yield scp
    finally:
        scp.stop()
        _config.UNRESTRICTED_STORAGE_SERVICE = before


def order_for(instance: Dataset, batch_id: str = BATCH) -> Order:
    return Order(
        batch_id=batch_id,
        series=Series(study_uid=instance.StudyInstanceUID, series_uid=instance.SeriesInstanceUID),
        actions=Actions(save=True),
        out="out",
        subject="sub-1",
        session="ses-1",
        folder="1",
        release_folder="1",
    )


def saved(folder: Path, datasets: Iterable[Dataset]) -> list[Path]:
    """The datasets as files, named by their SOP Instance UIDs."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for dataset in datasets:
        path = folder / f"{dataset.SOPInstanceUID}.dcm"
        dcmwrite(path, dataset, enforce_file_format=True)
        paths.append(path)
    return paths


def raw_file(path: Path, sop_class: str, sop_instance: str, syntax: str, content: bytes) -> Path:
    path.write_bytes(file_meta(sop_class, sop_instance, syntax) + content)
    return path


def data_set_of(path: Path) -> bytes:
    """What follows the file meta group."""
    content = path.read_bytes()
    return content[144 + int.from_bytes(content[140:144], "little") :]


def send(port: int, *paths: Path) -> list[int | None]:
    """C-STORE the files over one association, as they are; the statuses."""
    metas = [dcmread(path, stop_before_pixels=True, force=True).file_meta for path in paths]
    contexts = {(str(m.MediaStorageSOPClassUID), str(m.TransferSyntaxUID)) for m in metas}
    association = AE("SENDER").associate(
        "127.0.0.1", port, contexts=[build_context(*pair) for pair in sorted(contexts)]
    )
    assert association.is_established
    responses_only(association)
    _config.STORE_SEND_CHUNKED_DATASET = True
    try:
        answers = [association.send_c_store(path) for path in paths]
    finally:
        _config.STORE_SEND_CHUNKED_DATASET = False
        association.release()
    return [answer.get("Status") for answer in answers]


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def quarantined(archive: Archive) -> dict[str, int]:
    """Number of files for each reason."""
    if not archive.quarantine.exists():
        return {}
    folders = archive.quarantine.iterdir()
    return {folder.name: len(list(folder.iterdir())) for folder in folders}


def parts(archive: Archive) -> list[Path]:
    """Files under a temporary name: being written, or not yet announced."""
    return list(archive.incoming.glob("*/.*.part"))
