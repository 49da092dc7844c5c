"""A whole pacstream on this machine, used only through its command line."""

from __future__ import annotations

import csv
import json
import os
import shutil
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.data import Instance, Manifest
from demo.pacs import Pacs
from pacstream.settings import Settings
from pacstream_cli.stack import Stack

PACSTREAM = str(Path(sys.executable).with_name("pacstream"))
AET = "PACSTREAM"


def run_cli(data: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`pacstream ARGUMENTS` with its data folder at `data`."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith("PACSTREAM_")}
    return subprocess.run(
        [PACSTREAM, *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        env={
            **keep,
            "PACSTREAM_DATA": str(data),
            "PACSTREAM_ROUND_PAUSE_S": "1",
            "PACSTREAM_RETRY_DELAYS_MS": "500,2000,5000",
            **environment,
        },
    )


def write_config(path: Path, pacs: Pacs, move_port: int, **changes: object) -> Path:
    content: dict[str, object] = {
        "server_address": pacs.address,
        "port": str(pacs.port),
        "server_AET": pacs.aet,
        "AET": AET,
        "move_AET": AET,
        "move_port": move_port,
        "batch_size": "30",
        "batch_wait_time": 0,
    }
    content.update(changes)
    path.write_text(json.dumps({key: value for key, value in content.items() if value != ""}))
    return path


def write_queries(path: Path, rows: Iterable[dict[str, str]]) -> Path:
    rows = list(rows)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


@dataclass
class Line:
    """`data`: the stack's data folder; the stack is up."""

    data: Path
    move_port: int

    def submit(self, folder: Path, pacs: Pacs, rows: list[dict[str, str]], *flags: str) -> str:
        """Submit a batch with results in `folder`/out; returns its id."""
        folder.mkdir(parents=True, exist_ok=True)
        queries = write_queries(folder / "queries.csv", rows)
        config = write_config(folder / "config.json", pacs, self.move_port)
        done = run_cli(
            self.data, "submit", str(queries), "--config", str(config), *flags,
            "-d", str(folder / "out"),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def status(self, batch_id: str) -> dict[str, Any]:
        done = run_cli(self.data, "status", batch_id, "--json")
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def wait(self, batch_id: str) -> int:
        return run_cli(self.data, "watch", batch_id).returncode

    def report(self, batch_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(run_cli(self.data, "report", batch_id, "--json").stdout)
        return answer

    def kill(self, process: str) -> None:
        """kill -9 of one process of the stack."""
        pids = [p.pid for p in self.stack().processes() if p.name == process and p.pid]
        assert pids, f"{process} does not run"
        os.kill(pids[0], 9)

    def stack(self) -> Stack:
        return Stack(Settings(data=self.data))

    def forget_images(self) -> None:
        """As if nothing had ever been retrieved: the next batch has to move everything."""
        shutil.rmtree(self.data / "incoming", ignore_errors=True)


def until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition was never met"
        time.sleep(0.05)


def encoded_dataset(path: Path) -> bytes:
    """The bytes after the file meta information (PS3.10 section 7.1)."""
    content = path.read_bytes()
    assert content[128:132] == b"DICM"
    assert content[132:136] == b"\x02\x00\x00\x00"
    (length,) = struct.unpack("<I", content[140:144])
    return content[144 + length :]


def originals(out: Path) -> list[Path]:
    """Every saved instance below the originals' folders."""
    return [
        path
        for subject in out.glob("sub-*")
        for path in subject.rglob("*")
        if path.is_file() and path.parent.parent.parent == subject and path.suffix != ".csv"
        and not path.name.endswith((".json", ".gz", ".bval", ".bvec", ".png"))
    ]  # fmt: skip


def assert_exactly(out: Path, wanted: list[Instance]) -> None:
    """Every wanted instance once, byte for byte, series by series; nothing else."""
    by_uid = {instance.sop_instance_uid: instance for instance in wanted}
    files = originals(out)
    uids = [path.name.split(".", 1)[1] for path in files]
    assert Counter(uids) == Counter(by_uid.keys())
    folders: dict[Path, set[str]] = {}
    for path, uid in zip(files, uids, strict=True):
        instance = by_uid[uid]
        assert encoded_dataset(path) == encoded_dataset(instance.path)
        folders.setdefault(path.parent, set()).add(instance.series_uid)
        assert path.parent.name.startswith(f"{int(instance.series_number or 0):05d}-")
    assert all(len(series) == 1 for series in folders.values())
    assert len(folders) == len({instance.series_uid for instance in wanted})
    subjects: dict[str, set[str]] = {}
    for path, uid in zip(files, uids, strict=True):
        subjects.setdefault(path.parents[2].name, set()).add(by_uid[uid].patient_id)
    assert all(len(patients) == 1 for patients in subjects.values())


def released(out: Path) -> list[Path]:
    return [path for path in (out / "release").rglob("*.dcm") if path.is_file()]


def select(manifest: Manifest, **fields: str) -> list[Instance]:
    """The manifest's instances whose fields have these values."""
    return [
        instance
        for instance in manifest.instances
        if all(getattr(instance, name) == value for name, value in fields.items())
    ]
