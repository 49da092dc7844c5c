"""A store SCP in a process of its own, whose memory can be told apart from the sender's.

`python -m tests.unit.store_scp.child DATA PORT` listens until its standard input ends, and writes
the SOP Instance UID of each announced instance on a line.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pacstream import logs
from pacstream.archive import Archive
from pacstream.messages import InstancesReceived
from tests.unit.store_scp.scp import Announcements, free_port, new_settings, running

ROOT = Path(__file__).parents[3]
MIB = 1 << 20


class Child:
    """The running process."""

    def __init__(self, process: subprocess.Popen[str], port: int, archive: Archive) -> None:
        self._process = process
        self.port = port
        self.archive = archive

    def memory(self, what: str) -> int:
        """MiB of the process now (`VmRSS`) or at most since its start (`VmHWM`)."""
        status = Path(f"/proc/{self._process.pid}/status").read_text("ascii")
        found = re.search(rf"{what}:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024 // MIB

    def forget_peak(self) -> None:
        """Let `VmHWM` begin anew (proc(5), clear_refs)."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def handles(self) -> int:
        return len(list(Path(f"/proc/{self._process.pid}/fd").iterdir()))

    def line(self) -> str:
        """The next line that it writes."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextmanager
def child(data: Path) -> Iterator[Child]:
    """A store SCP on this zone; AssertionError if it ends with an error."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.unit.store_scp.child", str(data), str(port)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        started = Child(process, port, Archive(data))
        assert started.line() == "listening"
        try:
            yield started
        finally:
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(60) == 0


def tell(message: InstancesReceived) -> None:
    for instance in message.instances:
        sys.stdout.write(f"{instance.sop_instance_uid}\n")
    sys.stdout.flush()


def main() -> None:
    logs.configure("store_scp")
    settings = new_settings(Path(sys.argv[1]), store_port=int(sys.argv[2]))
    with running(settings, Announcements(before=tell)):
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
