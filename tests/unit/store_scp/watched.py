"""A store SCP under watch: whatever a bad sender does, nobody else notices, and nothing is left."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info

from pacstream import logs
from pacstream.archive import Archive
from tests.fakes.datasets import uid_from
from tests.fakes.sender import Sender
from tests.fakes.upper_layer import EXPLICIT_LITTLE, Context, Instance
from tests.unit.store_scp.scp import (
    Announcements,
    data_set_of,
    new_settings,
    order_for,
    running,
    wait_for,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
CT_CONTEXT = Context(1, CT)
PLANTED = "GARBAGE-VALUE"
"""In everything that bad senders send. No log line may repeat it."""

STUDY, SERIES = uid_from("study"), uid_from("series")
BYSTANDER_PAUSE_S = 0.05
SETTLED_S = 10.0


def element(tag: int, vr: str, value: bytes) -> bytes:
    """One element in explicit VR little endian; ZZ is no VR, and has a length of 32 bits then."""
    value += b"\0" * (len(value) % 2)
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    if vr in ("OB", "OW", "SQ", "ZZ"):
        return head + struct.pack("<HL", 0, len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def plain_instance(
    number: int, pixels: int = 512, series_uid: str = SERIES, sop_class: str = CT
) -> Instance:
    """An object with the elements that identify it, a name, and `pixels` bytes of pixel data."""
    uid = uid_from(series_uid, number)
    data = b"".join(
        [
            element(0x00080016, "UI", sop_class.encode()),
            element(0x00080018, "UI", uid.encode()),
            element(0x00100010, "PN", PLANTED.encode()),
            element(0x0020000D, "UI", STUDY.encode()),
            element(0x0020000E, "UI", series_uid.encode()),
            element(0x7FE00010, "OW", (number % 256).to_bytes() * pixels),
        ]
    )
    return Instance(sop_class, uid, EXPLICIT_LITTLE, data)


class WatchedScp:
    """What a test sees of the SCP: its port, disk, announcements and log."""

    def __init__(self, port: int, archive: Archive, announced: Announcements) -> None:
        self.port = port
        self.archive = archive
        self.announced = announced
        self.log: list[str] = []
        self.died: list[str] = []
        self._numbers = itertools.count(1)
        self.order(STUDY, SERIES)

    def order(self, study_uid: str, series_uid: str) -> None:
        """Somebody asks for a series."""
        asked = Dataset()
        asked.StudyInstanceUID, asked.SeriesInstanceUID = study_uid, series_uid
        self.archive.write_order(order_for(asked))

    def connect(self, patience_s: float = 10.0) -> Sender:
        return Sender(self.port, patience_s)

    def associated(self, *contexts: Context, patience_s: float = 10.0) -> Sender:
        return self.connect(patience_s).associate(*(contexts or (CT_CONTEXT,)))

    def ordered(self, pixels: int = 512, sop_class: str = CT) -> Instance:
        """A new instance that somebody asked for."""
        return plain_instance(next(self._numbers), pixels, SERIES, sop_class)

    def holds(self, instance: Instance, series_uid: str = SERIES) -> bool:
        """Whether it is announced; it is here byte for byte then."""
        if instance.sop_instance not in self.announced.uids:
            return False
        kept = self.archive.instance_path(series_uid, instance.sop_instance)
        meta = read_file_meta_info(kept)
        assert data_set_of(kept) == instance.data
        assert meta.MediaStorageSOPClassUID == instance.sop_class
        assert meta.TransferSyntaxUID == instance.syntax
        return True

    def takes(self, instance: Instance) -> None:
        """A good sender on an association of its own: the instance arrives."""
        with self.associated() as good:
            assert good.store(instance) == 0x0000
            good.release()
        wait_for(lambda: self.holds(instance))

    def stays_usable(self, sender: Sender) -> None:
        """The next instance on the same association arrives."""
        instance = self.ordered()
        assert sender.store(instance) == 0x0000
        sender.release()
        wait_for(lambda: self.holds(instance))

    def temporary_files(self) -> list[Path]:
        return [*self.archive.root.rglob("*.part"), *self.archive.root.rglob("*.whole")]


class Bystander(threading.Thread):
    """A good sender with an association of its own, at work as long as the bad one is."""

    def __init__(self, scp: WatchedScp) -> None:
        super().__init__(name="bystander")
        self._scp = scp
        self._sender = scp.associated()
        self._finishing = threading.Event()
        self.sent: list[Instance] = []
        self.statuses: list[int] = []
        self.released = False

    def run(self) -> None:
        with self._sender:
            while True:
                instance = self._scp.ordered()
                self.sent.append(instance)
                self.statuses.append(self._sender.store(instance))
                if self._finishing.wait(BYSTANDER_PAUSE_S):
                    break
            self._sender.release()
        self.released = True

    def finish(self) -> None:
        self._finishing.set()
        self.join()


@contextmanager
def watched(data: Path, **settings: object) -> Iterator[WatchedScp]:
    """An SCP with a bystander. On leaving, AssertionError if the bystander was disturbed, anything
    of a bad sender is left (handles, threads, temporary files), or the log quotes or blames us."""
    chosen, announced = new_settings(data, **settings), Announcements()
    with ExitStack() as stack:
        scp = WatchedScp(chosen.store_port, Archive(data), announced)
        stack.enter_context(_logging_to(scp))
        stack.enter_context(running(chosen, announced))
        handles, threads = _handles(), threading.active_count()
        bystander = Bystander(scp)
        bystander.start()
        try:
            yield scp
        finally:
            bystander.finish()
        _was_served(bystander, scp)
        wait_for(lambda: all(scp.holds(instance) for instance in bystander.sent))
        _settles(lambda: _handles() <= handles, "handles")
        _settles(lambda: threading.active_count() <= threads, "threads")
        _settles(lambda: not scp.temporary_files(), "temporary files")
    _log_is_clean(scp)


def _was_served(bystander: Bystander, scp: WatchedScp) -> None:
    refused = [status for status in bystander.statuses if status != 0x0000]
    said = [line for line in scp.log if "refused" in line][-5:]
    assert refused == [], f"{len(refused)} of the bystander's: {set(refused)}; {said}"
    assert bystander.released, "the bystander's association broke"


def _handles() -> int:
    # pynetdicom's senders leave cycles that hold their sockets
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def _settles(condition: Callable[[], bool], what: str) -> None:
    try:
        wait_for(condition, SETTLED_S)
    except AssertionError:
        threads = [thread.name for thread in threading.enumerate()]
        handles = sorted(map(os.path.realpath, Path("/proc/self/fd").iterdir()))
        raise AssertionError(f"{what} are left: {handles}, {threads}") from None


class _Lines(logging.Handler):
    """The log as the service writes it."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.setFormatter(logs.JsonFormatter("store_scp"))
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))


@contextmanager
def _logging_to(scp: WatchedScp) -> Iterator[None]:
    loggers = {name: logging.getLogger(name) for name in (*logs.QUIET, "")}
    levels = {name: logger.level for name, logger in loggers.items()}
    handler = _Lines(scp.log)
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        # a thread that dies of an exception prints it, values included, past the log
        patch.setattr(threading, "excepthook", lambda args: scp.died.append(str(args.exc_type)))
        logs.silence_libraries()
        loggers[""].addHandler(handler)
        loggers[""].setLevel(logging.INFO)
        yield
    loggers[""].removeHandler(handler)
    for name, level in levels.items():
        loggers[name].setLevel(level)


def _log_is_clean(scp: WatchedScp) -> None:
    text = "\n".join(scp.log)
    quoted = [uid for uid in (PLANTED, STUDY, SERIES, *scp.announced.uids) if uid in text]
    assert quoted == []
    assert scp.died == [], scp.died
    # what others send is no defect of ours: no exception may come up as one
    blamed = [line for line in scp.log if '"error":' in line]
    assert blamed == [], blamed[:3]
