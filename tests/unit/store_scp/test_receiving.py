"""What becomes of instances that are sent: kept, or put aside with a reason, never mixed up."""

from __future__ import annotations

import errno
import os
import queue
import socket
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pynetdicom import (
    AE,
    ALL_TRANSFER_SYNTAXES,
    AllStoragePresentationContexts,
    build_context,
)
from pynetdicom.dsutils import encode
from pynetdicom.transport import AssociationSocket

from pacstream import dimse
from pacstream.archive import Archive
from pacstream.dimse import NO_DELAY, new_ae
from pacstream.receiving.handover import WrittenInstance
from pacstream.receiving.part10 import FileMeta
from pacstream.receiving.receiver import Receiver
from pacstream.settings import Settings
from pacstream_store_scp.wire import Wire
from tests.fakes.datasets import make_series
from tests.unit.store_scp.scp import (
    BATCH,
    EXPLICIT_LITTLE,
    Announcements,
    data_set_of,
    new_settings,
    order_for,
    parts,
    quarantined,
    raw_file,
    running,
    saved,
    send,
    wait_for,
)

SUCCESS, CONFLICT, NO_RESOURCES, MISMATCH, UNREADABLE = 0x0000, 0xB000, 0xA700, 0xA900, 0xC000
CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return new_settings(tmp_path / "data")


@pytest.fixture
def archive(settings: Settings) -> Archive:
    return Archive(settings.data)


def test_each_instance_is_kept_byte_for_byte_and_announced_once(
    settings: Settings, archive: Archive, tmp_path: Path
) -> None:
    series = make_series(instances=20)
    paths = saved(tmp_path / "sent", series)
    archive.write_order(order_for(series[0]))
    announced = Announcements()

    with running(settings, announced):
        statuses = send(settings.store_port, *paths)
        wait_for(lambda: len(announced.uids) == 20)

    assert statuses == [SUCCESS] * 20
    assert announced.uids == [d.SOPInstanceUID for d in series]
    for path, instance in zip(paths, series, strict=True):
        kept = archive.instance_path(instance.SeriesInstanceUID, instance.SOPInstanceUID)
        assert data_set_of(kept) == data_set_of(path)
        assert dcmread(kept).file_meta.TransferSyntaxUID == EXPLICIT_LITTLE
    assert parts(archive) == []


def test_an_announcement_names_batch_study_path_and_size(
    settings: Settings, archive: Archive, tmp_path: Path
) -> None:
    [instance] = make_series(instances=1)
    archive.write_order(order_for(instance, "older-batch"))
    archive.write_order(order_for(instance, BATCH))
    announced = Announcements()

    with running(settings, announced):
        send(settings.store_port, *saved(tmp_path / "sent", [instance]))
        wait_for(lambda: bool(announced.messages))

    [message] = announced.messages
    [received] = message.instances
    file = archive.resolve(received.path)
    assert (message.batch_id, message.study_uid) == (BATCH, instance.StudyInstanceUID)
    assert file == archive.instance_path(instance.SeriesInstanceUID, instance.SOPInstanceUID)
    assert received.size == file.stat().st_size


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_jp2klossless.dcm",
        "MR_small_RLE.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "SC_rgb_jpeg.dcm",
        "image_dfl.dcm",
        "MR_small_bigendian.dcm",
    ],
)
def test_every_transfer_syntax_is_stored_as_it_is_sent(
    name: str, settings: Settings, archive: Archive
) -> None:
    path = Path(str(get_testdata_file(name)))
    dataset = dcmread(path)
    archive.write_order(order_for(dataset))
    announced = Announcements()

    with running(settings, announced):
        statuses = send(settings.store_port, path)

    kept = archive.instance_path(dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
    assert statuses == [SUCCESS]
    assert data_set_of(kept) == data_set_of(path)
    assert dcmread(kept).file_meta.TransferSyntaxUID == dataset.file_meta.TransferSyntaxUID


@pytest.mark.parametrize("sop_class", ["1.2.276.0.99.1", "1.2.840.10008.5.1.4.1.1.501.1"])
def test_private_and_unknown_storage_classes_are_accepted(
    sop_class: str, settings: Settings, archive: Archive, tmp_path: Path
) -> None:
    [instance] = make_series(instances=1)
    instance.SOPClassUID = instance.file_meta.MediaStorageSOPClassUID = sop_class
    archive.write_order(order_for(instance))

    with running(settings, Announcements()):
        statuses = send(settings.store_port, *saved(tmp_path / "sent", [instance]))

    assert statuses == [SUCCESS]
    assert archive.instances(instance.SeriesInstanceUID) == {instance.SOPInstanceUID}


@pytest.mark.parametrize("known", [True, False])
def test_no_transfer_syntax_and_no_storage_class_is_ever_refused(
    known: bool, settings: Settings
) -> None:
    classes = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    if known:
        pairs = [(CT, syntax) for syntax in ALL_TRANSFER_SYNTAXES]
        pairs += [(sop_class, EXPLICIT_LITTLE) for sop_class in classes[:80]]
    else:
        pairs = [(CT, "1.2.276.0.99.7"), ("1.2.276.0.99.1", "1.2.276.0.99.7")]
        pairs += [(sop_class, EXPLICIT_LITTLE) for sop_class in classes[80:]]

    with running(settings, Announcements()):
        association = AE("SENDER").associate(
            "127.0.0.1", settings.store_port, contexts=[build_context(*pair) for pair in pairs]
        )
        refused = association.rejected_contexts
        accepted = len(association.accepted_contexts)
        association.release()

    assert refused == [] and accepted == len(pairs)


def test_a_query_service_is_not_taken_for_storage(settings: Settings) -> None:
    ae = AE("SENDER")
    ae.add_requested_context("1.2.840.10008.5.1.4.1.2.2.1")
    ae.add_requested_context("1.2.840.10008.1.1")

    with running(settings, Announcements()):
        association = ae.associate("127.0.0.1", settings.store_port)
        accepted = [str(context.abstract_syntax) for context in association.accepted_contexts]
        echo = association.send_c_echo()
        association.release()

    assert accepted == ["1.2.840.10008.1.1"]
    assert echo.Status == SUCCESS


def test_a_series_nobody_asked_for_goes_to_quarantine(
    settings: Settings, archive: Archive, tmp_path: Path
) -> None:
    series = make_series(instances=2)
    announced = Announcements()

    with running(settings, announced):
        statuses = send(settings.store_port, *saved(tmp_path / "sent", series))

    assert statuses == [MISMATCH, MISMATCH]
    assert quarantined(archive) == {"unrequested": 2}
    assert list(archive.incoming.iterdir()) == []
    assert announced.messages == []


def test_an_instance_of_another_study_than_ordered_goes_to_quarantine(
    settings: Settings, archive: Archive, tmp_path: Path
) -> None:
    [ordered] = make_series(instances=1)
    [sent] = make_series(
        instances=1, study_uid="1.2.3.4", series_uid=str(ordered.SeriesInstanceUID)
    )
    archive.write_order(order_for(ordered))

    with running(settings, Announcements()):
        statuses = send(settings.store_port, *saved(tmp_path / "sent", [sent]))

    assert statuses == [MISMATCH]
    assert quarantined(archive) == {"uid_mismatch": 1}
    assert archive.instances(ordered.SeriesInstanceUID) == set()


def test_an_instance_that_is_not_what_the_command_says_goes_to_quarantine(
    settings: Settings, archive: Archive, tmp_path: Path
) -> None:
    [instance] = make_series(instances=1)
    archive.write_order(order_for(instance))
    [honest] = saved(tmp_path / "sent", [instance])
    liar = raw_file(tmp_path / "liar", CT, "1.2.3.4.5", EXPLICIT_LITTLE, data_set_of(honest))

    with running(settings, Announcements()):
        statuses = send(settings.store_port, liar)

    assert statuses == [MISMATCH]
    assert quarantined(archive) == {"uid_mismatch": 1}


def test_bytes_that_cannot_be_read_go_to_quarantine_as_they_are(
    settings: Settings, archive: Archive, tmp_path: Path
) -> None:
    junk = raw_file(tmp_path / "junk", CT, "1.2.3", EXPLICIT_LITTLE, b"not a data set" * 10)

    with running(settings, Announcements()):
        statuses = send(settings.store_port, junk)

    [kept] = (archive.quarantine / "unreadable").iterdir()
    assert statuses == [UNREADABLE]
    assert data_set_of(kept) == data_set_of(junk)


def test_the_same_instance_again_is_a_success_and_announced_again(
    settings: Settings, archive: Archive, tmp_path: Path
) -> None:
    [instance] = make_series(instances=1)
    archive.write_order(order_for(instance))
    [path] = saved(tmp_path / "sent", [instance])
    announced = Announcements()

    with running(settings, announced):
        first = send(settings.store_port, path)
        wait_for(lambda: len(announced.uids) == 1)
        second = send(settings.store_port, path)
        wait_for(lambda: len(announced.uids) == 2)

    assert first + second == [SUCCESS, SUCCESS]
    assert announced.uids == [instance.SOPInstanceUID] * 2
    assert archive.instances(instance.SeriesInstanceUID) == {instance.SOPInstanceUID}
    assert quarantined(archive) == {} and parts(archive) == []


def test_another_content_of_a_known_instance_is_kept_aside_and_answered_with_a_warning(
    settings: Settings, archive: Archive, tmp_path: Path
) -> None:
    [instance] = make_series(instances=1)
    archive.write_order(order_for(instance))
    [first] = saved(tmp_path / "first", [instance])
    instance.SeriesDescription = "Changed"
    [second] = saved(tmp_path / "second", [instance])
    announced = Announcements()

    with running(settings, announced):
        send(settings.store_port, first)
        wait_for(lambda: len(announced.uids) == 1)
        statuses = send(settings.store_port, second)

    kept = archive.instance_path(instance.SeriesInstanceUID, instance.SOPInstanceUID)
    [aside] = (archive.quarantine / "conflicting").iterdir()
    assert statuses == [CONFLICT]
    assert data_set_of(kept) == data_set_of(first)
    assert data_set_of(aside) == data_set_of(second)
    assert len(announced.uids) == 1


def no_matter(written: WrittenInstance) -> None:
    """In the committer's place."""


def receive(receiver: Receiver, instance: Dataset) -> int:
    raw = encode(instance, False, True)
    assert raw is not None
    reception = receiver.begin(FileMeta(CT, str(instance.SOPInstanceUID), EXPLICIT_LITTLE))
    for start in range(0, len(raw), 1000):
        reception.write(raw[start : start + 1000])
    return reception.finish()


def test_a_full_disk_is_answered_as_such_and_leaves_nothing(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    [instance] = make_series(instances=1)
    archive.write_order(order_for(instance))
    room = 500
    write = os.write

    def write_half(handle: int, content: memoryview) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = write(handle, content[:room])
        room -= done
        return done

    monkeypatch.setattr(os, "write", write_half)

    assert receive(Receiver(archive, "t", no_matter), instance) == NO_RESOURCES
    assert parts(archive) == []


def test_a_committer_that_is_behind_is_answered_as_no_resources_and_leaves_nothing(
    archive: Archive,
) -> None:
    first, second = make_series(instances=2)
    archive.write_order(order_for(first))
    handovers: queue.Queue[WrittenInstance] = queue.Queue(1)
    receiver = Receiver(archive, "t", handovers.put_nowait)

    assert [receive(receiver, first), receive(receiver, second)] == [SUCCESS, NO_RESOURCES]
    assert parts(archive) == [handovers.get().part]


def test_an_order_file_that_is_broken_refuses_for_now(archive: Archive) -> None:
    [instance] = make_series(instances=1)
    archive.write_order(order_for(instance))
    (archive.series_folder(instance.SeriesInstanceUID) / "order.json").write_text("{")

    assert receive(Receiver(archive, "t", no_matter), instance) == NO_RESOURCES


def test_a_changed_order_file_is_noticed(archive: Archive) -> None:
    first, second = make_series(instances=2)
    handovers: queue.Queue[WrittenInstance] = queue.Queue()
    receiver = Receiver(archive, "t", handovers.put)
    archive.write_order(order_for(first, "batch-1"))
    receive(receiver, first)
    archive.write_order(order_for(first, "batch-2"))
    receive(receiver, second)

    assert [handovers.get().batch_id, handovers.get().batch_id] == ["batch-1", "batch-2"]


def test_the_log_of_a_refusal_holds_no_identifier(
    archive: Archive, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    [instance] = make_series(patient_id="PLANTED1", patient_name="PLANTED2", instances=1)
    with caplog.at_level("DEBUG", logger="pacstream"):
        receive(Receiver(archive, "t", no_matter), instance)

    texts = [f"{r.getMessage()} {getattr(r, 'fields', '')}" for r in caplog.records]
    assert any("unrequested" in text for text in texts)
    output = " ".join([*texts, *capfd.readouterr()])
    for planted in ("PLANTED1", "PLANTED2", instance.SOPInstanceUID, instance.StudyInstanceUID):
        assert planted not in output


def test_sockets_of_both_sides_do_not_wait(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick: dict[str, list[int]] = {"acceptor": [], "requestor": []}
    no_delay: dict[str, int] = {}
    recv, fill = dimse._stock_recv, Wire._fill

    def watched(self: AssociationSocket, nr_bytes: int) -> bytearray:
        assert self.socket is not None
        quick["requestor"].append(self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK))
        no_delay["requestor"] = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        return recv(self, nr_bytes)

    def watched_fill(self: Wire) -> None:
        connection = self._connection
        fill(self)
        quick["acceptor"].append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK))
        no_delay["acceptor"] = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    monkeypatch.setattr(dimse, "_stock_recv", watched)
    monkeypatch.setattr(Wire, "_fill", watched_fill)
    with running(settings, Announcements()):
        ae = new_ae("SENDER", 5.0)
        ae.add_requested_context("1.2.840.10008.1.1")
        association = ae.associate("127.0.0.1", settings.store_port, evt_handlers=[NO_DELAY])
        assert association.send_c_echo().Status == SUCCESS
        association.release()

    assert no_delay == {"acceptor": 1, "requestor": 1}
    assert len(quick["acceptor"]) >= 2 and len(quick["requestor"]) >= 2
    assert set(quick["requestor"]) == {1} and set(quick["acceptor"]) == {1}


def test_the_same_instance_twice_before_its_commit_is_kept_whole_and_once(
    settings: Settings, archive: Archive, tmp_path: Path
) -> None:
    [instance] = make_series(instances=1, rows=256)
    archive.write_order(order_for(instance))
    [path] = saved(tmp_path / "sent", [instance])
    announced = Announcements(away=True)

    with running(settings, announced):
        statuses = send(settings.store_port, path) + send(settings.store_port, path)
        assert len(parts(archive)) == 2
        announced.away = False
        wait_for(lambda: len(announced.uids) == 2)

    kept = archive.instance_path(instance.SeriesInstanceUID, instance.SOPInstanceUID)
    assert statuses == [SUCCESS, SUCCESS]
    assert data_set_of(kept) == data_set_of(path)
    assert parts(archive) == []
