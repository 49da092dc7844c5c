"""C-STORE to nodes that behave and to nodes that do not."""

from __future__ import annotations

import csv
import shutil
import threading
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pynetdicom import _config

from demo.pacs import free_port
from pacstream.errors import InputError, PacsUnreachableError, RetryLaterError
from pacstream_exporter.delivery.job import Watcher
from tests.fakes.datasets import make_series
from tests.fakes.store_node import StoreNode
from tests.unit.exporter.delivery.conftest import Deliver, put

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
JPEG_2000 = "1.2.840.10008.1.2.4.90"


def lines(report: Path) -> dict[str, dict[str, str]]:
    with report.open(newline="", encoding="utf-8") as file:
        return {line["sop_instance_uid"]: line for line in csv.DictReader(file)}


def compressed_file(folder: Path) -> str:
    path = Path(str(get_testdata_file("MR_small_jp2klossless.dcm")))
    shutil.copy(path, folder / "jpeg2000.dcm")
    return str(dcmread(path).SOPInstanceUID)


def test_all_arrive_as_they_are_and_are_listed(folder: Path, send: Deliver) -> None:
    series = make_series(instances=5)
    uids = put(folder / "a", series)
    (folder / "notes.txt").write_text("no image")
    with StoreNode().running() as node:
        result = send(node)
    assert result.is_whole and result.files == 6
    assert result.states == {"delivered": 5} and result.left_out == {"not_dicom": 1}
    assert result.evidence == {"listed": 5}
    assert sorted(node.held) == sorted(uids)
    for one in series:
        held = node.held[one.SOPInstanceUID]
        assert held.PixelData == one.PixelData and held.PatientID == one.PatientID
    assert {line["status"] for line in lines(result.report).values()} == {"0000"}


def test_warnings_are_stored_and_told(folder: Path, send: Deliver) -> None:
    uids = put(folder, make_series(instances=3))
    script = {uids[0]: [0xB000], uids[1]: [0xB006], uids[2]: [0xB007]}
    with StoreNode(statuses=script).running() as node:
        result = send(node)
    assert result.is_whole
    named = {"elements_coerced": 1, "elements_discarded": 1, "class_mismatch_warned": 1}
    assert result.warnings == named


@pytest.mark.parametrize(
    ("status", "reason"),
    [(0xA900, "class_mismatch"), (0xC123, "cannot_understand"), (0x0122, "sop_class_refused"),
     (0x0124, "not_authorized"), (0x0110, "store_refused")],
)  # fmt: skip
def test_a_refused_instance_stops_no_other(
    status: int, reason: str, folder: Path, send: Deliver
) -> None:
    uids = put(folder, make_series(instances=4))
    with StoreNode(statuses={uids[1]: [status] * 9}).running() as node:
        result = send(node)
    assert not result.is_whole
    assert result.states == {"delivered": 3, "failed": 1} and result.reasons == {reason: 1}
    assert node.stores.count(uids[1]) == 1
    assert lines(result.report)[uids[1]]["status"] == f"{status:04X}"


def test_out_of_resources_is_tried_again(folder: Path, send: Deliver) -> None:
    uids = put(folder, make_series(instances=3))
    with StoreNode(statuses={uids[0]: [0xA700, 0xA702]}).running() as node:
        result = send(node)
    assert result.is_whole and node.stores.count(uids[0]) == 3


def test_tries_have_an_end(folder: Path, send: Deliver) -> None:
    uids = put(folder, make_series(instances=2))
    with StoreNode(statuses={uids[0]: [0xA700] * 99}).running() as node:
        result = send(node, tries=3)
    assert result.reasons == {"out_of_resources": 1} and node.stores.count(uids[0]) == 3


def test_refused_associations_are_tried_again(folder: Path, send: Deliver) -> None:
    put(folder, make_series(instances=3))
    with StoreNode(refuses_associations=2).running() as node:
        assert send(node).is_whole


def test_a_file_that_the_node_aborts_at_stops_no_other(folder: Path, send: Deliver) -> None:
    uids = put(folder, make_series(instances=6))
    with StoreNode(aborts_at={uids[0]: 99, uids[3]: 1}).running() as node:
        result = send(node, jobs=1, tries=3)
    assert result.states == {"delivered": 5, "failed": 1}
    assert result.reasons == {"association_aborted": 1}
    assert sorted(node.held) == sorted(set(uids) - {uids[0]})


def test_what_is_there_already_is_success(folder: Path, send: Deliver) -> None:
    uids = put(folder, make_series(instances=2))
    with StoreNode().running() as node:
        send(node)
        node.statuses = {uid: [0, 0x0111] for uid in uids}
        result = send(node, from_the_start=True)
    assert result.is_whole and result.was_there == 2


def test_a_second_run_sends_nothing(folder: Path, send: Deliver) -> None:
    put(folder, make_series(instances=3))
    with StoreNode().running() as node:
        send(node)
        result = send(node)
    assert result.is_whole and result.was_there == 3 and result.sent_bytes == 0
    assert len(node.stores) == 3


def test_a_run_that_was_stopped_is_gone_on_with(folder: Path, send: Deliver) -> None:
    put(folder, make_series(instances=6))
    left = threading.Semaphore(3)
    with StoreNode().running() as node:
        stopped = send(
            node, jobs=1, watcher=Watcher(may_go_on=lambda: left.acquire(blocking=False))
        )
        assert not stopped.is_whole and 0 < stopped.states["waiting"] < 6
        assert sum(stopped.states.values()) == 6
        result = send(node)
    assert result.is_whole and len(node.stores) == 6


def test_changed_content_is_sent_again(folder: Path, send: Deliver) -> None:
    series = make_series(instances=1)
    put(folder, series)
    with StoreNode().running() as node:
        send(node)
        series[0].PatientComments = "changed"
        put(folder, series)
        send(node)
    assert len(node.stores) == 2


def test_a_class_that_is_not_taken_is_told(folder: Path, send: Deliver) -> None:
    put(folder, make_series(instances=2))
    with StoreNode(classes=("1.2.840.10008.5.1.4.1.1.1",)).running() as node:
        result = send(node)
    assert result.reasons == {"sop_class_refused": 2}


def test_a_syntax_that_is_not_taken_is_told(folder: Path, send: Deliver) -> None:
    compressed_file(folder)
    put(folder, make_series(instances=1))
    with StoreNode(syntaxes_taken=(IMPLICIT, EXPLICIT)).running() as node:
        result = send(node)
    assert result.states == {"delivered": 1, "failed": 1}
    assert result.reasons == {"syntax_refused": 1}


def test_decompress_sends_the_same_pixels(folder: Path, send: Deliver) -> None:
    uid = compressed_file(folder)
    with StoreNode(syntaxes_taken=(IMPLICIT,)).running() as node:
        result = send(node, decompress=True)
    assert result.is_whole and node.syntaxes[uid] == IMPLICIT
    original = dcmread(folder / "jpeg2000.dcm")
    original.decompress(generate_instance_uid=False)
    assert node.held[uid].PixelData == original.PixelData


def test_uncompressed_instances_are_re_encoded_for_a_node_of_the_default_syntax(
    folder: Path, send: Deliver
) -> None:
    series = make_series(instances=2)
    uids = put(folder, series)
    assert dcmread(folder / f"{uids[0]}.dcm").file_meta.TransferSyntaxUID == EXPLICIT
    with StoreNode(syntaxes_taken=(IMPLICIT,)).running() as node:
        result = send(node)
    assert result.is_whole
    assert node.held[uids[0]].PixelData == series[0].PixelData


def test_several_associations_are_used(folder: Path, send: Deliver) -> None:
    put(folder, make_series(instances=30))
    with StoreNode(pause_s=0.02).running() as node:
        assert send(node, jobs=3).is_whole
    assert node.most_at_once == 3


def test_what_a_node_lost_is_sent_once_more(folder: Path, send: Deliver) -> None:
    uids = put(folder, make_series(instances=3))
    with StoreNode(loses_once={uids[1]}).running() as node:
        result = send(node)
    assert result.is_whole and node.stores.count(uids[1]) == 2


def test_success_of_a_node_that_keeps_nothing_is_not_believed(folder: Path, send: Deliver) -> None:
    uids = put(folder, make_series(instances=3))
    with StoreNode(loses=frozenset(uids[:1])).running() as node:
        result = send(node)
    assert not result.is_whole
    assert result.states == {"delivered": 2, "unverified": 1}
    assert result.reasons == {"not_listed": 1}


def test_a_node_that_tells_nothing_verifies_nothing(folder: Path, send: Deliver) -> None:
    put(folder, make_series(instances=2))
    with StoreNode(finds=False).running() as node:
        result = send(node)
        assert result.states == {"unverified": 2} and result.reasons == {"find_not_supported": 2}
        result = send(node, verify="status")
    assert result.is_whole and result.evidence == {"status": 2}


@pytest.mark.parametrize("way", ["same", "new"])
def test_commitment(way: str, folder: Path, send: Deliver) -> None:
    uids = put(folder, make_series(instances=3))
    port = free_port()
    node = StoreNode(commitment=way, report_to=port, loses=frozenset(uids[2:]))
    with node.running():
        result = send(node, listen=port, verify="commitment")
    assert result.evidence == {"commitment": 2}
    assert result.reasons == {"not_committed": 1}


def test_a_commitment_that_never_comes_has_a_time_limit(folder: Path, send: Deliver) -> None:
    put(folder, make_series(instances=2))
    with StoreNode(commitment="never").running() as node:
        result = send(node, commitment_s=0.3, verify="commitment")
        assert result.reasons == {"commitment_timed_out": 2}
        result = send(node, commitment_s=0.3)
    assert result.is_whole and result.evidence == {"listed": 2}


def test_a_port_that_is_taken_is_told(folder: Path, send: Deliver) -> None:
    put(folder, make_series(instances=1))
    with StoreNode(commitment="new").running() as node, pytest.raises(InputError, match="port"):
        send(node, listen=node.port)


def test_two_runs_to_one_destination_exclude_each_other(folder: Path, send: Deliver) -> None:
    put(folder, make_series(instances=2))

    def second() -> bool:
        with pytest.raises(RetryLaterError, match="another process"):
            send(node)
        return True

    with StoreNode().running() as node:
        assert send(node, jobs=1, watcher=Watcher(may_go_on=second)).is_whole
    assert len(node.stores) == 2


def test_nobody_there(folder: Path, send: Deliver) -> None:
    put(folder, make_series(instances=1))
    node = StoreNode(port=free_port())
    with pytest.raises(PacsUnreachableError):
        send(node)


def test_an_empty_folder_is_an_error(folder: Path, send: Deliver) -> None:
    (folder / "a.txt").write_text("nothing")
    with StoreNode().running() as node, pytest.raises(InputError, match="no DICOM instance"):
        send(node)


def test_more_than_128_kinds_take_several_associations(folder: Path, send: Deliver) -> None:
    _config.UNRESTRICTED_STORAGE_SERVICE = True  # the fake's: retired classes, too
    template = make_series(instances=1)[0]
    node = StoreNode()
    for number, sop_class in enumerate(node.classes[:70]):
        template.SOPClassUID = template.file_meta.MediaStorageSOPClassUID = sop_class
        template.SOPInstanceUID = f"1.2.3.{number + 1}"
        template.file_meta.MediaStorageSOPInstanceUID = template.SOPInstanceUID
        put(folder, [template])
    with node.running():
        result = send(node, jobs=1)
    assert result.states == {"delivered": 70}
    assert len(node.associations) == 2 and max(node.associations) <= 128
