"""What the workers on one port know of each other: a board in memory that they share.

Each worker writes its own entry only, field by field, and a field is one aligned machine word: no
lock, so none that a killed process could keep.
"""

from __future__ import annotations

import ctypes
import socket
import time
from multiprocessing.context import SpawnContext
from typing import ClassVar

NOT_LISTENING, NO_BROKER, DISK_FULL, OK = range(4)
STATUSES = ("not listening", "waiting for the broker", "disk full", "ok")
"""The worse, the earlier; memory is made of zeros, so what says nothing does not listen."""

TURN_S = 1.0
"""Who has not looked at the port for so long is no reason for others to leave it connections."""


class Entry(ctypes.Structure):
    """One worker's. `turned_s`: when it last looked at the port, by the machine's one monotonic
    clock; 0: it does not listen."""

    _fields_: ClassVar = [
        ("turned_s", ctypes.c_double),
        ("connections", ctypes.c_long),
        ("associations", ctypes.c_long),
        ("queued", ctypes.c_long),
        ("status", ctypes.c_long),
    ]
    turned_s: float
    connections: int
    associations: int
    queued: int
    status: int

    def listens(self, within_s: float) -> bool:
        return self.turned_s > time.monotonic() - within_s

    def clear(self) -> None:
        """Of a worker that is dead."""
        ctypes.memset(ctypes.addressof(self), 0, ctypes.sizeof(self))


Board = ctypes.Array[Entry]


def new_board(context: SpawnContext, workers: int) -> Board:
    board: Board = context.RawArray(Entry, workers)
    return board


class Place:
    """What a supervisor gives a worker: the socket that listens already, and its entry."""

    def __init__(self, listener: socket.socket, board: Board, number: int) -> None:
        self.listener = listener
        self._board = board
        self._number = number

    @property
    def entry(self) -> Entry:
        return self._board[self._number]

    def is_next(self) -> bool:
        """Whether no worker that listens has fewer connections."""
        mine = self.entry.connections
        return all(mine <= other.connections or not other.listens(TURN_S) for other in self._board)
