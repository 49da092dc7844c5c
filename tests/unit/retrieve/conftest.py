"""One retrieve process per test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pacstream.archive import Archive
from pacstream.associations import Associations
from pacstream.settings import Settings
from tests.unit.retrieve.asking import Bench
from tests.unit.store_scp.scp import Announcements, new_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return new_settings(
        tmp_path / "data",
        connection_timeout_s=5.0,
        response_timeout_s=5.0,
        idle_timeout_s=5.0,
        move_deadline_s=60.0,
    )


@pytest.fixture
def archive(settings: Settings) -> Archive:
    return Archive(settings.data)


@pytest.fixture
def bench(settings: Settings, archive: Archive) -> Iterator[Bench]:
    associations = Associations(limit=2, timeout_s=5.0, connection_timeout_s=5.0)
    yield Bench(settings, archive, associations, Announcements())
    associations.close_all()
