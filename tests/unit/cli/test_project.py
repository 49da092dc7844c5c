"""`pacstream project`, and what a batch takes from its project."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pacstream.errors import InputError
from pacstream.keys import create_key, key_path, load_ring, rotate_key
from pacstream_anonymizer.shelf import Shelf, shipped
from pacstream_cli.main import pacstream
from pacstream_cli.projects import establish, terms_of

SECRET = "0badc0de" * 8


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PACSTREAM_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def said(*arguments: str) -> str:
    result = CliRunner().invoke(pacstream, ["project", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def a_profile(folder: Path, text: str) -> str:
    path = folder / "p.toml"
    path.write_text(text)
    return str(path)


def test_a_project_has_a_key_and_a_profile(data: Path) -> None:
    assert "backup" in said("create", "trial", "--profile", "strict")
    assert terms_of(data, "trial").profile == shipped("strict")
    assert terms_of(data, "trial").key_id == "1"
    shown = json.loads(said("show", "trial", "--json"))
    key = load_ring(data / "keys", "trial").key()
    assert shown["keys"] == {"1": key.check_value()}
    assert shown["profile"] == "strict"


def test_no_command_shows_a_secret(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = said("create", "trial")
    monkeypatch.setenv("PACSTREAM_KEY_OTHER", SECRET)
    told += said("create", "other") + said("rotate", "trial")
    for command in (("list",), ("list", "--json"), ("show", "trial"), ("show", "other", "--json")):
        told += said(*command)
    secrets = [*load_ring(data / "keys", "trial").secrets, bytes.fromhex(SECRET)]
    assert all(secret.hex() not in told for secret in secrets)
    assert "PACSTREAM_KEY_OTHER" in told
    assert not key_path(data / "keys", "other").exists()


def test_a_project_is_created_once_and_with_a_right_profile_only(
    data: Path, tmp_path: Path
) -> None:
    wrong = a_profile(tmp_path, "name = 'a b'\n")
    for arguments, says in (
        (("create", "trial", "--profile", wrong), "1 problem"),
        (("create", "trial", "--profile", "none"), "--profile none"),
        (("create", "a/b"), "letters"),
        (("rotate", "trial"), "no project"),
        (("show", "trial"), "no project"),
    ):
        with pytest.raises(InputError, match=says):
            said(*arguments)
    assert not data.exists()
    said("create", "trial")
    with pytest.raises(InputError, match="already"):
        said("create", "trial")


def test_a_rotated_key_is_for_new_batches_and_the_old_one_stays(data: Path) -> None:
    said("create", "trial")
    before = terms_of(data, "trial")
    assert "key 2" in said("rotate", "trial")
    assert (before.key_id, terms_of(data, "trial").key_id) == ("1", "2")
    assert len(json.loads(said("show", "trial", "--json"))["keys"]) == 2


def test_another_profile_holds_for_the_next_batch(data: Path, tmp_path: Path) -> None:
    said("create", "trial")
    said("set", "trial", "--profile", a_profile(tmp_path, "name = 'mine'\n"))
    assert terms_of(data, "trial").profile.name == "mine"
    assert terms_of(data, "trial", "strict").profile.name == "strict"


def test_a_project_that_only_has_a_key_is_known(data: Path) -> None:
    create_key(data / "keys", "old")
    assert said("list").splitlines() == ["old: 1 key, profile research"]
    assert "before projects had a date" in said("show", "old")
    said("set", "old", "--profile", "strict")
    assert terms_of(data, "old").profile.name == "strict"


def test_two_projects_do_not_share_keys_of_the_environment_by_accident(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACSTREAM_KEY_A_B", SECRET)
    said("create", "a-b")
    with pytest.raises(InputError, match="PACSTREAM_KEY_A_B"):
        said("create", "A_B")


def test_a_profile_may_name_the_key(data: Path, tmp_path: Path) -> None:
    create_key(data / "keys", "trial")
    rotate_key(data / "keys", "trial")
    first = a_profile(tmp_path, "name = 'p'\nkey_id = '1'\n")
    assert (terms_of(data, "trial").key_id, terms_of(data, "trial", first).key_id) == ("2", "1")
    with pytest.raises(InputError, match="key_id"):
        terms_of(data, "trial", a_profile(tmp_path, "name = 'p'\nkey_id = '3'\n"))


def test_terms_make_nothing_and_establishing_them_does_it_once(data: Path) -> None:
    terms = terms_of(data, "trial")
    assert not data.exists()
    for _ in range(2):
        establish(data, "trial", terms.text)
    assert Shelf(data).get("trial", terms.profile.digest) == terms.profile
    assert Shelf(data).names() == ["trial"]
    assert load_ring(data / "keys", "trial").ids == ("1",)


def test_the_profile_of_a_pacs_is_recognised(data: Path, tmp_path: Path) -> None:
    path = a_profile(tmp_path, "address = 'pacs1'\ncalled_aet = 'PACS'\n")
    with pytest.raises(InputError, match="--pacs-profile"):
        terms_of(data, "trial", path)
