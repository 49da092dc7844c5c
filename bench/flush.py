"""How a group of new files becomes durable fastest: the store SCP's way beside the others.

python -m bench.flush [--files 64] [--bytes 131000] [--groups 8] [--rounds 5] [--folder FOLDER]

The folder decides: it has to be on the disk that the archive is on, or will be.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.rounds import Contender, print_conditions, print_table, run_interleaved, timed
from pacstream.archive import flush_folder
from pacstream.durable import start_write_back

OURS = "write-back, then fdatasync"

Flush = Callable[[Sequence[int]], None]


def fsync_each(handles: Sequence[int]) -> None:
    for handle in handles:
        os.fsync(handle)


def fdatasync_each(handles: Sequence[int]) -> None:
    for handle in handles:
        os.fdatasync(handle)


def write_back_first(handles: Sequence[int]) -> None:
    start_write_back(handles)
    fdatasync_each(handles)


def syncfs(handles: Sequence[int]) -> None:
    """Everything that the file system holds, whoever has written it."""
    if ctypes.CDLL(None, use_errno=True).syncfs(handles[0]):
        raise OSError(ctypes.get_errno(), "syncfs")


def nothing(handles: Sequence[int]) -> None:
    """What writing and renaming alone take: no durability."""


METHODS: dict[str, Flush] = {
    OURS: write_back_first,
    "fdatasync each": fdatasync_each,
    "fsync each": fsync_each,
    "syncfs": syncfs,
    "no flush": nothing,
}


def commit(folder: Path, content: bytes, files: int, flush: Flush) -> None:
    """Write a group, flush it, give the files their names, flush the folder."""
    parts = [folder / f".{number}.part" for number in range(files)]
    handles = []
    try:
        for part in parts:
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            handles.append(handle)
            os.write(handle, content)
        flush(handles)
    finally:
        for handle in handles:
            os.close(handle)
    for part in parts:
        part.rename(folder / uuid.uuid4().hex)
    if flush is not nothing:
        flush_folder(folder)


def contender(name: str, flush: Flush, root: Path, wanted: argparse.Namespace) -> Contender:
    content = os.urandom(wanted.bytes)

    def commit_groups(folder: Path) -> None:
        for _ in range(wanted.groups):
            commit(folder, content, wanted.files, flush)

    def run() -> float:
        with tempfile.TemporaryDirectory(dir=root) as folder:
            return timed(lambda: commit_groups(Path(folder)))

    return Contender(name, run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=64, help="of a group")
    parser.add_argument("--bytes", type=int, default=131_000, help="of a file: one MR image")
    parser.add_argument("--groups", type=int, default=8, help="in a run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path.cwd())
    wanted = parser.parse_args()
    if not hasattr(ctypes.CDLL(None), "syncfs"):
        sys.exit("this bench needs syncfs (Linux)")
    print_conditions("before")
    with tempfile.TemporaryDirectory(dir=wanted.folder, prefix=".bench-flush-") as name:
        contenders = [
            contender(method, flush, Path(name), wanted) for method, flush in METHODS.items()
        ]
        run_interleaved(contenders, wanted.rounds)
    title = f"{wanted.groups} groups of {wanted.files} files of {wanted.bytes} bytes"
    print_table(title, contenders, OURS, wanted.groups * wanted.files)
    print_conditions("after")


if __name__ == "__main__":
    main()
