"""The store SCP that bad and unusual senders meet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.store_scp.watched import WatchedScp, watched

READ_S, IDLE_S = 1.0, 1.5
"""Time limits of the impatient one, short enough to wait for."""


@pytest.fixture
def scp(tmp_path: Path) -> Iterator[WatchedScp]:
    with watched(tmp_path / "data") as started:
        yield started


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[WatchedScp]:
    limits = {"store_read_timeout_s": READ_S, "store_idle_timeout_s": IDLE_S}
    with watched(tmp_path / "data", **limits) as started:
        yield started
