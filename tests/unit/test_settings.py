"""Settings from the environment, and from files that it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacstream.errors import InputError
from pacstream.settings import load_settings


def test_a_secret_is_read_from_the_file_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("amqp://u:p@broker:5672/%2F\n")
    settings = load_settings({"PACSTREAM_AMQP_URL_FILE": str(tmp_path / "url")})
    assert settings.amqp_url == "amqp://u:p@broker:5672/%2F"


def test_an_empty_variable_names_no_file() -> None:
    assert load_settings({"PACSTREAM_AMQP_URL_FILE": ""}) == load_settings({})


def test_a_file_that_can_not_be_read_is_named_with_its_variable(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"PACSTREAM_LEDGER_URL_FILE: .*/none can't be read"):
        load_settings({"PACSTREAM_LEDGER_URL_FILE": str(tmp_path / "none")})


def test_a_setting_given_both_ways_is_refused(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("sqlite://")
    both = {"PACSTREAM_LEDGER_URL": "sqlite://", "PACSTREAM_LEDGER_URL_FILE": str(tmp_path / "url")}
    with pytest.raises(InputError, match="PACSTREAM_LEDGER_URL and PACSTREAM_LEDGER_URL_FILE"):
        load_settings(both)


def test_a_file_for_a_setting_that_there_is_not_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("1")
    with pytest.raises(InputError, match="PACSTREAM_NONE: no such setting"):
        load_settings({"PACSTREAM_NONE_FILE": str(tmp_path / "x")})


def test_what_a_file_says_is_in_no_error(tmp_path: Path) -> None:
    (tmp_path / "workers").write_text("hunter2")
    with pytest.raises(InputError) as raised:
        load_settings({"PACSTREAM_WORKERS_FILE": str(tmp_path / "workers")})
    assert "PACSTREAM_WORKERS" in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_projects_key_may_end_in_file(tmp_path: Path) -> None:
    assert load_settings({"PACSTREAM_KEY_MY_FILE": "0badc0de" * 8}) == load_settings({})
