"""Storage SCPs that take the same images: DCMTK's, Orthanc, pynetdicom's application, and ours.

Each is started once and stays up; between two runs it forgets its images.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import requests

from bench.images import WrittenSeries
from bench.line import BusEar
from bench.processes import Spawned, cpu_seconds
from bench.tools import BenchError
from demo.pacs import OrthancPacs, dcmtk_environment, free_port
from pacstream.archive import Archive
from pacstream.messages import Actions, InstancesReceived, Order, Series
from pacstream_cli.supervision import http_health

SETTLE_S = 60.0
QUIET_S = 0.1
LARGEST_CHANGE = 4096
"""Bytes by which a stored file may differ from the sent one: file meta, lengths, padding."""


class Receiver(ABC):
    """A running SCP with an AE title and a port."""

    def __init__(self, name: str, aet: str, folder: Path) -> None:
        self.name = name
        self.aet = aet
        self.port = free_port()
        self.folder = folder / aet
        self.folder.mkdir(parents=True)

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self) -> None: ...

    @property
    @abstractmethod
    def pids(self) -> Sequence[int]: ...

    @abstractmethod
    def expect(self, series: Sequence[WrittenSeries]) -> None:
        """Forget all images; these come next."""

    @abstractmethod
    def stored(self) -> tuple[int, int]:
        """Number and bytes of the files that are whole."""

    def cpu(self) -> float:
        return cpu_seconds(self.pids)

    def settle(self, series: Sequence[WrittenSeries]) -> None:
        """Wait until all is stored and the work behind it is done. Raises BenchError if not."""
        images, size = sum(one.images for one in series), sum(one.size for one in series)
        deadline = time.monotonic() + SETTLE_S
        while (count := self.stored()[0]) != images:
            if time.monotonic() > deadline:
                raise BenchError(f"{self.name}: {count} images are there, not {images}")
            time.sleep(0.05)
        difference = abs(self.stored()[1] - size)
        if difference > LARGEST_CHANGE * images:
            raise BenchError(f"{self.name}: the files' sizes differ by {difference} bytes")
        time.sleep(QUIET_S)


class FolderReceiver(Receiver):
    """A command that writes one file an image into a folder."""

    def __init__(
        self, name: str, aet: str, folder: Path, command: Sequence[str], *, nodelay: bool = False
    ) -> None:
        super().__init__(name, aet, folder)
        self._out = self.folder / "out"
        self._command = [*command, "-aet", aet, "-od", str(self._out), str(self.port)]
        self._environ = dcmtk_environment(nodelay=nodelay)

    def start(self) -> None:
        self._out.mkdir()
        self._process = Spawned(self._command, self._environ, self.folder / "log.txt")
        self._process.wait_until(lambda: _listens(self.port))

    def stop(self) -> None:
        self._process.stop()

    @property
    def pids(self) -> Sequence[int]:
        return [self._process.pid]

    def expect(self, series: Sequence[WrittenSeries]) -> None:
        for path in self._out.iterdir():
            path.unlink()

    def stored(self) -> tuple[int, int]:
        return _count(self._out)


class SinkReceiver(FolderReceiver):
    """Takes and answers everything, and keeps nothing: what the senders can do at most."""

    def settle(self, series: Sequence[WrittenSeries]) -> None:
        """The senders have their answers; there is nothing to look at."""
        if self.stored()[0]:
            raise BenchError(f"{self.name}: it keeps files")
        time.sleep(QUIET_S)


class OrthancReceiver(Receiver):
    def __init__(self, name: str, aet: str, folder: Path, senders: Sequence[str]) -> None:
        super().__init__(name, aet, folder)
        self._orthanc = OrthancPacs(
            self.folder / "orthanc", {}, clients=senders, aet=aet, nodelay=True
        )
        self.port = self._orthanc.port
        self._session = requests.Session()
        self._session.trust_env = False

    def start(self) -> None:
        self._orthanc.start()

    def stop(self) -> None:
        self._session.close()
        self._orthanc.stop()

    @property
    def pids(self) -> Sequence[int]:
        return [self._orthanc.pid]

    def expect(self, series: Sequence[WrittenSeries]) -> None:
        for patient in self._session.get(f"{self._orthanc.http_url}/patients", timeout=60).json():
            url = f"{self._orthanc.http_url}/patients/{patient}"
            self._session.delete(url, timeout=60).raise_for_status()

    def stored(self) -> tuple[int, int]:
        told = self._session.get(f"{self._orthanc.http_url}/statistics", timeout=60).json()
        return int(told["CountInstances"]), int(told["TotalUncompressedSize"])


class OurReceiver(Receiver):
    """The store SCP service with a broker that has queues and no consumers.

    `ear` hears what is announced.
    """

    def __init__(
        self,
        name: str,
        aet: str,
        folder: Path,
        amqp_url: str,
        ear: BusEar[InstancesReceived],
        *,
        module: str = "pacstream_store_scp",
        announces: bool = True,
        **settings: str,
    ) -> None:
        super().__init__(name, aet, folder)
        self._archive = Archive(self.folder / "data")
        self._ear = ear
        self._announced: list[str] = []
        self._announces = announces
        self._command = [sys.executable, "-m", module]
        self._http_port = free_port()
        self._process: Spawned | None = None
        keep = {name: text for name, text in os.environ.items() if not name.startswith("PACSTREAM")}
        told = {"data": str(self._archive.root), "amqp_url": amqp_url, "store_aet": aet}
        told |= {"store_port": str(self.port), "http_port": str(self._http_port), **settings}
        self._environ = keep | {f"PACSTREAM_{key.upper()}": text for key, text in told.items()}

    def start(self) -> None:
        self._process = Spawned(self._command, self._environ, self.folder / "log.txt")
        self._process.wait_until(partial(_is_healthy, self._http_port))

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    @property
    def pids(self) -> Sequence[int]:
        return [] if self._process is None else [self._process.pid]

    def expect(self, series: Sequence[WrittenSeries]) -> None:
        """The folders and order files stay: the service may keep handles on them."""
        for path in self._archive.incoming.glob("*/*.dcm"):
            path.unlink()
        for one in series:
            if self._archive.read_order(one.series_uid) is None:
                self._archive.write_order(_order(one))
        self._ear.heard()
        self._announced = []

    def stored(self) -> tuple[int, int]:
        counts = [_count(folder) for folder in self._archive.incoming.iterdir()]
        return sum(count for count, _ in counts), sum(size for _, size in counts)

    def settle(self, series: Sequence[WrittenSeries]) -> None:
        if self._announces:
            self._wait_for_announcements(series)
        super().settle(series)

    def _wait_for_announcements(self, series: Sequence[WrittenSeries]) -> None:
        wanted = {uid for one in series for uid in one.sop_instance_uids}
        deadline = time.monotonic() + SETTLE_S
        while set(self._announced) != wanted:
            if time.monotonic() > deadline:
                raise BenchError(f"{self.name}: {len(self._announced)} images were announced")
            time.sleep(0.05)
            for message in self._ear.heard():
                self._announced += [one.sop_instance_uid for one in message.instances]
        if len(self._announced) != len(wanted):
            raise BenchError(f"{self.name}: images were announced twice")


@contextlib.contextmanager
def started(receivers: Sequence[Receiver]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for receiver in receivers:
            stack.callback(receiver.stop)
            receiver.start()
        yield


def _order(series: WrittenSeries) -> Order:
    return Order(
        batch_id="bench-receive",
        series=Series(
            study_uid=series.study_uid, series_uid=series.series_uid, patient_id=series.patient_id
        ),
        actions=Actions(anonymize=True),
        out="out", subject="sub-1", session="ses-1", folder="1", release_folder="1",
    )  # fmt: skip


def _count(folder: Path) -> tuple[int, int]:
    """Number and bytes of the files that are no order file and not temporary."""
    with os.scandir(folder) as entries:
        sizes = [
            entry.stat().st_size
            for entry in entries
            if not entry.name.startswith(".") and entry.name != "order.json"
        ]
    return len(sizes), sum(sizes)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _is_healthy(port: int) -> bool:
    return http_health("127.0.0.1", port) == "ok"
