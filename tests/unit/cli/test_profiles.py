"""PACS profiles: read with their errors' places, chosen, applied, written."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacstream.errors import InputError
from pacstream.messages import PacsNode, PacsProfile
from pacstream_cli.profiles import (
    Finding,
    ProfileFile,
    choose,
    path_of,
    read_profile,
    write_findings,
)

NODE = PacsNode(address="pacs1", port=104, called_aet="BIG PACS", calling_aet="PACSTREAM")


def written(folder: Path, text: str) -> Path:
    path = folder / "pacs.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_file_is_a_profile_of_defaults(tmp_path: Path) -> None:
    node = read_profile(written(tmp_path, "")).applied_to(NODE)
    assert node == NODE
    assert node.profile == PacsProfile()


def test_all_keys_of_the_profile_can_be_set(tmp_path: Path) -> None:
    text = """
    source = "dicomweb"
    retrieve = "wado-rs"
    web_url = "http://pacs1/dicom-web"
    relational = true
    unsupported_keys = ["SeriesDescription", "Modality"]
    result_limit = 500
    counts = false
    image_level = false
    uid_lists = false
    cancels = false
    move_works = false
    """
    profile = read_profile(written(tmp_path, text)).applied_to(NODE).profile
    assert profile == PacsProfile(
        source="dicomweb",
        retrieve="wado-rs",
        web_url="http://pacs1/dicom-web",
        relational=True,
        unsupported_keys=("SeriesDescription", "Modality"),
        result_limit=500,
        counts=False,
        image_level=False,
        uid_lists=False,
        cancels=False,
        move_works=False,
    )


def test_every_field_of_the_message_is_a_key_of_the_file() -> None:
    assert PacsProfile.model_fields.keys() <= ProfileFile.model_fields.keys()


def test_a_fallback_has_its_own_place_and_ways(tmp_path: Path) -> None:
    text = """
    [fallback]
    address = "archive2"
    port = 11112
    called_aet = "OLD"
    counts = false
    """
    second = read_profile(written(tmp_path, text)).applied_to(NODE).fallback
    assert second is not None
    assert (second.address, second.port, second.called_aet) == ("archive2", 11112, "OLD")
    assert second.calling_aet == NODE.calling_aet
    assert second.profile == PacsProfile(counts=False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("counts = perhaps", "line 1"),
        ("counts = true\ncolour = 'red'\n", "line 2, colour: unknown key"),
        ("\n# counts\ncounts = 7\n", "line 3, counts: "),
        ("result_limit = 0", "line 1, result_limit: "),
        ("retrieve = 'fax'", "line 1, retrieve: "),
        ("counts = true\n\n[fallback]\nport = 1\n", "line 3, fallback.address: "),
        (
            "[fallback]\naddress='a'\nport = 70000\ncalled_aet='B'\n",
            "line 3, fallback.port: ",
        ),
        ("unsupported_keys = [\n 'A',\n 3,\n]", "line 1, unsupported_keys: "),
        ("fallback.port = 'x'\nfallback.address='a'\nfallback.called_aet='B'", "line 1, fallback"),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_key(
    tmp_path: Path, text: str, says: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError) as raised:
        read_profile(path)
    assert str(path) in str(raised.value)
    assert says in str(raised.value)


def test_a_missing_file_and_wrong_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such profile"):
        read_profile(tmp_path / "none.toml")
    path = tmp_path / "latin.toml"
    path.write_bytes(b'web_url = "\xff"')
    with pytest.raises(InputError, match="not UTF-8"):
        read_profile(path)


def test_the_profile_in_the_data_folder_is_found_by_the_called_title(tmp_path: Path) -> None:
    path = path_of(tmp_path, NODE.called_aet)
    path.parent.mkdir()
    path.write_text("counts = false")
    chosen = choose(tmp_path, NODE)
    assert chosen.path == path
    assert not chosen.file.counts


def test_a_title_never_leads_out_of_the_folder(tmp_path: Path) -> None:
    for title in ("../../etc/x", "..", "a/b", "."):
        assert path_of(tmp_path, title).parent == tmp_path / "pacs"


def test_without_any_profile_the_defaults_hold(tmp_path: Path) -> None:
    chosen = choose(tmp_path, NODE)
    assert chosen.path is None
    assert chosen.file.applied_to(NODE) == NODE


def test_the_profile_of_another_pacs_with_the_same_title_is_left_out_and_said(
    tmp_path: Path,
) -> None:
    path = path_of(tmp_path, NODE.called_aet)
    path.parent.mkdir()
    path.write_text("address = 'pacs9'\ncounts = false")
    chosen = choose(tmp_path, NODE)
    assert chosen.file.counts
    assert "another PACS" in chosen.note


def test_a_named_profile_of_another_pacs_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "port = 105")
    with pytest.raises(InputError, match="another PACS"):
        choose(tmp_path, NODE, path)


def test_findings_are_written_with_what_was_seen_and_the_date(tmp_path: Path) -> None:
    path = tmp_path / "pacs" / "x.toml"
    findings = [
        Finding("counts", False, "none told"),
        Finding("unsupported_keys", ("Modality",), "Modality ignored"),
        Finding("measured.instance_ms", 2.5, "16 by C-MOVE"),
    ]
    write_findings(path, NODE, findings, "2026-11-23")
    read = read_profile(path)
    assert (read.address, read.port, read.called_aet) == ("pacs1", 104, "BIG PACS")
    assert (read.counts, read.unsupported_keys) == (False, ("Modality",))
    assert read.measured.instance_ms == 2.5
    assert "counts = false # 2026-11-23: none told" in path.read_text()


def test_what_people_wrote_stays_when_findings_are_written_again(tmp_path: Path) -> None:
    text = (
        "# ask Ada before changing\n"
        'retrieve = "c-get" # agreed with Ada\n'
        "counts = true # 2020-01-01: told\n"
        "\n[fallback]\naddress = 'old'\nport = 104\ncalled_aet = 'OLD'\n"
    )
    path = written(tmp_path, text)
    findings = [Finding("counts", False, "none"), Finding("relational", True, "found")]
    write_findings(path, NODE, findings, "2026-11-23")
    after = path.read_text()
    assert "# ask Ada before changing\n" in after
    assert 'retrieve = "c-get" # agreed with Ada' in after
    assert "counts = false # 2026-11-23: none" in after
    read = read_profile(path)
    assert (read.retrieve, read.relational, read.counts) == ("c-get", True, False)
    assert read.fallback is not None


def test_findings_never_overwrite_the_profile_of_another_pacs(tmp_path: Path) -> None:
    path = written(tmp_path, "address = 'pacs9'\n")
    with pytest.raises(InputError, match="another PACS"):
        write_findings(path, NODE, [Finding("counts", False, "none")], "2026-11-23")
    assert path.read_text() == "address = 'pacs9'\n"
