"""What is wrong is said before anything starts: exit code 2, a sentence, and nothing half-done."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import psutil
import pytest

from demo import data
from demo.pacs import Pacs, free_port
from tests.e2e.line import Line, run_cli, write_config, write_queries

pytestmark = [pytest.mark.rabbitmq, pytest.mark.pacs]

ROW = {"PatientID": data.BERTRAND.patient_id, "SeriesNumber": "3"}


class Trial:
    """One `pacstream run` that must refuse, in a folder of its own."""

    def __init__(self, folder: Path, pacs: Pacs, move_port: int) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.out = folder / "out"
        self.config = write_config(folder / "config.json", pacs, move_port)
        self.queries = write_queries(folder / "queries.csv", [ROW])
        self.flags = ["--save"]

    def refusal(self) -> str:
        """The error of `pacstream run`; asserts that it refused and left nothing."""
        done = run_cli(
            self.data, "run", *self.flags, "--queryfile", str(self.queries), "--config",
            str(self.config), "--out_directory", str(self.out),
        )  # fmt: skip
        assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        assert not self.out.exists() or self.out.is_file()
        assert not list(self.data.rglob("*.dcm"))
        assert not [p for p in psutil.process_iter(["cmdline"]) if str(self.data) in str(p.info)]
        return done.stderr


@pytest.fixture
def trial(tmp_path: Path, orthanc: Pacs) -> Trial:
    return Trial(tmp_path, orthanc, free_port())


def test_a_missing_configuration(trial: Trial) -> None:
    trial.config.unlink()
    assert "config.json" in trial.refusal()


def test_a_configuration_that_is_not_json(trial: Trial) -> None:
    trial.config.write_text("{server_ip: 1}")
    assert "line 1" in trial.refusal()


def test_unknown_and_missing_keys_of_the_configuration(trial: Trial) -> None:
    content = json.loads(trial.config.read_text())
    content["sever_port"] = content.pop("port")
    trial.config.write_text(json.dumps(content))
    said = trial.refusal()
    assert "sever_port" in said
    assert "port" in said.replace("sever_port", "")


def test_a_pacs_that_can_not_be_reached(trial: Trial, orthanc: Pacs) -> None:
    port = free_port()
    write_config(trial.config, orthanc, free_port(), port=port)
    assert f"127.0.0.1:{port}" in trial.refusal()


def test_a_wrong_called_ae_title(trial: Trial, orthanc: Pacs) -> None:
    write_config(trial.config, orthanc, free_port(), server_AET="NOT_ME")
    assert "server_AET" in trial.refusal()


def test_a_move_port_that_is_in_use(trial: Trial, orthanc: Pacs) -> None:
    with socket.create_server(("0.0.0.0", 0)) as holder:
        port = holder.getsockname()[1]
        write_config(trial.config, orthanc, port)
        said = trial.refusal()
    assert f"port {port}" in said
    assert f"pid {os.getpid()}" in said


@pytest.mark.parametrize("which", ["orthanc", "dcmqrscp"])
def test_a_move_destination_that_the_pacs_does_not_know(
    line: Line, tmp_path: Path, which: str, request: pytest.FixtureRequest
) -> None:
    pacs: Pacs = request.getfixturevalue(which)
    queries = write_queries(tmp_path / "queries.csv", [ROW])
    config = write_config(tmp_path / "config.json", pacs, line.move_port, move_AET="NOWHERE")
    out = tmp_path / "out"
    done = run_cli(
        line.data, "submit", str(queries), "--config", str(config), "--move", "-d", str(out)
    )
    assert done.returncode == 2
    assert "NOWHERE" in done.stderr
    assert not out.exists()


def test_an_output_folder_that_can_not_be_written(trial: Trial) -> None:
    (trial.folder / "file").write_text("")
    trial.out = trial.folder / "file" / "out"
    assert "can't be written" in trial.refusal()


def test_save_with_move(trial: Trial) -> None:
    trial.flags = ["--save", "--move"]
    assert "--save and --move" in trial.refusal()


def test_no_action_at_all(trial: Trial) -> None:
    trial.flags = []
    assert "nothing to do" in trial.refusal()


def test_anonymize_without_a_project(trial: Trial) -> None:
    trial.flags = ["--anonymize"]
    assert "--project" in trial.refusal()


def test_a_missing_csv(trial: Trial) -> None:
    trial.queries.unlink()
    assert "queries.csv" in trial.refusal()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"PatientID,Modality\n", "row"),
        (b"PatientId\nx\n", "PatientId"),
        (b"PatientID,Modality\nx,MR\n,\n", "row 3"),
        (b"PatientID,Modality\n*,MR\n", "row 2"),
        (b"PatientID,SeriesDescription\nx,Cr\xe2ne\n", "row 2"),
        (b"PatientID,StudyDate\nx,20150231\n", "row 2"),
    ],
    ids=["empty", "header only", "unknown column", "empty row", "lone star", "latin-1", "no date"],
)
def test_a_csv_with_a_fault_is_refused_by_row_and_column(
    trial: Trial, content: bytes, said: str
) -> None:
    trial.queries.write_bytes(content)
    error = trial.refusal()
    assert said in error
    if b"Cr\xe2ne" in content:
        assert "SeriesDescription" in error
        assert "UTF-8" in error


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffPatientID,SeriesNumber\n{id},3\n",
        "PatientID,SeriesNumber\r\n{id},3\r\n",
        "PatientID;SeriesNumber\n{id};3\n",
        "\ufeffPatientID;SeriesNumber\r\n{id};3\r\n",
    ],
    ids=["BOM", "CRLF", "semicolon", "all three"],
)
def test_a_csv_as_spreadsheets_write_it_is_understood(
    line: Line, orthanc: Pacs, tmp_path: Path, content: str
) -> None:
    queries = tmp_path / "queries.csv"
    queries.write_text(content.format(id=data.BERTRAND.patient_id), "utf-8", newline="")
    config = write_config(tmp_path / "config.json", orthanc, line.move_port)
    done = run_cli(
        line.data, "submit", str(queries), "-c", str(config), "-i", "-d", str(tmp_path / "out")
    )
    assert done.returncode == 0, done.stderr
    batch_id = done.stdout.strip()
    assert line.wait(batch_id) == 0
    rows = line.report(batch_id)["report"]
    assert [len(row["series"]) for row in rows] == [1]
