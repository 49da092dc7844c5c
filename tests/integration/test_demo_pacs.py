"""The demo's PACS servers: what goes in comes back by C-MOVE, and nothing stays behind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydicom import dcmread

from demo import data
from demo.data import Instance, Manifest, build
from demo.pacs import (
    DcmqrscpPacs,
    OrthancPacs,
    Pacs,
    PacsFailedError,
    dcmtk_environment,
    free_port,
)
from demo.run import MARKER, run_demo
from pacstream_cli.commands_convert import convert
from tests.unit.converter.bids.validator import errors_in

pytestmark = pytest.mark.pacs

RLE = "1.2.840.10008.1.2.5"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"

STAND_IN = """
import json, pathlib, sys
given = dict(zip(sys.argv, sys.argv[1:]))
assert {"--anonymize", "--convert", "--bids"} <= set(sys.argv)
config = json.loads(pathlib.Path(given["--config"]).read_text())
out = pathlib.Path(given["--out_directory"]) / "sub-1"
out.mkdir()
(out / "port.txt").write_text(str(config["port"]))
sys.exit(3)
"""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return build(tmp_path_factory.mktemp("images"))


@pytest.fixture
def destination() -> int:
    return free_port()


@pytest.fixture(params=[OrthancPacs, DcmqrscpPacs])
def pacs(request: pytest.FixtureRequest, tmp_path: Path, destination: int) -> Iterator[Pacs]:
    kind: type[OrthancPacs | DcmqrscpPacs] = request.param
    with kind(
        tmp_path / "pacs", {"PACSTREAM": ("127.0.0.1", destination)}, nodelay=True
    ) as running:
        yield running


def move(pacs: Pacs, port: int, study_uid: str, out: Path) -> subprocess.CompletedProcess[str]:
    """Fetch one study with DCMTK's movescu, which takes every transfer syntax."""
    out.mkdir()
    keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study_uid}")
    return subprocess.run(
        [
            *("movescu", "-S", "-aet", "PACSTREAM", "-aem", "PACSTREAM", "-aec", pacs.aet),
            *("+xa", "+P", str(port), "-od", str(out), *keys, pacs.address, str(pacs.port)),
        ],
        env=dcmtk_environment(nodelay=True),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def received(out: Path) -> dict[str, str]:
    """SOP Instance UID -> transfer syntax of the files that came."""
    datasets = [dcmread(path, stop_before_pixels=True) for path in out.iterdir()]
    return {str(d.SOPInstanceUID): str(d.file_meta.TransferSyntaxUID) for d in datasets}


def study_of(manifest: Manifest, patient: data.Patient) -> list[Instance]:
    """The instances of the patient's first study."""
    of_patient = [i for i in manifest.instances if i.patient_id == patient.patient_id]
    return [i for i in of_patient if i.study_uid == of_patient[0].study_uid]


def test_an_uncompressed_study_comes_back_whole(
    pacs: Pacs, manifest: Manifest, destination: int, tmp_path: Path
) -> None:
    study = study_of(manifest, data.ROSALIND)
    assert pacs.load([i.path for i in study]) == len(study)
    moved = move(pacs, destination, study[0].study_uid, tmp_path / "out")
    assert moved.returncode == 0, moved.stderr
    assert received(tmp_path / "out") == {i.sop_instance_uid: EXPLICIT_LITTLE for i in study}


def test_orthanc_sends_compressed_instances_as_they_are(
    manifest: Manifest, destination: int, tmp_path: Path
) -> None:
    study = study_of(manifest, data.LUCJA)
    place = {"PACSTREAM": ("127.0.0.1", destination)}
    with OrthancPacs(tmp_path / "pacs", place, nodelay=True) as pacs:
        pacs.load([i.path for i in study])
        moved = move(pacs, destination, study[0].study_uid, tmp_path / "out")
    assert moved.returncode == 0, moved.stderr
    assert received(tmp_path / "out") == {i.sop_instance_uid: i.transfer_syntax for i in study}
    assert RLE in received(tmp_path / "out").values()


def test_dcmqrscp_keeps_compressed_instances_and_says_so(
    manifest: Manifest, destination: int, tmp_path: Path
) -> None:
    study = study_of(manifest, data.LUCJA)
    place = {"PACSTREAM": ("127.0.0.1", destination)}
    with DcmqrscpPacs(tmp_path / "pacs", place, nodelay=True) as pacs:
        pacs.load([i.path for i in study])
        moved = move(pacs, destination, study[0].study_uid, tmp_path / "out")
    assert "SubOperations" in moved.stderr
    assert set(received(tmp_path / "out")) == {
        i.sop_instance_uid for i in study if i.transfer_syntax != RLE
    }


def test_orthanc_refuses_a_move_for_a_stranger(
    manifest: Manifest, destination: int, tmp_path: Path
) -> None:
    study = study_of(manifest, data.BERTRAND)
    with OrthancPacs(tmp_path / "pacs", {"ELSEWHERE": ("127.0.0.1", destination)}) as pacs:
        pacs.load([study[0].path])
        moved = move(pacs, destination, study[0].study_uid, tmp_path / "out")
    assert "aborted" in moved.stderr
    assert received(tmp_path / "out") == {}


def test_nothing_answers_after_the_end(pacs: Pacs) -> None:
    assert pacs._answers()
    pacs.stop()
    assert not pacs._answers()


def test_a_server_that_ends_early_is_reported_with_its_log(tmp_path: Path) -> None:
    with OrthancPacs(tmp_path / "first", {}) as first:
        second = OrthancPacs(tmp_path / "second", {}, aet="SECOND")
        second.port = first.port
        with pytest.raises(PacsFailedError, match="DICOM"):
            second.start()


def test_all_of_the_demo_s_images_become_a_valid_data_set(
    manifest: Manifest, tmp_path: Path
) -> None:
    source, out = manifest.paths[0].parents[1], tmp_path / "out"
    words = [source, "-o", out, "--data", tmp_path / "zone", "--bids", "--json", "--jobs", "2"]
    result = CliRunner().invoke(convert, [str(word) for word in words])
    told = json.loads(result.stdout)["bids"]
    assert errors_in(out) == []
    assert told["whole"] and told["states"]["bids"] >= 10
    placed = [path for place in ("sub-*", "sourcedata/unmatched/sub-*") for path in out.glob(place)]
    assert told["images"] == sum(len([*path.rglob("*.nii.gz")]) for path in placed)
    names = " ".join(str(path.relative_to(out)) for path in out.rglob("*"))
    assert not [one for one in manifest.identifiers if one in names]


def test_the_demo_runs_its_command_with_a_pacs_and_ends_with_its_exit_code(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = run_demo(tmp_path / "home", tmp_path / "out", [sys.executable, "-c", STAND_IN])
    assert code == 3
    assert (tmp_path / "out" / MARKER).exists()
    assert "sub-1/  1 file" in capfd.readouterr().out
    port = int((tmp_path / "out" / "sub-1" / "port.txt").read_text())
    assert not listens(port)


def listens(port: int) -> bool:
    """Whether a TCP server listens on the port of this machine."""
    wanted = f":{port:04X} "
    table = Path("/proc/net/tcp").read_text().splitlines()
    return any(wanted in line and " 0A " in line for line in table)
