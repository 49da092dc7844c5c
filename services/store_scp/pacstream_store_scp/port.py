"""Who listens on a TCP port of this machine (Linux, /proc)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
LISTENING = "0A"


class Holder(NamedTuple):
    pid: int
    name: str


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
            found.append(Holder(int(folder.name), (folder / "comm").read_text().strip()))
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
