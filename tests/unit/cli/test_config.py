"""The PACS configuration in PACSMAN's and in PACSIFIER's form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pacstream.errors import InputError
from pacstream_cli.config import ConfigError, PacsConfig, read_config

SEED = {
    "server_ip": "127.0.0.1",
    "port": "4242",
    "server_AET": "ORTHANC",
    "AET": "PACSTREAM",
    "move_AET": "DEST",
    "move_port": "4006",
    "batch_size": "30",
    "batch_wait_time": "10",
}


def config(tmp_path: Path, changes: dict[str, object], *without: str) -> PacsConfig:
    content = {key: value for key, value in (SEED | changes).items() if key not in without}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return read_config(path)


def problems(tmp_path: Path, changes: dict[str, object], *without: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        config(tmp_path, changes, *without)
    return raised.value.problems


def test_pacsmans_form_with_numbers_as_text_is_read(tmp_path: Path) -> None:
    assert config(tmp_path, {}) == PacsConfig(
        address="127.0.0.1",
        port=4242,
        server_aet="ORTHANC",
        aet="PACSTREAM",
        move_aet="DEST",
        move_port=4006,
        batch_size=30,
        batch_wait_time=10.0,
    )


def test_pacsifiers_form_with_numbers_is_read(tmp_path: Path) -> None:
    changes = {"server_address": "pacs1", "port": 104, "batch_size": 1, "batch_wait_time": 0.5}
    read = config(tmp_path, changes, "server_ip")
    assert (read.address, read.port, read.batch_size, read.batch_wait_time) == (
        "pacs1",
        104,
        1,
        0.5,
    )


def test_the_node_has_the_titles_of_both_sides(tmp_path: Path) -> None:
    node = config(tmp_path, {}).node()
    assert (node.address, node.port) == ("127.0.0.1", 4242)
    assert (node.called_aet, node.calling_aet) == ("ORTHANC", "PACSTREAM")


@pytest.mark.parametrize(
    "address",
    [
        "localhost",
        "pacs1",
        "pacs.hospital.example",
        "10.0.0.255",
        "::1",
        "pacs-1.example",
        "3com.example",
    ],
)
def test_hosts_and_addresses_are_accepted(tmp_path: Path, address: str) -> None:
    assert config(tmp_path, {"server_ip": address}).address == address


@pytest.mark.parametrize(
    "address",
    [
        "1.2.3.4.5",
        "127.0.0.a",
        "127.a.0.1",
        "127.0.0.1a",
        "127..0.1",
        "127.0.0.",
        "127.0.0.1000",
        "256.0.0.1",
        "127.0.1",
        "12345",
        "two words",
        "pacs..example",
        "-pacs",
        "http://pacs",
        "1:2:3",
        "",
        17,
        None,
    ],
)
def test_what_is_no_host_is_refused(tmp_path: Path, address: object) -> None:
    (problem,) = problems(tmp_path, {"server_ip": address})
    assert problem.startswith("server_ip: ")


@pytest.mark.parametrize("key", ["port", "move_port"])
@pytest.mark.parametrize("value", [0, -2, 65536, "0", "4242a", "", 4.5, True, None, [1]])
def test_a_wrong_port_is_refused(tmp_path: Path, key: str, value: object) -> None:
    (problem,) = problems(tmp_path, {key: value})
    assert problem.startswith(f"{key}: ")


@pytest.mark.parametrize("key", ["server_AET", "AET", "move_AET"])
@pytest.mark.parametrize("value", ["", "  ", "A" * 17, "A\\B", "A\nB", "Ä", 5, None])
def test_a_wrong_title_is_refused(tmp_path: Path, key: str, value: object) -> None:
    (problem,) = problems(tmp_path, {key: value})
    assert problem.startswith(f"{key}: ")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("batch_size", 0),
        ("batch_size", "30y"),
        ("batch_size", 1.5),
        ("batch_wait_time", -1),
        ("batch_wait_time", "10y"),
        ("batch_wait_time", "nan"),
        ("batch_wait_time", "inf"),
        ("batch_wait_time", True),
    ],
)
def test_a_wrong_pause_is_refused(tmp_path: Path, key: str, value: object) -> None:
    (problem,) = problems(tmp_path, {key: value})
    assert problem.startswith(f"{key}: ")


def test_all_problems_are_listed_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path, {"port": 0, "colour": "red", "AET": ""}, "move_AET", "server_ip")
    assert [problem.split(":")[0] for problem in found] == [
        "colour",
        "server_address",
        "move_AET",
        "port",
        "AET",
    ]


def test_both_names_of_the_address_are_one_too_many(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, {"server_address": "pacs1"})
    assert problem == "server_ip and server_address: give only one of them"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"port": 1,\n "AET" 2}', "line 2, column 8"),
        ("", "line 1, column 1"),
        ("[1]", "one JSON object"),
        ('{"port": 1, "port": 2}', "twice: port"),
    ],
)
def test_what_is_no_json_object_is_refused_with_its_place(
    tmp_path: Path, content: str, says: str
) -> None:
    path = tmp_path / "config.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=says):
        read_config(path)


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(SEED), encoding="utf-8-sig")
    assert read_config(path).server_aet == "ORTHANC"


def test_bytes_that_are_not_utf_8_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b'{"AET": "\xff"}')
    with pytest.raises(InputError, match="not UTF-8"):
        read_config(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such configuration file"):
        read_config(tmp_path / "none.json")
    with pytest.raises(InputError, match="is a folder"):
        read_config(tmp_path)


def test_the_profile_key_is_optional_and_starts_at_the_configurations_folder(
    tmp_path: Path,
) -> None:
    assert config(tmp_path, {}).profile is None
    assert config(tmp_path, {"profile": "pacs/x.toml"}).profile == tmp_path / "pacs" / "x.toml"
    assert config(tmp_path, {"profile": "/etc/x.toml"}).profile == Path("/etc/x.toml")


@pytest.mark.parametrize("value", ["", " ", 7, None, ["x.toml"]])
def test_a_profile_that_is_no_path_is_refused(tmp_path: Path, value: object) -> None:
    (problem,) = problems(tmp_path, {"profile": value})
    assert problem.startswith("profile: ")


# The destination of --move


WHERE: dict[str, object] = {"move_query_address": "third.example", "move_query_port": "11113"}


def test_the_destination_is_asked_by_its_title_as_destination(tmp_path: Path) -> None:
    node = config(tmp_path, WHERE).destination_node()
    assert node is not None
    assert (node.address, node.port) == ("third.example", 11113)
    assert (node.called_aet, node.calling_aet) == ("DEST", "PACSTREAM")


def test_the_destination_may_answer_by_another_title(tmp_path: Path) -> None:
    node = config(tmp_path, {**WHERE, "move_query_AET": "ASKDEST"}).destination_node()
    assert node is not None
    assert node.called_aet == "ASKDEST"


def test_a_destination_without_an_address_is_not_asked(tmp_path: Path) -> None:
    assert config(tmp_path, {}).destination_node() is None


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"move_query_address": "third"}, ["move_query_port"]),
        ({"move_query_port": 104}, ["move_query_address"]),
        ({"move_query_AET": "X"}, ["move_query_address", "move_query_port"]),
        ({**WHERE, "move_query_address": "two words"}, ["move_query_address"]),
        ({**WHERE, "move_query_port": 0}, ["move_query_port"]),
        ({**WHERE, "move_query_AET": "A" * 17}, ["move_query_AET"]),
    ],
)
def test_a_place_of_the_destination_is_whole_and_valid_or_refused(
    tmp_path: Path, changes: dict[str, object], wrong: list[str]
) -> None:
    assert [problem.split(":")[0] for problem in problems(tmp_path, changes)] == wrong
