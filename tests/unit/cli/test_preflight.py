"""Before a --move: whether the PACS can send there, and whether the destination can be asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pacstream.archive import Archive
from pacstream.messages import Actions
from pacstream.settings import Settings
from pacstream_cli.preflight import check_destination
from pacstream_cli.submission import Submission, Wishes, prepare
from tests.fakes.datasets import make_series
from tests.fakes.pacs import Behaviour, FakePacs
from tests.unit.store_scp.scp import Announcements, new_settings, running

IMAGES = make_series(instances=3)


@pytest.fixture
def open_here() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def moving(tmp_path: Path, open_here: ExitStack, **destination: object) -> Submission:
    """A batch of one row that a PACS sends to DEST, which takes everything."""
    store = new_settings(tmp_path / "dest")
    Archive(store.data).admit(IMAGES[0].StudyInstanceUID, IMAGES[0].SeriesInstanceUID, "")
    open_here.enter_context(running(store, Announcements()))
    destinations = {"DEST": ("127.0.0.1", store.store_port)}
    pacs = open_here.enter_context(FakePacs(IMAGES, destinations=destinations))
    config = {
        "server_address": "127.0.0.1",
        "port": pacs.port,
        "server_AET": pacs.aet,
        "AET": "PACSTREAM",
        "move_AET": "DEST",
        "move_port": 4006,
        "batch_size": 30,
        "batch_wait_time": 0,
        **destination,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "queries.csv").write_text(f"PatientID\n{IMAGES[0].PatientID}\n")
    wishes = Wishes(
        queryfile=tmp_path / "queries.csv",
        config=tmp_path / "config.json",
        out=tmp_path / "out",
        actions=Actions(move=True),
    )
    return prepare(wishes, tmp_path)


def said(submission: Submission, tmp_path: Path) -> str:
    return check_destination(submission, Settings(data=tmp_path, dimse_timeout_s=5))


def test_a_destination_that_answers_is_said_to(tmp_path: Path, open_here: ExitStack) -> None:
    third = open_here.enter_context(FakePacs(IMAGES, aet="DEST"))
    submission = moving(
        tmp_path, open_here, move_query_address="127.0.0.1", move_query_port=third.port
    )
    assert "delivers to DEST" in said(submission, tmp_path)
    assert "it answers C-FIND" in said(submission, tmp_path)


def test_a_destination_that_refuses_stops_nothing_and_is_said(
    tmp_path: Path, open_here: ExitStack
) -> None:
    refusing = Behaviour(refuse_levels={"IMAGE": 0xC001})
    third = open_here.enter_context(FakePacs(IMAGES, aet="DEST", behaviour=refusing))
    submission = moving(
        tmp_path, open_here, move_query_address="127.0.0.1", move_query_port=third.port
    )
    sentence = said(submission, tmp_path)
    assert "find_refused_C001" in sentence
    assert "counters" in sentence


def test_without_an_address_the_counters_are_said_to_be_all(
    tmp_path: Path, open_here: ExitStack
) -> None:
    assert "no move_query_address" in said(moving(tmp_path, open_here), tmp_path)
