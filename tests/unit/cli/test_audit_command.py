"""`pacstream audit`: sums of a batch, one instance."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pacstream.errors import InputError
from pacstream.keys import create_key, load_key
from pacstream_anonymizer.audit import Auditor
from pacstream_anonymizer.cleaner import Account, Told
from pacstream_anonymizer.deidentifier import Released, Withheld
from pacstream_anonymizer.shelf import shipped
from pacstream_cli.main import pacstream


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The audit of three instances of a batch."""
    monkeypatch.setenv("PACSTREAM_DATA", str(tmp_path))
    create_key(tmp_path / "keys", "trial")
    key = load_key(tmp_path / "keys", "trial")
    auditor = Auditor(tmp_path, "batch-1", "trial", key, shipped("strict"))
    results: list[Released | Withheld] = [
        Released(Path("x")),
        Released(Path("y")),
        Withheld("echo"),
    ]
    for number, result in enumerate(results):
        auditor.begin()
        path = (0x00081110, 0x00100010)
        auditor.touched([Account([Told(path, "E1.1:00100010", "pseudonym", b"Doe")])])
        auditor.end(f"1.2.3.{number}", result)
    auditor.write()
    return tmp_path


def said(*arguments: str) -> str:
    result = CliRunner().invoke(pacstream, ["audit", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_a_batch_is_summed_up(data: Path) -> None:
    told = json.loads(said("batch-1", "--json"))
    assert (told["instances"], told["released"], told["withheld"]) == (3, 2, {"echo": 1})
    assert told["rules"] == [{"rule": "E1.1:00100010", "action": "pseudonym", "instances": 2}]
    (terms,) = told["terms"]
    assert (terms["profile"], terms["key"]) == (shipped("strict").digest, "1")
    plain = said("batch-1")
    assert "3 instances" in plain
    assert "withheld 1 echo" in plain
    assert said() == "batch-1\n"


def test_an_instance_is_found_by_either_of_its_uids(data: Path) -> None:
    mapped = load_key(data / "keys", "trial").uid("1.2.3.0")
    assert said("batch-1", "--instance", "1.2.3.0") == said("batch-1", "--instance", mapped)
    plain = said("batch-1", "--instance", mapped)
    assert "(0008,1110) > (0010,0010) Patient's Name: pseudonym by E1.1:00100010" in plain
    assert "Doe" not in plain
    (line,) = json.loads(said("batch-1", "--instance", mapped, "--json"))
    assert line["outcome"] == "released"
    for batch, uid in (("batch-1", "1.2.3.9"), ("batch-2", mapped)):
        with pytest.raises(InputError):
            said(batch, "--instance", uid)
