"""What an operator decides about the instances of a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pacstream.errors import InputError
from pacstream.logs import ref
from pacstream_anonymizer.refusal import JUDGEABLE
from pacstream_cli.main import pacstream
from pacstream_cli.quarantine import InvalidRefsError
from tests.unit.anonymizer.instances import saved
from tests.unit.anonymizer.offline.folders import contents, instance_of

UIDS = {
    name: instance_of("MRN-88213", 0, number).SOPInstanceUID
    for number, name in enumerate(("clean", "burned", "cut"))
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PACSTREAM_DATA", str(tmp_path / "data"))
    root = tmp_path / "in"
    saved(instance_of("MRN-88213", 0, 0), root / "clean")
    saved(instance_of("MRN-88213", 0, 1, BurnedInAnnotation="YES"), root / "burned")
    cut = saved(instance_of("MRN-88213", 0, 2), root / "cut")
    cut.write_bytes(cut.read_bytes()[:-9])
    return root


def call(*arguments: object) -> Result:
    return CliRunner().invoke(pacstream, [str(one) for one in arguments])


def test_what_is_let_pass_is_released_by_the_next_run(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert call("anonymize", "-d", folder, "-o", out).exit_code == 3
    assert len(contents(out)) == 1
    decided = call("quarantine", "release", ref(UIDS["burned"]), "--reason", "looked at")
    assert decided.exit_code == 0, decided.exception
    assert "pacstream anonymize" in decided.output
    assert call("anonymize", "-d", folder, "-o", out).exit_code == 3
    assert len(contents(out)) == 2
    assert [Path(path).parts[0] for path in contents(tmp_path / "data" / "quarantine")] == [
        "truncated"
    ]


def test_in_place_it_is_put_back_first(folder: Path, tmp_path: Path) -> None:
    call("anonymize", "-d", folder, "-o", folder)
    (kept,) = (tmp_path / "data" / "quarantine" / "burned_in_annotation").iterdir()
    call("quarantine", "release", ref(UIDS["burned"]), "--reason", "looked at")
    kept.rename(folder / "back")
    call("anonymize", "-d", folder, "-o", folder)
    assert len(contents(folder)) == 2
    assert all(Path(path).name.startswith("2.25.") for path in contents(folder))


def test_nobody_can_let_pass_what_the_engine_could_not_read(folder: Path, tmp_path: Path) -> None:
    assert "truncated" not in JUDGEABLE
    call("anonymize", "-d", folder, "-o", tmp_path / "out")
    refused = call(
        *("quarantine", "release", ref(UIDS["burned"]), ref(UIDS["cut"]), "--reason", "why not")
    )
    assert isinstance(refused.exception, (InvalidRefsError, InputError))
    assert not (tmp_path / "data" / "state" / "decisions.jsonl").exists()
