"""The main job with a real PACS, a real broker and all services, compared by content."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pydicom
import pytest
import requests

from demo import data
from demo.data import Instance, Manifest
from demo.pacs import Pacs
from pacstream.settings import Settings
from pacstream_cli.client import LedgerClient
from pacstream_cli.stack import running_settings
from tests.e2e.line import (
    Line,
    assert_exactly,
    encoded_dataset,
    originals,
    released,
    run_cli,
    select,
    until,
)
from tests.unit.converter.bids.validator import errors_in

pytestmark = [pytest.mark.rabbitmq, pytest.mark.pacs]

ROWS = [
    {"PatientID": data.BERTRAND.patient_id, "SeriesNumber": "3"},
    {"PatientID": data.ROSALIND.patient_id, "StudyDate": "20220518"},
    {"PatientID": data.AMARA.patient_id, "Modality": "MR"},
    {"PatientID": "NOBODY-0001", "StudyDate": "20200101-"},
]


def wanted(manifest: Manifest) -> list[Instance]:
    return [
        *select(manifest, patient_id=data.BERTRAND.patient_id, series_number="3"),
        *select(manifest, patient_id=data.ROSALIND.patient_id, study_date="20220518"),
        *select(manifest, patient_id=data.AMARA.patient_id, modality="MR"),
    ]


class Eavesdropper:
    """A queue bound to everything, to see the properties of all messages of a batch."""

    def __init__(self, url: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()
        self._queue = self._channel.queue_declare("", exclusive=True).method.queue
        self._channel.queue_bind(self._queue, "pacstream", "#")

    def heard(self) -> Iterator[str]:
        while True:
            method, properties, _ = self._channel.basic_get(self._queue, auto_ack=True)
            if method is None:
                self._connection.close()
                return
            yield f"{method.routing_key} {properties}"


@pytest.fixture(scope="module")
def batch(
    line: Line, orthanc: Pacs, manifest: Manifest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """One batch with every action, and what was on the bus meanwhile."""
    folder = tmp_path_factory.mktemp("batch")
    ears = Eavesdropper(line.stack().environment()["PACSTREAM_AMQP_URL"])
    flags = ("--save", "--info", "--anonymize", "--project", "e2e", "--convert", "--bids")
    batch_id = line.submit(folder, orthanc, ROWS, *flags)
    # Asked directly: a command takes as long to start as a busy machine leaves it.
    ledger = LedgerClient(running_settings(Settings(data=line.data)).ledger_http)
    sums = []
    until(lambda: sums.append(ledger.status(batch_id)) or sums[-1]["finished_at"] is not None, 120)  # type: ignore[func-returns-value]
    return {
        "id": batch_id,
        "out": folder / "out",
        "statuses": sums,
        "code": line.wait(batch_id),
        "report": line.report(batch_id),
        "heard": list(ears.heard()),
    }


def test_every_row_ends_in_its_state(batch: dict[str, Any]) -> None:
    assert batch["code"] == 0
    states = [(row["row"], row["state"]) for row in batch["report"]["report"]]
    assert states == [(2, "answered"), (3, "answered"), (4, "answered"), (5, "no_match")]


def test_every_requested_instance_is_saved_once_byte_for_byte(
    batch: dict[str, Any], manifest: Manifest
) -> None:
    assert len(wanted(manifest)) > 200
    assert_exactly(batch["out"], wanted(manifest))


def test_expected_is_always_done_withheld_failed_or_pending(batch: dict[str, Any]) -> None:
    assert len(batch["statuses"]) > 2
    for status in batch["statuses"]:
        one = status["instances"]
        assert one["expected"] == one["done"] + one["withheld"] + one["failed"] + one["pending"]


def test_both_copies_of_the_report_are_written_when_a_batch_has_ended(
    batch: dict[str, Any], line: Line, manifest: Manifest
) -> None:
    kept = line.data / "state" / "batches" / batch["id"]
    shared = batch["out"] / "reports" / batch["id"]
    until(lambda: (kept / "date_offsets.csv").exists(), 20)
    told = json.loads((kept / "report.json").read_text("utf-8"))
    assert told["batch"]["delivered"] and all(stage["balanced"] for stage in told["stages"])
    assert told["rows"][0]["asked"]
    released = {path.name for path in (batch["out"] / "release").glob("sub-*")}
    mapper = json.loads((kept / "mapper.json").read_text("utf-8"))
    assert {f"sub-{pseudonym}" for pseudonym in mapper} == released
    assert set(mapper.values()) == {one.patient_id for one in wanted(manifest)}
    for path in shared.iterdir():
        text = path.read_text("utf-8")
        for instance in wanted(manifest):
            assert instance.series_uid not in text and instance.patient_id not in text


def test_completeness_is_known_by_uids(batch: dict[str, Any]) -> None:
    series = [one for row in batch["report"]["report"] for one in row["series"]]
    assert {one["evidence"] for one in series} == {"uids"}
    assert all(one["instances"]["done"] == one["instances"]["expected"] > 0 for one in series)


def test_every_instance_is_released_once_with_the_same_pixels(
    batch: dict[str, Any], manifest: Manifest
) -> None:
    sources = {instance.sop_instance_uid: instance for instance in wanted(manifest)}
    files = released(batch["out"])
    assert len(files) == len(sources)
    pixels = sorted(hash(pydicom.dcmread(instance.path).PixelData) for instance in sources.values())
    assert sorted(hash(pydicom.dcmread(path).PixelData) for path in files) == pixels


def test_each_series_has_its_info_table_and_its_nifti(
    batch: dict[str, Any], manifest: Manifest
) -> None:
    series = {instance.series_uid for instance in wanted(manifest)}
    out = batch["out"]
    tables = [path for path in out.glob("sub-*/ses-*/*.csv") if path.is_file()]
    assert len(tables) == len(series)
    assert all(path.with_suffix("").is_dir() for path in tables)
    volumes = list((out / "release").rglob("*.nii.gz"))
    assert len(volumes) >= len(series)
    assert all(path.name.endswith(".nii.gz") and path.stat().st_size > 348 for path in volumes)


def test_the_batch_is_a_valid_bids_data_set(batch: dict[str, Any]) -> None:
    root = batch["out"] / "release" / "bids"
    assert errors_in(root) == []
    (counts,) = (one["counts"] for one in batch["report"]["afterwards"] if one["action"] == "bids")
    converted = [
        path for path in (batch["out"] / "release").glob("sub-*/ses-*/*.nii.gz") if path.is_file()
    ]
    assert counts["images"] == len(converted) == len(list(root.rglob("*.nii.gz")))
    assert counts["bids"] > 5


def identifiers(manifest: Manifest) -> list[str]:
    return sorted(manifest.identifiers)


def uids(manifest: Manifest) -> set[str]:
    return {
        uid
        for one in manifest.instances
        for uid in (one.study_uid, one.series_uid, one.sop_instance_uid)
    }


MAPPED_UID = re.compile(rb"2\.25\.[0-9]{30,39}")
"""Digits of a keyed digest, under another key in each run: a date among them is chance."""


def assert_nothing_planted(whole: bytes, manifest: Manifest, where: str) -> None:
    content = MAPPED_UID.sub(b"", whole)
    for identifier in identifiers(manifest):
        for encoding in ("utf-8", "latin-1", "utf-16-le"):
            planted = identifier.encode(encoding, "ignore")
            assert planted not in content, f"{where} holds a planted identifier"
    found = {one.decode() for one in re.findall(rb"[0-2](?:\.[0-9]+){4,}", content)}
    assert not found & uids(manifest), f"{where} holds an original UID"


def test_nothing_planted_is_in_the_release(batch: dict[str, Any], manifest: Manifest) -> None:
    paths = [path for path in (batch["out"] / "release").rglob("*") if path.is_file()]
    assert len(paths) > 250
    for path in paths:
        assert_nothing_planted(str(path).encode(), manifest, "a path of the release")
        content = path.read_bytes()
        assert_nothing_planted(content, manifest, path.name)
        if path.suffix == ".gz":
            assert_nothing_planted(gzip.decompress(content), manifest, path.name)


def test_nothing_planted_is_in_the_logs(
    batch: dict[str, Any], line: Line, manifest: Manifest
) -> None:
    logs = [path for path in (line.data / "logs").iterdir() if path.is_file()]
    assert {"query.log", "retrieve.log", "store_scp.log", "anonymizer.log", "ledger.log"} <= {
        path.name for path in logs
    }
    for path in logs:
        assert_nothing_planted(path.read_bytes(), manifest, path.name)


def test_nothing_planted_is_in_queue_names_routing_keys_or_headers(
    batch: dict[str, Any], line: Line, manifest: Manifest
) -> None:
    assert len(batch["heard"]) > 50
    assert_nothing_planted("\n".join(batch["heard"]).encode(), manifest, "a message's properties")
    url = line.stack().environment()["PACSTREAM_AMQP_URL"]
    user, password = url.removeprefix("amqp://").split("@")[0].split(":")
    port = line.stack().running().management_port
    answer = requests.get(f"http://127.0.0.1:{port}/api/queues", auth=(user, password), timeout=10)
    names = [queue["name"] for queue in answer.json()]
    assert "retrieve.series.requested" in names
    assert_nothing_planted(json.dumps(answer.json()).encode(), manifest, "a queue")


def test_no_message_is_left_and_no_letter_is_dead(batch: dict[str, Any], line: Line) -> None:
    connection = pika.BlockingConnection(
        pika.URLParameters(line.stack().environment()["PACSTREAM_AMQP_URL"])
    )
    from pacstream import topology

    channel = connection.channel()
    for spec in topology.queues((500, 2000, 5000)):
        left = channel.queue_declare(spec.name, passive=True).method.message_count
        assert left == 0, spec.name
    connection.close()


def test_a_second_submission_moves_nothing_again_and_delivers_the_same(
    batch: dict[str, Any], line: Line, orthanc: Pacs, manifest: Manifest, tmp_path: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (line.data / "incoming").rglob("*.dcm")}
    flags = ("--save", "--anonymize", "--project", "e2e")
    batch_id = line.submit(tmp_path, orthanc, ROWS, *flags)
    assert line.wait(batch_id) == 0
    assert_exactly(tmp_path / "out", wanted(manifest))
    # The preflight has one instance sent; nothing else may have been written again.
    after = {path: path.stat().st_mtime_ns for path in (line.data / "incoming").rglob("*.dcm")}
    assert len([path for path in after if after[path] != before.get(path)]) <= 1
    first = {path.name: path.read_bytes() for path in released(batch["out"])}
    assert {path.name: path.read_bytes() for path in released(tmp_path / "out")} == first


def test_dcmqrscp_gives_the_same_instances_as_orthanc(
    batch: dict[str, Any],
    line: Line,
    dcmqrscp: Pacs,
    manifest: Manifest,
    tmp_path: Path,
) -> None:
    line.forget_images()
    batch_id = line.submit(tmp_path, dcmqrscp, ROWS, "--save")
    assert line.wait(batch_id) == 0, line.report(batch_id)
    assert_exactly(tmp_path / "out", wanted(manifest))
    one = {path.name: encoded_dataset(path) for path in originals(batch["out"])}
    assert {path.name: encoded_dataset(path) for path in originals(tmp_path / "out")} == one


@pytest.mark.parametrize(
    "process",
    [
        "query",
        "retrieve",
        "store_scp",
        "anonymizer",
        "converter",
        "exporter",
        "ledger",
        "rabbitmq",
    ],
)
def test_kill_9_during_the_retrieval_loses_nothing_and_doubles_nothing(
    line: Line, orthanc: Pacs, manifest: Manifest, tmp_path: Path, process: str
) -> None:
    line.forget_images()
    flags = ("--save", "--anonymize", "--project", "e2e", "--convert")
    batch_id = line.submit(tmp_path, orthanc, ROWS, *flags)
    if process != "query":
        until(lambda: bool(line.status(batch_id)["instances"]["received"] > 20))
    line.kill(process)
    assert line.wait(batch_id) == 0, line.report(batch_id)
    assert_exactly(tmp_path / "out", wanted(manifest))
    assert len(released(tmp_path / "out")) == len(wanted(manifest))
    report = line.report(batch_id)
    assert {one["state"] for row in report["report"] for one in row["series"]} == {"complete"}
    assert not list((line.data / "incoming").rglob("*.part"))
    # It came back once and stays: nothing that it left behind hinders it.
    until(lambda: all(state.ready for state in line.stack().processes()))
    restarts = {state.name: state.restarts for state in line.stack().processes()}
    assert restarts[process] == 1


def test_a_stack_that_is_stopped_in_mid_batch_goes_on_after_the_next_start(
    line: Line, orthanc: Pacs, manifest: Manifest, tmp_path: Path
) -> None:
    line.forget_images()
    flags = ("--save", "--anonymize", "--project", "e2e", "--convert")
    batch_id = line.submit(tmp_path, orthanc, ROWS, *flags)
    until(lambda: bool(line.status(batch_id)["instances"]["received"] > 20))
    assert run_cli(line.data, "down").returncode == 0
    up = run_cli(line.data, "up", "--detach", "--config", str(tmp_path / "config.json"))
    assert up.returncode == 0, up.stdout + up.stderr
    assert line.wait(batch_id) == 0, line.report(batch_id)
    assert_exactly(tmp_path / "out", wanted(manifest))
    assert len(released(tmp_path / "out")) == len(wanted(manifest))
