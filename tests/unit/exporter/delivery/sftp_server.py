"""An SSH server in this process with SFTP below one folder (paramiko's server side)."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paramiko

USER, PASSWORD = "karl", "s3cret"


@dataclass
class SftpFolder:
    """`spoils`: the first bytes of so many written files are changed by the disk."""

    root: Path
    spoils: int = 0
    cuts: int = 0
    """So many connections end at their first write."""
    key: Any = field(default_factory=lambda: paramiko.ECDSAKey.generate())
    port: int = 0
    connections: int = 0

    def known_hosts(self, path: Path, key: Any = None) -> Path:
        one = key or self.key
        path.write_text(f"[127.0.0.1]:{self.port} {one.get_name()} {one.get_base64()}\n")
        return path


class _Door(paramiko.ServerInterface):  # type: ignore[misc]
    def check_auth_password(self, username: str, password: str) -> int:
        right = (username, password) == (USER, PASSWORD)
        return int(paramiko.AUTH_SUCCESSFUL if right else paramiko.AUTH_FAILED)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)


class _Handle(paramiko.SFTPHandle):  # type: ignore[misc]
    folder: SftpFolder
    transport: Any

    def write(self, offset: int, data: bytes) -> int:
        if self.folder.cuts:
            self.folder.cuts -= 1
            self.transport.close()
            return int(paramiko.SFTP_FAILURE)
        if self.folder.spoils and offset == 0:
            self.folder.spoils -= 1
            data = bytes([data[0] ^ 1]) + data[1:]
        return int(super().write(offset, data))


class _Files(paramiko.SFTPServerInterface):  # type: ignore[misc]
    def __init__(self, server: Any, folder: SftpFolder, transport: Any) -> None:
        super().__init__(server)
        self._folder = folder
        self._transport = transport

    def _real(self, path: str) -> Path:
        return self._folder.root / str(self.canonicalize(path)).lstrip("/")

    def _done(self, action: Any) -> Any:
        try:
            return action()
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)

    def stat(self, path: str) -> Any:
        return self._done(lambda: paramiko.SFTPAttributes.from_stat(self._real(path).stat()))

    lstat = stat

    def mkdir(self, path: str, attr: Any) -> Any:
        return self._done(lambda: self._real(path).mkdir()) or paramiko.SFTP_OK

    def remove(self, path: str) -> Any:
        return self._done(lambda: self._real(path).unlink()) or paramiko.SFTP_OK

    def posix_rename(self, oldpath: str, newpath: str) -> Any:
        moved = self._done(lambda: self._real(oldpath).replace(self._real(newpath)))
        return moved if isinstance(moved, int) else paramiko.SFTP_OK

    def open(self, path: str, flags: int, attr: Any) -> Any:
        def opened() -> Any:
            number = os.open(self._real(path), flags, 0o644)
            write = bool(flags & (os.O_WRONLY | os.O_RDWR))
            handle = _Handle(flags)
            handle.folder, handle.transport = self._folder, self._transport
            file = os.fdopen(number, "wb" if write else "rb")
            handle.filename = path
            handle.readfile = handle.writefile = file
            return handle

        return self._done(opened)


@contextmanager
def serving(folder: SftpFolder) -> Iterator[SftpFolder]:
    listener = socket.create_server(("127.0.0.1", 0))
    folder.port = listener.getsockname()[1]
    transports: list[Any] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            folder.connections += 1
            transport = paramiko.Transport(connection)
            transport.add_server_key(folder.key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _Files, folder, transport)
            transports.append(transport)
            try:
                transport.start_server(server=_Door())
            except (paramiko.SSHException, EOFError):
                continue

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield folder
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for transport in transports:
            transport.close()
