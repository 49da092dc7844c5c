"""Keys of projects: made once, found in files and in the environment, rotated, never shown."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pacstream.errors import InputError, RejectedError
from pacstream.keys import create_key, load_key, load_ring, rotate_key, variable_of
from pacstream.pseudonyms import ProjectKey
from pacstream.settings import load_settings

SECRET = "0badc0de" * 8


def test_a_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    create_key(keys, "trial-1")
    first = load_key(keys, "trial-1")
    create_key(keys, "trial-1")
    assert load_key(keys, "trial-1") == first
    assert keys.stat().st_mode & 0o777 == 0o700
    assert (keys / "trial-1.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in keys.iterdir()] == ["trial-1.key"]


def test_many_at_once_agree_on_one_key(tmp_path: Path) -> None:
    def made(_: int) -> ProjectKey:
        create_key(tmp_path / "keys", "p")
        return load_key(tmp_path / "keys", "p")

    with ThreadPoolExecutor(8) as pool:
        assert len({key.secret for key in pool.map(made, range(32))}) == 1


@pytest.mark.parametrize("name", ["", "../x", "a b", "a/b", "x" * 65, "ü"])
def test_a_project_name_that_is_no_name_makes_no_key(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        create_key(tmp_path / "keys", name)
    assert not (tmp_path / "keys").exists()


def test_a_missing_and_a_broken_key_are_rejected_with_their_codes(tmp_path: Path) -> None:
    with pytest.raises(RejectedError) as missing:
        load_key(tmp_path, "p")
    (tmp_path / "p.key").write_text("abcd")
    with pytest.raises(RejectedError) as broken:
        load_key(tmp_path, "p")
    assert (missing.value.code, broken.value.code) == (
        "project_key_missing",
        "project_key_unreadable",
    )


def test_rotation_adds_a_key_and_keeps_the_others(tmp_path: Path) -> None:
    create_key(tmp_path, "p")
    first = load_key(tmp_path, "p")
    assert rotate_key(tmp_path, "p") == "2"
    ring = load_ring(tmp_path, "p")
    assert (ring.ids, ring.current_id) == (("1", "2"), "2")
    assert ring.key("1") == ring.key() == load_key(tmp_path, "p") == first
    assert ring.key("2").pseudonym("4711") != first.pseudonym("4711")
    assert (tmp_path / "p.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["p.key"]


def test_rotations_at_once_lose_no_key(tmp_path: Path) -> None:
    create_key(tmp_path, "p")
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: rotate_key(tmp_path, "p"), range(16)))
    assert sorted(map(int, ids)) == list(range(2, 18))
    assert len(set(load_ring(tmp_path, "p").secrets)) == 17


@pytest.mark.parametrize("key_id", ["2", "0", "01", "x", "-1"])
def test_an_id_that_the_project_has_not_is_a_missing_key(tmp_path: Path, key_id: str) -> None:
    create_key(tmp_path, "p")
    with pytest.raises(RejectedError) as raised:
        load_key(tmp_path, "p", key_id)
    assert raised.value.code == "project_key_missing"


def test_rotation_of_a_project_without_key_is_refused(tmp_path: Path) -> None:
    for keys in (tmp_path / "none", tmp_path):
        with pytest.raises(RejectedError, match="no key"):
            rotate_key(keys, "p")
    assert list(tmp_path.iterdir()) == []


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    create_key(tmp_path, "trial-1")
    in_file = load_ring(tmp_path, "trial-1", {})
    given = load_ring(tmp_path, "trial-1", {"PACSTREAM_KEY_TRIAL_1": f"{SECRET} {'ab' * 32}\n"})
    assert given.secrets == (bytes.fromhex(SECRET), bytes([0xAB]) * 32)
    assert (in_file.source, given.source) == ("file", "PACSTREAM_KEY_TRIAL_1")
    assert in_file.secrets != given.secrets


def test_the_environment_may_name_a_mounted_file(tmp_path: Path) -> None:
    mounted = tmp_path / "secret"
    mounted.write_text(SECRET)
    environ = {variable_of("p"): str(mounted)}
    assert load_ring(tmp_path / "keys", "p", environ).key().secret.hex() == SECRET
    with pytest.raises(RejectedError, match="no key"):
        load_ring(tmp_path, "p", {variable_of("p"): str(tmp_path / "none")})


def test_where_the_environment_has_the_keys_none_is_made_or_added(tmp_path: Path) -> None:
    environ = {variable_of("p"): SECRET}
    assert not create_key(tmp_path, "p", environ)
    with pytest.raises(InputError, match="PACSTREAM_KEY_P"):
        rotate_key(tmp_path, "p", environ)
    assert list(tmp_path.iterdir()) == []


def test_a_key_in_the_environment_is_no_setting(tmp_path: Path) -> None:
    settings = load_settings({"PACSTREAM_KEY_P": SECRET, "PACSTREAM_DATA": str(tmp_path)})
    assert SECRET not in repr(settings)


@pytest.mark.parametrize("text", [SECRET[:-2], SECRET + " 12", SECRET + "zz", "geheim"])
def test_a_broken_key_is_not_quoted(tmp_path: Path, text: str) -> None:
    with pytest.raises(RejectedError) as raised:
        load_ring(tmp_path, "p", {variable_of("p"): text})
    told = f"{raised.value} {raised.value.__cause__} {raised.value.__context__}"
    assert raised.value.code == "project_key_unreadable"
    assert not any(word in told for word in text.split())


def test_no_repr_shows_a_secret(tmp_path: Path) -> None:
    ring = load_ring(tmp_path, "p", {variable_of("p"): SECRET})
    shown = f"{ring!r} {ring.key()!r} {ring} {ring.key()}"
    assert SECRET not in shown
    assert repr(bytes.fromhex(SECRET)) not in shown
