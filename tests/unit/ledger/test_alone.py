"""Two ledgers never work on one database at the same time."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pacstream_ledger.alone import claim_on, wait_to_be_alone

HOLD = """
import sys, time
from pacstream_ledger.alone import wait_to_be_alone
claim = wait_to_be_alone(sys.argv[1])
print("alone", flush=True)
time.sleep(60)
"""


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'state' / 'ledger.db'}"


def test_a_second_ledger_waits_until_the_first_has_gone(tmp_path: Path) -> None:
    first = wait_to_be_alone(url_of(tmp_path))
    second = claim_on(url_of(tmp_path))
    assert not second.is_granted()
    granted = threading.Event()

    def wait() -> None:
        wait_to_be_alone(url_of(tmp_path), poll_s=0.01).release()
        granted.set()

    second.release()
    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not granted.wait(0.2)
    first.release()
    assert granted.wait(5)
    waiting.join()


def test_a_killed_ledger_leaves_nothing_that_keeps_the_next_one_out(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, url_of(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "alone\n"
        claim = claim_on(url_of(tmp_path))
        assert not claim.is_granted()
        holder.kill()
        holder.wait()
        assert claim.is_granted()
        claim.release()


def test_other_databases_are_other_ledgers(tmp_path: Path) -> None:
    one, other = (wait_to_be_alone(url_of(tmp_path / name)) for name in ("a", "b"))
    one.release()
    other.release()


def test_a_database_in_memory_needs_no_claim() -> None:
    with pytest.raises(ValueError, match="always alone"):
        claim_on("sqlite://")
