"""Nothing is announced before it is durable; nothing is lost while the broker is away."""

from __future__ import annotations

import errno
import os
import queue
import threading
from pathlib import Path

import pytest

from pacstream.archive import Archive
from pacstream.errors import UnroutableError
from pacstream.messages import InstancesReceived, Message
from pacstream.receiving import commit as commit_module
from pacstream.receiving.commit import Committer, commit, facts_of, forget
from pacstream.receiving.handover import WrittenInstance
from pacstream.receiving.part10 import file_meta
from tests.fakes.datasets import make_series, uid_from
from tests.unit.store_scp.scp import (
    Announcements,
    new_settings,
    order_for,
    parts,
    quarantined,
    running,
    saved,
    send,
    wait_for,
)

STUDY, SERIES = uid_from("study"), uid_from("series")


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "data")


def write(
    archive: Archive, number: int, series: str = SERIES, batch: str = "b", content: bytes = b""
) -> WrittenInstance:
    folder = archive.series_folder(series)
    folder.mkdir(parents=True, exist_ok=True)
    uid = uid_from(series, number)
    part = folder / f".t.{len(list(folder.iterdir()))}.part"
    part.write_bytes(file_meta("1.2", uid, "1.2.840.10008.1.2") + (content or uid.encode()))
    return WrittenInstance(part, batch, STUDY, series, uid, part.stat().st_size)


def uids(messages: list[InstancesReceived]) -> list[str]:
    return [i.sop_instance_uid for message in messages for i in message.instances]


def test_a_group_is_announced_once_for_each_series_and_batch(archive: Archive) -> None:
    other = uid_from("other")
    group = [
        write(archive, 1),
        write(archive, 1, other),
        write(archive, 2),
        write(archive, 3, batch="later"),
    ]

    messages = facts_of(archive, commit(archive, group))
    forget(group)

    told = [(m.series_uid, m.batch_id, len(m.instances)) for m in messages]
    assert told == [(SERIES, "b", 2), (other, "b", 1), (SERIES, "later", 1)]
    assert len(archive.instances(SERIES)) == 3 and parts(archive) == []


def test_a_trial_without_a_batch_is_kept_but_not_announced(archive: Archive) -> None:
    assert facts_of(archive, commit(archive, [write(archive, 1, batch="")])) == []
    assert archive.instances(SERIES) == {uid_from(SERIES, 1)}


def test_two_contents_of_one_instance_in_a_group_are_both_kept(archive: Archive) -> None:
    group = [write(archive, 1, content=b"first"), write(archive, 1, content=b"other")]

    committed = commit(archive, group)

    assert committed == group[:1]
    final = archive.instance_path(SERIES, uid_from(SERIES, 1))
    assert final.read_bytes().endswith(b"first")
    assert quarantined(archive) == {"conflicting": 1}


def test_a_disk_without_hard_links_gets_renames(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    group = [write(archive, 1), write(archive, 2), write(archive, 2, content=b"other")]

    assert commit(archive, group) == group[:2]
    forget(group)
    assert quarantined(archive) == {"conflicting": 1} and parts(archive) == []


def test_an_instance_that_the_disk_refuses_is_not_announced_and_the_others_are(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = write(archive, 1), write(archive, 2)
    flushed = os.fdatasync

    def fail_for_bad(handle: int) -> None:
        if os.path.samestat(os.fstat(handle), bad.part.stat()):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        flushed(handle)

    monkeypatch.setattr(os, "fdatasync", fail_for_bad)

    assert commit(archive, [good, bad]) == [good]
    assert parts(archive) == [good.part]
    forget([good, bad])
    assert archive.instances(SERIES) == {good.sop_instance_uid} and parts(archive) == []


def test_a_temporary_file_that_has_gone_does_not_stop_its_group(archive: Archive) -> None:
    gone, good = write(archive, 1), write(archive, 2)
    gone.part.unlink()

    assert commit(archive, [gone, good]) == [good]


def test_files_and_folder_are_flushed_before_the_announcement(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    monkeypatch.setattr(os, "fdatasync", lambda handle: steps.append("file"))
    monkeypatch.setattr(commit_module, "flush_folder", lambda folder: steps.append("folder"))

    def publish(message: Message) -> None:
        assert isinstance(message, InstancesReceived)
        assert archive.instances(SERIES) == set(uids([message]))
        steps.append("announce")

    handovers: queue.Queue[WrittenInstance] = queue.Queue()
    handovers.put(write(archive, 1))
    handovers.put(write(archive, 2))
    committer = Committer(handovers, archive, publish, lambda: None, instances=2, delay_s=0.02)
    committer.start()

    assert committer.stop(5)
    assert steps == ["file", "file", "folder", "announce"]


def test_a_group_is_cut_at_its_size_and_does_not_wait_then(archive: Archive) -> None:
    handovers: queue.Queue[WrittenInstance] = queue.Queue()
    announced = Announcements()
    for number in range(5):
        handovers.put(write(archive, number))
    committer = Committer(
        handovers, archive, announced.publish, announced.connect, instances=2, delay_s=0.05
    )
    committer.start()

    assert committer.stop(5)
    assert [len(message.instances) for message in announced.messages] == [2, 2, 1]


def test_an_outage_of_the_broker_holds_and_then_announces_each_instance_once_and_in_order(
    tmp_path: Path,
) -> None:
    settings = new_settings(tmp_path / "data", commit_instances=4, commit_ms=5)
    archive = Archive(settings.data)
    series = make_series(instances=12)
    archive.write_order(order_for(series[0]))
    paths = saved(tmp_path / "sent", series)
    announced = Announcements()

    with running(settings, announced) as scp:
        send(settings.store_port, paths[0])
        wait_for(lambda: len(announced.uids) == 1)
        announced.away = True
        statuses = send(settings.store_port, *paths[1:])
        wait_for(lambda: not scp.health()[0])
        announced.away = False
        wait_for(lambda: len(announced.uids) == 12)
        wait_for(lambda: scp.health()[0])

    assert statuses == [0x0000] * 11
    assert announced.uids == [d.SOPInstanceUID for d in series]


def test_a_long_outage_becomes_refusals_not_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacstream_store_scp.process.HOLD_S", 0.1)
    settings = new_settings(tmp_path / "data", commit_instances=1, commit_ms=5)
    archive = Archive(settings.data)
    series = make_series(instances=12)
    archive.write_order(order_for(series[0]))
    announced = Announcements(away=True)

    with running(settings, announced):
        statuses = send(settings.store_port, *saved(tmp_path / "sent", series))
        held = len(parts(archive))
        announced.away = False
        wait_for(lambda: len(announced.uids) == statuses.count(0))

    assert set(statuses) == {0x0000, 0xA700}
    assert held == statuses.count(0)
    taken = [d.SOPInstanceUID for d, s in zip(series, statuses, strict=True) if s == 0]
    assert announced.uids == taken


def test_a_queue_that_is_not_bound_yet_is_waited_for(archive: Archive) -> None:
    announced: list[Message] = []
    bound = threading.Event()

    def publish(message: Message) -> None:
        if not bound.is_set():
            bound.set()
            raise UnroutableError("no queue")
        announced.append(message)

    handovers: queue.Queue[WrittenInstance] = queue.Queue()
    handovers.put(write(archive, 1))
    committer = Committer(handovers, archive, publish, lambda: None, instances=1, delay_s=0.01)
    committer.start()

    assert committer.stop(5)
    assert len(announced) == 1


def test_a_stop_without_a_broker_commits_and_says_what_was_not_announced(
    archive: Archive,
) -> None:
    announced = Announcements()
    handovers: queue.Queue[WrittenInstance] = queue.Queue()
    committer = Committer(
        handovers, archive, announced.publish, announced.connect, instances=4, delay_s=0.01
    )
    committer.start()
    wait_for(lambda: committer.broker_reached)
    announced.away = True
    for number in range(6):
        handovers.put(write(archive, number))

    assert not committer.stop(0.3)
    assert committer.unannounced == 6
    assert len(archive.instances(SERIES)) == 6
    assert len(parts(archive)) == 6, "what the next process knows them by"
