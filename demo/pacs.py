"""Real PACS servers, private to the `with` block that starts them: Orthanc and DCMTK's dcmqrscp.

Both listen on free ports below 32768, so that no outgoing connection of this machine can have taken
them, and both know the given C-MOVE destinations only.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

Destinations = Mapping[str, tuple[str, int]]
"""C-MOVE destinations: AE title -> (address, port)."""

START_LIMIT_S = 30.0
STOP_LIMIT_S = 10.0


class PacsFailedError(RuntimeError):
    """A server ended early, does not answer, or refused a file."""


def free_port() -> int:
    """A TCP port between 20000 and 32000 that nobody listens on now."""
    generator = random.SystemRandom()
    while True:
        port = generator.randrange(20000, 32000)
        with socket.socket() as candidate:
            try:
                candidate.bind(("", port))
            except OSError:
                continue
            return port


class Pacs(ABC):
    """A server process with its files below `folder`.

    As shipped, DCMTK and Orthanc leave Nagle's algorithm on, which costs about 40 ms an instance;
    `nodelay` switches it off by the variable that DCMTK reads.
    """

    address = "127.0.0.1"

    def __init__(
        self, folder: Path, destinations: Destinations, *, aet: str, nodelay: bool = False
    ) -> None:
        self.folder = folder.absolute()
        self.destinations = dict(destinations)
        self.aet = aet
        self.port = free_port()
        self._nodelay = nodelay
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def load(self, paths: Iterable[Path]) -> int:
        """Put files into the PACS; the number of instances that went in."""

    @abstractmethod
    def _command(self) -> list[str]:
        """Write the configuration; the command that starts the server."""

    def start(self) -> None:
        """Start the server and wait until it answers a C-ECHO."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = self._command()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=dcmtk_environment(nodelay=self._nodelay),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server and all its children; does nothing if it has ended."""
        if self._process is None:
            return
        _signal_group(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _signal_group(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Of the running server."""
        if self._process is None:
            raise PacsFailedError(f"{self.aet} is not running")
        return self._process.pid

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while not self._answers():
            if self._process is None or self._process.poll() is not None:
                raise PacsFailedError(f"{self.aet} ended at once:\n{self._log_tail()}")
            if time.monotonic() > deadline:
                raise PacsFailedError(f"{self.aet} does not answer:\n{self._log_tail()}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        echo = ["echoscu", "-to", "2", "-aet", "PACSTREAM", "-aec", self.aet]
        return not subprocess.run(
            [*echo, self.address, str(self.port)],
            env=dcmtk_environment(nodelay=True),
            capture_output=True,
            check=False,
        ).returncode

    def _log_tail(self) -> str:
        lines = self._log.read_text("utf-8", "replace").splitlines()
        return "\n".join(lines[-15:])


class OrthancPacs(Pacs):
    """Orthanc, filled over its REST interface. Queries and moves are only taken from this machine,
    by the destinations' AE titles and those in `clients`."""

    def __init__(
        self,
        folder: Path,
        destinations: Destinations,
        *,
        clients: Iterable[str] = (),
        aet: str = "ORTHANC",
        nodelay: bool = False,
    ) -> None:
        super().__init__(folder, destinations, aet=aet, nodelay=nodelay)
        self._clients = tuple(clients)
        self._http_port = free_port()

    @property
    def http_url(self) -> str:
        """Of the REST interface."""
        return f"http://127.0.0.1:{self._http_port}"

    def load(self, paths: Iterable[Path]) -> int:
        return post_instances(self.http_url, paths)

    def _command(self) -> list[str]:
        path = self.folder / "orthanc.json"
        path.write_text(json.dumps(self._configuration(), indent=1), "utf-8")
        return [_program("Orthanc"), str(path)]

    def _configuration(self) -> dict[str, object]:
        known = {f"client{n}": [aet, "127.0.0.1", 104] for n, aet in enumerate(self._clients)}
        known |= {aet: [aet, *place] for aet, place in self.destinations.items()}
        return {
            "Name": "pacstream demo",
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "StorageCompression": False,
            "Plugins": [],
            "HttpPort": self._http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAet": self.aet,
            "DicomPort": self.port,
            "DicomCheckCalledAet": True,
            "DicomCheckModalityHost": True,
            "DicomAlwaysAllowStore": False,
            "DicomModalities": known,
            "LimitFindResults": 0,
            "LimitFindInstances": 0,
            "SynchronousCMove": True,
            "SaveJobs": False,
        }


class DcmqrscpPacs(Pacs):
    """DCMTK's dcmqrscp, filled by copying into its storage area; takes C-STORE if `writable`.

    It uses one transfer syntax for each class of an association and has no codecs: it sends
    uncompressed instances only, and reports failed sub-operations for the others.
    """

    def __init__(
        self,
        folder: Path,
        destinations: Destinations,
        *,
        aet: str = "DCMQRSCP",
        nodelay: bool = False,
        writable: bool = False,
    ) -> None:
        super().__init__(folder, destinations, aet=aet, nodelay=nodelay)
        self._access = "RW" if writable else "R"
        self._area = self.folder / "storage"
        self._stored = 0

    def load(self, paths: Iterable[Path]) -> int:
        copies: list[Path] = []
        for path in paths:
            copies.append(self._area / f"{self._stored + len(copies):06d}.dcm")
            shutil.copyfile(path, copies[-1])
        for start in range(0, len(copies), 500):
            indexed = subprocess.run(
                ["dcmqridx", str(self._area), *map(str, copies[start : start + 500])],
                capture_output=True,
                check=False,
            )
            if indexed.returncode:
                raise PacsFailedError(f"dcmqridx ends with exit code {indexed.returncode}")
        self._stored += len(copies)
        return len(copies)

    def _command(self) -> list[str]:
        self._area.mkdir(exist_ok=True)
        hosts = [
            f"host{n} = ({aet}, {address}, {port})"
            for n, (aet, (address, port)) in enumerate(self.destinations.items())
        ]
        configuration = self.folder / "dcmqrscp.cfg"
        configuration.write_text(
            "MaxPDUSize = 131072\nMaxAssociations = 64\n"
            "HostTable BEGIN\n" + "\n".join(hosts) + "\nHostTable END\n"
            "VendorTable BEGIN\nVendorTable END\n"
            "AETable BEGIN\n"
            f"{self.aet} {self._area} {self._access} (500, 1024mb) ANY\n"
            "AETable END\n",
            "utf-8",
        )
        command = [_program("dcmqrscp"), "--config", str(configuration), "--disable-host-lookup"]
        return [*command, str(self.port)]


def post_instances(http_url: str, paths: Iterable[Path]) -> int:
    """Put files into an Orthanc over its REST interface; how many there were."""
    count = 0
    with requests.Session() as session:
        session.trust_env = False  # a proxy has no business here
        for path in paths:
            answer = session.post(f"{http_url}/instances", data=path.read_bytes(), timeout=60)
            if not answer.ok:
                raise PacsFailedError(f"Orthanc refuses {path.name}: {answer.status_code}")
            count += 1
    return count


def dcmtk_environment(*, nodelay: bool) -> dict[str, str]:
    """This process's environment, with Nagle's algorithm on or off in DCMTK's programs."""
    environment = {name: value for name, value in os.environ.items() if name != "TCP_NODELAY"}
    return environment | {"TCP_NODELAY": "1"} if nodelay else environment


def _program(name: str) -> str:
    """The program's path; Debian keeps servers in /usr/sbin, which few users have on their PATH."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise PacsFailedError(f"{name} is not installed (scripts/install)")
    return found


def _signal_group(leader: int, number: signal.Signals) -> None:
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        return
