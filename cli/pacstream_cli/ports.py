"""TCP ports of one data folder, so that several stacks can run on one machine.

The ports lie in 20000 to 31999, below the range from which Linux takes local ports of outgoing
connections. Where the search starts depends on the folder's path alone; what was chosen is recorded
and used again while it is free.
"""

from __future__ import annotations

import hashlib
import itertools
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ConfigDict, RootModel, ValidationError

from pacstream.errors import InputError

FIRST, LAST = 20000, 31999
BLOCK = 48
"""Ports between two possible starts of a search; a stack with some replicas uses about 20."""


class Ports(RootModel[dict[str, int]]):
    """Port numbers by name: amqp, management, epmd, distribution, store, and one a process."""

    model_config = ConfigDict(frozen=True)

    def __getitem__(self, name: str) -> int:
        return self.root[name]

    def get(self, name: str) -> int | None:
        return self.root.get(name)


def start_of(data: Path) -> int:
    """Where the search for the ports of a data folder starts."""
    digest = hashlib.blake2s(bytes(data.absolute()), person=b"pacsport").digest()
    blocks = (LAST - FIRST + 1) // BLOCK
    block: int = int.from_bytes(digest[:8]) % blocks
    return FIRST + block * BLOCK


def is_free(port: int, host: str = "0.0.0.0") -> bool:
    """Whether nothing listens on `port` at `host`; connections in TIME_WAIT do not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port(start: int, taken: Iterable[int] = ()) -> int:
    """The first free port from `start` on that is not in `taken`; the range is a ring.

    Raises InputError if none is left.
    """
    avoid = set(taken)
    for port in itertools.chain(range(start, LAST + 1), range(FIRST, start)):
        if port not in avoid and is_free(port):
            return port
    raise InputError(f"no TCP port between {FIRST} and {LAST} is free", code="no_free_port")


def holder_of(port: int) -> str | None:
    """Name and pid of the process that listens on `port`; None if nothing does."""
    import psutil  # for this refusal only

    for connection in psutil.net_connections(kind="tcp"):
        local = tuple(connection.laddr)
        if connection.status == psutil.CONN_LISTEN and local[1:] == (port,):
            return _named(connection.pid)
    return None


def _named(pid: int | None) -> str:
    import psutil

    if pid is None:
        return "a process of another user"
    try:
        return f"{psutil.Process(pid).name()} (pid {pid})"
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return f"pid {pid}"


def require_free(port: int, host: str, what: str) -> None:
    """Raises InputError naming `port` and its holder if something listens there already."""
    if not is_free(port, host):
        holder = holder_of(port) or "nobody that can be seen"
        raise InputError(
            f"port {port} ({what}) can't be used at {host}: it is held by {holder}",
            code="port_in_use",
        )


def reserve(port: int, host: str) -> socket.socket:
    """Keep `port` from being chosen by another stack until the store SCP listens on it.

    The SCP shares its port (SO_REUSEPORT), so without this two stacks that start at once would
    share it too and each get half of the other's instances. The socket never listens; close it
    when the SCP does.
    """
    for lingering in (False, True):
        holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if lingering:
            # Connections of the last stack in TIME_WAIT; such a hold does not show in `is_free`.
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind((host, port))
        except OSError:
            holder.close()
        else:
            return holder
    require_free(port, host, "store SCP")
    raise InputError(f"port {port} was taken just now", code="port_in_use")


def read_ports(path: Path) -> Ports:
    """What was chosen before; empty if nothing was or the file can't be understood."""
    try:
        return Ports.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return Ports({})


def assign(
    names: Iterable[str], start: int, recorded: Ports, fixed: Mapping[str, int] | None = None
) -> Ports:
    """A port for each name: the fixed one, else the recorded one if it is free, else a new one."""
    chosen: dict[str, int] = dict(fixed or {})
    searched = [name for name in names if name not in chosen]
    for name in searched:
        port = recorded.get(name)
        if port is not None and port not in chosen.values() and is_free(port):
            chosen[name] = port
    for name in searched:
        if name not in chosen:
            chosen[name] = free_port(start, chosen.values())
    return Ports(chosen)
