"""`pacstream fake-pacs`: what it is told, what it says, what it serves."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from pynetdicom import AE

from pacstream.errors import InputError
from pacstream_cli.commands_fake import fake_pacs
from pacstream_cli.fake_pacs.behaviour import ALWAYS, Behaviour
from pacstream_cli.fake_pacs.wishes import (
    MISBEHAVIOURS,
    read_behaviour,
    read_destination,
    read_size,
)
from tests.fakes.datasets import make_series
from tests.fakes.pacs import STUDY_ROOT_FIND

RUN = "from pacstream_cli.commands_fake import fake_pacs; fake_pacs()"


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The command in a process of its own, and its first two lines."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, "--port", "0", *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process, [process.stdout.readline(), process.stdout.readline()]
    finally:
        process.kill()
        process.communicate()


def test_made_up_images_are_served_until_a_signal() -> None:
    with running("--generate", "2x3x4", "--aet", "TRIAL") as (process, [first, _]):
        found = re.fullmatch(r"TRIAL at 127.0.0.1:(\d+): (.*)\n", first)
        assert found is not None
        assert found[2] == "2 patients, 6 series, 24 images"
        ae = AE("ME")
        ae.add_requested_context(STUDY_ROOT_FIND)
        association = ae.associate("127.0.0.1", int(found[1]), ae_title="TRIAL")
        assert association.is_established
        association.release()
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=10)

    assert (process.returncode, said) == (0, "stopped\n")


def test_images_of_a_folder_are_served_and_other_files_left_out(tmp_path: Path) -> None:
    for instance in make_series(instances=2):
        instance.save_as(tmp_path / f"{instance.SOPInstanceUID}.dcm", enforce_file_format=True)
    (tmp_path / "notes.txt").write_text("no image")
    with running("--images", str(tmp_path)) as (_, [first, _]):
        assert first.endswith("1 patients, 1 series, 2 images\n")


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(fake_pacs, ["--images", str(tmp_path)])
    assert isinstance(done.exception, InputError)


def test_the_help_lists_every_misbehaviour() -> None:
    text = CliRunner().invoke(fake_pacs, ["--help"]).output
    for one in MISBEHAVIOURS:
        assert one.example in text


@pytest.mark.parametrize("example", [one.example for one in MISBEHAVIOURS])
def test_each_example_of_the_list_changes_the_behaviour(example: str) -> None:
    assert read_behaviour([example]) != Behaviour()


def test_wishes_add_up() -> None:
    wished = read_behaviour(["drop=1/5", "slow=10", "abort=3", "limit=100:A700", "duplicates"])

    assert wished == Behaviour(
        drop_every=5,
        slow=10.0,
        abort_after=3,
        abort_times=ALWAYS,
        limits={"STUDY": 100, "SERIES": 100, "IMAGE": 100},
        limit_status=0xA700,
        duplicate_answers=True,
    )


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ("sleepy", "sleepy"),
        ("drop", "needs a value"),
        ("drop=5", "1/5"),
        ("drop=1/0", "1/5"),
        ("stall=soon", "whole number"),
        ("slow=0.5", "factor"),
        ("charset=klingon", "GB18030"),
        ("ignore=PatientsID", "keywords"),
        ("limit=10:A900", "A700"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused_by_name(wish: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        read_behaviour([wish])


@pytest.mark.parametrize("text", ["3x2", "0x1x1", "axbxc", "1x1x1x1", ""])
def test_a_size_is_three_numbers(text: str) -> None:
    with pytest.raises(InputError):
        read_size(text)


@pytest.mark.parametrize("text", ["PACSTREAM", "A=b", "A=b:0", "A=b:70000", "=b:1", "A" * 17])
def test_a_destination_is_a_title_and_an_address(text: str) -> None:
    assert read_destination("PACSTREAM=127.0.0.1:11112") == ("PACSTREAM", ("127.0.0.1", 11112))
    with pytest.raises(InputError):
        read_destination(text)
