"""The command line as a whole."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from pacstream_cli.main import COMMANDS, pacstream

LOADED = "import sys; from pacstream_cli.main import main; {act}; print('\\n'.join(sys.modules))"
HEAVY = {"numpy", "sqlalchemy", "pydicom", "pacstream_anonymizer.deidentifier", "pynetdicom"}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_where_the_table_says(name: str) -> None:
    command = pacstream.get_command(click.Context(pacstream), name)
    assert command is not None and command.name == name


def test_a_command_that_is_none_is_not_found() -> None:
    assert pacstream.get_command(click.Context(pacstream), "sys") is None


def test_asking_for_the_state_of_a_batch_loads_no_engine() -> None:
    act = "import pacstream_cli.commands_status"
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(act=act)], capture_output=True, text=True, check=True
    )
    assert HEAVY & set(done.stdout.split()) == set()
