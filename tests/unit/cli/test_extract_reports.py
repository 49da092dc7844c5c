"""`pacstream extract-reports` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.anonymizer.instances import saved
from tests.unit.exporter.folders import a_report, called, contents, fill, text_item

UID = str(a_report().SOPInstanceUID)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Carestream's report among images, in PACSMAN's layout."""
    fill(tmp_path / "in", patients=1, sessions=1)
    html = "<html><body>L'op\u00c3\u00a9ration de Quixotesson</body></html>"
    report = a_report(SpecificCharacterSet="ISO_IR 100", ContentSequence=[text_item("x", html)])
    saved(report, tmp_path / "in" / "sub-P1" / "ses-1" / "00009-" / f"SRc.{UID}")
    return tmp_path


def test_texts_go_to_the_trusted_zone_if_nothing_else_is_said(home: Path) -> None:
    before = contents(home / "in")
    code, out, err = called(home, "extract-reports", "-d", "in")
    assert (code, err) == (0, "")
    assert "1 structured reports" in out and "skipped     4 other instances" in out
    assert "Quixotesson" not in out
    text = (home / ".pacstream" / "reports" / f"{UID}.txt").read_text("utf-8")
    assert "x: L'opération de Quixotesson" in text
    assert contents(home / "in") == before
    code, out, _ = called(home, "extract-reports", "-d", "in", "-o", "texts", "--json")
    assert code == 0 and json.loads(out)["written"] == 1
    assert set(contents(home / "texts")) == {f"{UID}.txt", f"{UID}.json"}


def test_a_report_that_can_not_be_read_is_an_exit_code(home: Path) -> None:
    path = next((home / "in").rglob("SRc.*"))
    path.write_bytes(path.read_bytes()[:-7])
    code, out, err = called(home, "extract-reports", "-d", "in", "-o", "texts")
    assert code == 3
    assert "left out    1 truncated" in out and UID not in out + err
    (listed,) = (home / ".pacstream" / "offline").glob("extract-reports-*.csv")
    assert f"{path},truncated," in listed.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-d", "nowhere"], "--in_folder"),
        (["-o", "texts"], "--in_folder"),
        (["-d", "bare", "-o", "texts"], "no files"),
        (["-d", "in", "-o", "in/texts"], "beside the images"),
        (["-d", "in", "-o", "results/release"], "release folder"),
        (["-d", "in", "-o", "results/release/sub-1"], "release folder"),
        (["-d", "in", "-o", "given away/texts"], "release folder"),
    ],
)
def test_wrong_input_is_told_and_writes_nothing(
    home: Path, arguments: list[str], said: str
) -> None:
    (home / "bare").mkdir()
    assert called(home, "anonymize", "-d", "in", "-o", "given away")[0] == 3
    before = contents(home / "in") | contents(home / "given away")
    code, out, err = called(home, "extract-reports", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert contents(home / "in") | contents(home / "given away") == before
    assert not (home / "results").exists() and not (home / "texts").exists()
