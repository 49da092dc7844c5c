"""A TCP port of this machine: opened for several processes, and who has it (Linux, /proc)."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import NamedTuple

from pynetdicom.transport import AddressInformation

from pacstream.errors import InputError

PROC = Path("/proc")
LISTENING = "0A"
BACKLOG = 128
STORE_PORT, HTTP_PORT = "PACSTREAM_STORE_PORT", "PACSTREAM_HTTP_PORT"


class Holder(NamedTuple):
    pid: int
    parent: int
    name: str


def open_port(host: str, port: int, siblings: set[int]) -> socket.socket:
    """A socket that listens, and does not block. Raises InputError if others have the port.

    `siblings` (process ids), their workers and later ones share the port: the kernel spreads the
    connections over all sockets that listen.
    """
    # The kernel would share the port with the store SCP of another zone without a word.
    if any(not siblings & {holder.pid, holder.parent} for holder in holders(port)):
        raise port_taken(STORE_PORT, port)
    try:
        return _listening(host, port)
    except OSError as error:
        raise not_listening(error, STORE_PORT, port) from None


def port_taken(variable: str, port: int) -> InputError:
    """The error that names a taken port and, where /proc tells, who has it."""
    by = ", ".join(f"{holder.name} (pid {holder.pid})" for holder in holders(port))
    return InputError(
        f"port {port} ({variable}) is taken" + (f" by {by}" if by else ""), code="port_taken"
    )


def not_listening(error: OSError, variable: str, port: int) -> InputError:
    """Why a port can't be listened on."""
    if error.errno == errno.EADDRINUSE:
        return port_taken(variable, port)
    reason = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return InputError(f"can't listen on port {port} ({variable}): {reason}", code="port_unusable")


def _listening(host: str, port: int) -> socket.socket:
    address = AddressInformation.from_tuple((host, port))
    listener = socket.socket(address.address_family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        # Workers race for a connection: whoever comes late is not to wait for the next one.
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def holders(port: int) -> list[Holder]:
    """The processes that listen on `port`, as far as this user may see them."""
    sockets = _listening_sockets(port)
    return [holder for holder in _processes() if sockets & _sockets_of(holder.pid)]


def _listening_sockets(port: int) -> set[str]:
    found: set[str] = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (PROC / "net" / table).read_text("ascii").splitlines()[1:]
        except OSError:
            continue  # no /proc, or no IPv6
        for line in lines:
            fields = line.split()
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found


def _processes() -> list[Holder]:
    found: list[Holder] = []
    for folder in PROC.glob("[0-9]*"):
        try:
            name, _, rest = (folder / "stat").read_text().partition(" (")[2].rpartition(") ")
            found.append(Holder(int(folder.name), int(rest.split()[1]), name))
        except OSError:
            continue  # it has ended
    return found


def _sockets_of(pid: int) -> set[str]:
    found: set[str] = set()
    try:
        for entry in (PROC / str(pid) / "fd").iterdir():
            found.add(str(entry.readlink()))
    except OSError:
        return found  # it has ended, or belongs to another user
    return found
