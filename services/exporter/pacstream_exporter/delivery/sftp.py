"""SFTP: files under their paths. One has its name there only when it was read back whole."""

from __future__ import annotations

import contextlib
import hashlib
import posixpath
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pacstream.archive import PART_SUFFIX
from pacstream.errors import InputError, RetryLaterError
from pacstream_exporter.delivery.credentials import Credentials
from pacstream_exporter.delivery.destination import SftpServer
from pacstream_exporter.delivery.inventory import Item, digest_of
from pacstream_exporter.delivery.outcome import (
    Deliveries,
    Delivery,
    Evidence,
    State,
    all_failed,
    failed,
)

try:
    import paramiko
except ImportError:
    raise InputError(
        "sftp:// needs the extra `sftp`: pip install 'pacstream[sftp]'", code="missing_extra"
    ) from None

CHUNK = 1 << 18
AT_ONCE = 200
"""Files for one connection."""


class SftpCarrier:
    """`replace`: also what lies there with other content."""

    instances_only = False
    asked = frozenset({Evidence.CHECKSUM})

    def __init__(
        self,
        destination: SftpServer,
        credentials: Credentials,
        *,
        replace: bool,
        timeout_s: float,
        connection_timeout_s: float,
    ) -> None:
        self._server = destination
        self._credentials = credentials
        self._replace = replace
        self._timeout_s = timeout_s
        self._connection_timeout_s = connection_timeout_s

    def check(self) -> None:
        """A connection, with a host key that is known, and a folder that can be had."""
        try:
            with self._connected() as sftp:
                _make_folders(sftp, self._server.path)
        except OSError as error:
            raise InputError(f"sftp://: the path can't be had ({type(error).__name__})") from None

    def lots(self, items: Sequence[Item], jobs: int) -> Iterator[Sequence[Item]]:
        size = max(1, min(AT_ONCE, -(-len(items) // jobs)))
        return (items[start : start + size] for start in range(0, len(items), size))

    def send(self, items: Sequence[Item]) -> Deliveries:
        left = list(items)
        try:
            with self._connected() as sftp:
                while left:
                    yield self._put(sftp, left[0])
                    del left[0]
        except InputError:
            yield from all_failed(left, "access_denied")
        except (RetryLaterError, paramiko.SSHException, EOFError, OSError):
            yield from all_failed(left, "destination_unreachable", again=True)

    def _put(self, sftp: Any, item: Item) -> Delivery:
        target = posixpath.join(self._server.path, item.name)
        try:
            digest = digest_of(item.path)
        except OSError:
            return failed(item, "unreadable")
        try:
            there = _digest_there(sftp, target, item.size)
            if there == digest:
                return Delivery(item, State.DELIVERED, evidence=Evidence.CHECKSUM, was_there=True)
            if there is not None and not self._replace:
                return failed(item, "other_content_there")
            return self._write(sftp, item, target, digest)
        except PermissionError:
            return failed(item, "access_denied")
        except (TimeoutError, ConnectionError):
            raise
        except OSError:
            # The server's own word for a full disk and much else (SSH_FX_FAILURE).
            return failed(item, "out_of_resources", again=True)

    def _write(self, sftp: Any, item: Item, target: str, digest: str) -> Delivery:
        folder = posixpath.dirname(target)
        _make_folders(sftp, folder)
        # The same name in each run: what a killed one left is written over.
        part = posixpath.join(folder, f".{digest[:16]}{PART_SUFFIX}")
        with item.path.open("rb") as source, sftp.open(part, "wb") as file:
            file.set_pipelined(True)
            while chunk := source.read(CHUNK):
                file.write(chunk)
        if _digest_there(sftp, part, item.size) != digest:
            sftp.remove(part)
            return failed(item, "content_differs", again=True)
        sftp.posix_rename(part, target)
        return Delivery(item, State.DELIVERED, evidence=Evidence.CHECKSUM)

    def verify(self, sent: Iterable[Delivery]) -> Iterator[Delivery]:
        """What an earlier run has sent: looked at again."""
        yield from self.send([one.item for one in sent])

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        """Raises InputError if the host key is unknown or we are not let in, RetryLaterError if
        there is no connection."""
        own = self._credentials
        client = paramiko.SSHClient()
        _load_host_keys(client, own.known_hosts)
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        with client:
            with _refusals_told():
                client.connect(
                    self._server.host,
                    port=self._server.port,
                    username=self._server.user or own.user or None,
                    password=own.password or None,
                    key_filename=own.key_file or None,
                    timeout=self._connection_timeout_s,
                    banner_timeout=self._connection_timeout_s,
                    auth_timeout=self._timeout_s,
                    allow_agent=not (own.password or own.key_file),
                    look_for_keys=not (own.password or own.key_file),
                )
            sftp: Any = client.open_sftp()
            sftp.get_channel().settimeout(self._timeout_s)
            yield sftp


@contextlib.contextmanager
def _refusals_told() -> Iterator[None]:
    """What is wrong, and what to do, for each way in which a connection fails."""
    try:
        yield
    except paramiko.BadHostKeyException:
        raise InputError("sftp://: the server's host key is not the one that is known") from None
    except paramiko.AuthenticationException:
        raise InputError("sftp://: the server does not let us in: user, key, password") from None
    except paramiko.SSHException as error:
        if "not found in known_hosts" in str(error):
            raise InputError(
                "sftp://: the server's host key is not known; check it, then add it to "
                "known_hosts (ssh-keyscan)"
            ) from None
        raise RetryLaterError(
            f"no SSH connection ({type(error).__name__})", code="destination_unreachable"
        ) from None
    except OSError as error:
        raise RetryLaterError(
            f"no connection ({type(error).__name__})", code="destination_unreachable"
        ) from None


def _load_host_keys(client: Any, known_hosts: str) -> None:
    try:
        if known_hosts:
            client.load_host_keys(str(Path(known_hosts).expanduser()))
        else:
            client.load_system_host_keys()
    except (OSError, paramiko.SSHException):
        raise InputError("sftp://: the file of known hosts can't be read") from None


def _digest_there(sftp: Any, path: str, size: int) -> str | None:
    """SHA-256 of a file there, by reading it; None if there is none, empty if its size differs."""
    try:
        found = sftp.stat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode or 0) or found.st_size != size:
        return ""
    digest = hashlib.sha256()
    with sftp.open(path, "rb") as file:
        file.prefetch(size)
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _make_folders(sftp: Any, folder: str) -> None:
    """Raises OSError."""
    missing = []
    while folder not in ("", "/"):
        try:
            sftp.stat(folder)
            break
        except FileNotFoundError:
            missing.append(folder)
            folder = posixpath.dirname(folder)
    for one in reversed(missing):
        try:
            sftp.mkdir(one)
        except OSError:
            # Another connection of ours may have been quicker.
            sftp.stat(one)
