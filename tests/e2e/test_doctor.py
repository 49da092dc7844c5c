"""`pacstream doctor` against Orthanc and dcmqrscp: what it finds, and each single thing broken."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from demo.data import Manifest
from demo.pacs import DcmqrscpPacs, OrthancPacs, Pacs, free_port
from pacstream_cli.profiles import read_profile
from tests.e2e.line import AET, Line, run_cli, write_config

pytestmark = [pytest.mark.rabbitmq, pytest.mark.pacs]

SENT_KEYS = {"STUDY", "SERIES"}


class Patient:
    """A PACS to be examined from a data folder of its own, without a stack."""

    def __init__(self, folder: Path, pacs: Pacs, move_port: int) -> None:
        self.folder = folder
        self.pacs = pacs
        self.move_port = move_port
        self.data = folder / "data"

    def examined(self, **changes: Any) -> dict[str, Any]:
        """doctor's findings as JSON with a changed configuration; the exit code is checked."""
        environment = changes.pop("environment", {})
        move_port = changes.pop("move_port", self.move_port)
        config = write_config(self.folder / "config.json", self.pacs, move_port, **changes)
        done = run_cli(
            self.data, "doctor", "--config", str(config), "--json", "--no-write", **environment
        )
        assert "Traceback" not in done.stderr
        view: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == (0 if view["ok"] else 1)
        return view


@pytest.fixture(params=["orthanc", "dcmqrscp"])
def patient(request: pytest.FixtureRequest, tmp_path: Path, manifest: Manifest) -> Any:
    """Servers of their own: those of the session send to the port of the session's stack."""
    port = free_port()
    kind = OrthancPacs if request.param == "orthanc" else DcmqrscpPacs
    with kind(tmp_path / "pacs", {AET: ("127.0.0.1", port)}) as pacs:
        pacs.load(manifest.paths[:120])
        yield Patient(tmp_path, pacs, port)


def text_of(view: dict[str, Any], name: str) -> str:
    return str(next(check["text"] for check in view["checks"] if check["name"] == name))


def ignored(view: dict[str, Any]) -> set[str]:
    return {
        key["keyword"]
        for key in view["keys"]
        if key["level"] in SENT_KEYS and key["matching"] != "matched"
    }


def test_what_is_found_of_each_pacs(patient: Patient) -> None:
    view = patient.examined()
    assert view["ok"], view["checks"]
    assert view["wrong"] == []
    found = view["findings"]
    is_orthanc = isinstance(patient.pacs, OrthancPacs)
    assert found["counts"] is is_orthanc
    assert found["relational"] is True
    assert found["image_level"] is True
    assert found["move_works"] is True
    assert found["uid_lists"] is True
    assert "another is not" in text_of(view, "called AE title")
    assert text_of(view, "C-GET") == "works"
    if is_orthanc:
        assert ignored(view) == set()
    else:
        assert {"SeriesDescription", "ProtocolName", "ModalitiesInStudy"} <= ignored(view)
        assert not {"PatientID", "StudyDate", "AccessionNumber", "Modality"} & ignored(view)


def test_each_single_thing_that_is_broken_is_named(patient: Patient) -> None:
    assert patient.examined(port=free_port())["wrong"] == ["network"]
    assert patient.examined(server_AET="WRONG")["wrong"] == ["called AE title"]
    assert patient.examined(move_port=free_port())["wrong"] == ["move destination"]
    no_broker = {"PACSTREAM_AMQP_URL": f"amqp://127.0.0.1:{free_port()}/"}
    assert patient.examined(environment=no_broker)["wrong"] == ["broker"]
    with socket.create_server(("0.0.0.0", patient.move_port)):
        assert patient.examined()["wrong"] == ["storage port"]


def test_a_caller_or_destination_that_the_pacs_does_not_know_is_named(patient: Patient) -> None:
    view = patient.examined(AET="STRANGER")
    is_orthanc = isinstance(patient.pacs, OrthancPacs)
    assert view["wrong"] == ["calling AE title" if is_orthanc else "move destination"]
    assert "STRANGER" in text_of(view, view["wrong"][0])


def test_the_screen_tells_nothing_of_a_patient_and_nothing_stays(
    patient: Patient, manifest: Manifest
) -> None:
    config = write_config(patient.folder / "config.json", patient.pacs, patient.move_port)
    done = run_cli(patient.data, "doctor", "--config", str(config))
    assert done.returncode == 0, done.stdout + done.stderr
    profile = patient.data / "pacs" / f"{patient.pacs.aet}.toml"
    assert read_profile(profile).move_works
    assert [path for path in patient.data.rglob("*") if path.is_file()] == [profile]
    uids = {instance.series_uid for instance in manifest.instances}
    uids |= {instance.study_uid for instance in manifest.instances}
    for text in (done.stdout, done.stderr, profile.read_text()):
        assert not [secret for secret in {*manifest.identifiers, *uids} if secret in text]


def test_a_running_stack_is_used_and_left_as_it_was(
    line: Line, orthanc: Pacs, tmp_path: Path
) -> None:
    incoming = line.data / "incoming"
    before = {path for path in incoming.rglob("*") if path.is_file()}
    pids = {state.name: state.pid for state in line.stack().processes()}
    config = write_config(tmp_path / "config.json", orthanc, line.move_port)
    done = run_cli(line.data, "doctor", "--config", str(config), "--json", "--no-write")
    view = json.loads(done.stdout)
    assert view["ok"], view["checks"]
    assert "running stack" in text_of(view, "storage port")
    assert "RabbitMQ" in text_of(view, "broker")
    assert {path for path in incoming.rglob("*") if path.is_file()} == before
    assert {state.name: state.pid for state in line.stack().processes()} == pids
