"""`pacstream export` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pacstream.errors import InputError
from pacstream_cli.commands_export import export
from tests.fakes.datasets import make_series
from tests.fakes.store_node import StoreNode
from tests.unit.store_scp.scp import saved

IDENTIFYING = ("Quixotesson", "88213")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    series = make_series(instances=3)
    for one in series:
        one.PatientID, one.PatientName = "88213", "Quixotesson^Ada"
    saved(tmp_path / "in" / "sub-88213", series)
    return tmp_path / "in"


def called(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(export, list(map(str, arguments)))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert not any(word in done.output for word in IDENTIFYING)
    return done.exit_code, done.output


def config(folder: Path, node: StoreNode) -> Path:
    path = folder / "config.json"
    own = {
        "server_address": "127.0.0.1", "port": node.port, "server_AET": node.aet, "AET": "US",
        "move_AET": "US", "move_port": 11112, "batch_size": 1, "batch_wait_time": 0,
        "destinations": {"karnak": node.address},
    }  # fmt: skip
    path.write_text(json.dumps(own))
    return path


def test_to_an_address(folder: Path, tmp_path: Path) -> None:
    with StoreNode().running() as node:
        code, out = called(folder, "--to", node.address, "--data", tmp_path / "data")
        assert code == 0 and len(node.held) == 3
        assert "delivered   3" in out and "known by  3 listed" in out
        code, out = called(folder, "--to", node.address, "--data", tmp_path / "data", "--json")
    told = json.loads(out)
    assert code == 0 and told["delivered"] and told["was_there"] == 3
    assert Path(told["report"]).is_relative_to(tmp_path / "data" / "exports")


@pytest.mark.parametrize("name", ["karnak", ""])
def test_to_a_name_or_to_the_pacs_of_the_configuration(
    name: str, folder: Path, tmp_path: Path
) -> None:
    with StoreNode().running() as node:
        given = ("--to", name) if name else ()
        data = ("--data", tmp_path / "data")
        code, _ = called(folder, *given, "--config", config(tmp_path, node), *data)
    assert code == 0 and len(node.held) == 3


def test_exit_code_3_if_not_all_was_delivered(folder: Path, tmp_path: Path) -> None:
    uid = next(folder.rglob("*.dcm")).stem
    with StoreNode(statuses={uid: [0xC000]}).running() as node:
        code, out = called(folder, "--to", node.address, "--data", tmp_path / "data")
    assert code == 3 and "failed      1" in out and "1 cannot_understand" in out


def test_wrong_input_is_told_before_anything_is_sent(folder: Path, tmp_path: Path) -> None:
    with StoreNode().running() as node:
        for arguments in (
            (folder,),
            (folder, "--to", "nowhere"),
            (folder, "--to", "nowhere", "--config", config(tmp_path, node)),
            (tmp_path / "missing", "--to", node.address),
            (folder, "--to", node.address, "--data", folder / ".pacstream"),
        ):
            with pytest.raises(InputError):
                called(*arguments)
        with pytest.raises(InputError, match="again later"):
            called(folder, "--to", "dicom://A@127.0.0.1:9", "--data", tmp_path / "data")
        assert node.stores == []
    assert not (folder / ".pacstream").exists()
