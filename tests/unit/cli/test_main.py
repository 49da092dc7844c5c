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


@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), (["convert", "f", "-o", "o"], 2)])
def test_a_command_whose_extra_is_not_installed_says_so(words: list[str], code: int) -> None:
    """`--help` loads all commands; in the image of the command line there is no dcm2niix."""
    start = f"import sys; sys.modules['nibabel'] = None; sys.argv[1:] = {words}; "
    start += "from pacstream_cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "needs the extra `converter`" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
