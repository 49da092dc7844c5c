"""`pacstream profile check`, `show` and `diff`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pacstream.errors import InputError
from pacstream_anonymizer.shelf import shipped
from pacstream_cli.main import pacstream
from tests.unit.anonymizer.instances import an_instance, saved
from tests.unit.anonymizer.pictures import a_picture


def said(*arguments: str) -> str:
    result = CliRunner().invoke(pacstream, ["profile", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def a_profile(folder: Path, text: str) -> str:
    path = folder / "p.toml"
    path.write_text(text)
    return str(path)


def test_check_names_profile_and_digest(tmp_path: Path) -> None:
    assert shipped("strict").digest in said("check", "strict")
    path = a_profile(tmp_path, "name = 'mine'\n")
    assert "profile mine" in said("check", path)


def test_check_gives_all_problems(tmp_path: Path) -> None:
    path = a_profile(tmp_path, "name = 'mine'\na = 1\nb = 2\n")
    with pytest.raises(InputError) as raised:
        said("check", path)
    assert getattr(raised.value, "problems", None) == [
        "line 2, a: unknown key, remove it",
        "line 3, b: unknown key, remove it",
    ]


def test_show_gives_the_text_or_the_content() -> None:
    assert "# The default" in said("show", "research")
    content = json.loads(said("show", "pacsman", "--json"))
    assert content["digest"] == shipped("pacsman").digest
    assert content["rules"][0]["reason"]


def test_diff_tells_options_attributes_and_rules(tmp_path: Path) -> None:
    rule = "\n[[rules]]\ntags=['(0018,1030)']\naction='remove'\nreason='r'\n"
    path = a_profile(tmp_path, "name = 'mine'\nmodalities = ['MR']\n" + rule)
    differences = json.loads(said("diff", "strict", path, "--json"))
    assert differences["settings"] == {"modalities": ["[]", '["MR"]']}
    assert list(differences["attributes"]) == ["(0018,1030)"]
    assert differences["attributes"]["(0018,1030)"][1] == "rule: remove"
    dates = said("diff", "strict", "research")
    assert "(0008,0020) Study Date: empty | clean" in dates
    assert said("diff", "research", "research") == "no difference\n"


def test_explain_tells_action_and_rule_of_every_element_and_no_value(tmp_path: Path) -> None:
    original = an_instance()
    path = str(saved(original, tmp_path / "x.dcm"))
    told = json.loads(said("explain", "strict", path, "--json"))
    assert (told["profile"], told["withheld"]) == ("strict", "")
    by_path = {row["path"]: row for row in told["elements"]}
    assert by_path["(0008,0020)"]["action"] == "empty"
    assert by_path["(0010,0020)"]["rule"]
    assert all(row["rule"] and row["action"] for row in told["elements"])
    top = {f"({e.tag.group:04X},{e.tag.element:04X})" for e in original if e.tag != 0x7FE00010}
    assert top <= set(by_path)
    plain = said("explain", path)
    assert "(0010,0020) Patient ID: " in plain
    for value in (str(original.PatientName), original.PatientID, original.SOPInstanceUID):
        assert value not in plain
        assert value in said("explain", path, "--values")


def test_explain_says_what_would_be_withheld(tmp_path: Path) -> None:
    path = str(saved(an_instance(BurnedInAnnotation="YES"), tmp_path / "x.dcm"))
    assert "withheld: burned_in_annotation" in said("explain", path)
    (tmp_path / "y.dcm").write_bytes(b"no DICOM")
    assert "withheld: not_dicom" in said("explain", str(tmp_path / "y.dcm"))
    with pytest.raises(InputError, match="can't be read"):
        said("explain", str(tmp_path / "none.dcm"))
    with pytest.raises(InputError, match="a profile and a file"):
        said("explain", "strict", path, path)


def test_explain_prints_the_signature_that_a_table_of_regions_needs(tmp_path: Path) -> None:
    path = str(saved(a_picture(SoftwareVersions=["1.0", "2"]), tmp_path / "x.dcm"))
    plain = said("explain", path)
    table = plain[plain.index("[[regions]]") :]
    profile = a_profile(tmp_path, f"name = 'mine'\n{table}rectangles = [[0, 0, 9, 2]]\n")
    assert "profile mine" in said("check", profile)
    known = said("explain", profile, path)
    assert "black by regions:1, as [left, top, width, height]: [[0, 0, 9, 2]]" in known
    assert "(7FE0,0010) Pixel Data: black by regions:1" in known
    assert "withheld" not in known
    told = json.loads(said("explain", profile, path, "--json"))
    assert told["regions"] == {"regions:1": [[0, 0, 9, 2]]}
    assert told["signature"]["software"] == "1.0\\2"
