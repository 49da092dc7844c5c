"""A disk that does not keep names: nobody is told Success for it, and the process ends."""

from __future__ import annotations

import errno
import gc
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacstream.archive import Archive, flush_folder
from pacstream.receiving import commit as commit_module
from pacstream.receiving.commit import NotDurableError
from pacstream.receiving.deposit import Deposit
from pacstream.settings import Settings
from pacstream_store_scp import worker
from tests.fakes.datasets import uid_from
from tests.unit.store_scp.scp import Announcements, new_settings, parts, running, wait_for
from tests.unit.store_scp.test_commit import write
from tests.unit.store_scp.watched import WatchedScp

SUCCESS, OUT_OF_RESOURCES = 0x0000, 0xA700


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """While it is set, folders can't be flushed."""
    flag = threading.Event()

    def flush(folder: Path) -> None:
        if flag.is_set():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        flush_folder(folder)

    monkeypatch.setattr(commit_module, "flush_folder", flush)
    yield flag
    flag.clear()


def new_scp(settings: Settings) -> WatchedScp:
    return WatchedScp(settings.store_port, Archive(settings.data), Announcements())


def test_a_sender_that_waits_is_refused_and_the_process_is_of_no_more_use(
    tmp_path: Path, failing: threading.Event
) -> None:
    settings = new_settings(tmp_path, durable_ack=True)
    scp = new_scp(settings)
    first, second = scp.ordered(), scp.ordered()

    with running(settings, scp.announced) as process, scp.associated() as sender:
        failing.set()
        assert sender.store(first) == OUT_OF_RESOURCES
        wait_for(lambda: not process.is_alive)
        assert not process.health()[0]
        failing.clear()
        assert sender.store(second) == OUT_OF_RESOURCES
        sender.release()

    assert scp.announced.messages == []
    assert len(parts(scp.archive)) == 1


@pytest.mark.parametrize("durable_ack", [True, False])
def test_the_next_process_begins_with_what_is_there(
    tmp_path: Path, failing: threading.Event, durable_ack: bool
) -> None:
    settings = new_settings(tmp_path, durable_ack=durable_ack)
    scp = new_scp(settings)
    instance = scp.ordered()
    with running(settings, scp.announced) as process, scp.associated() as sender:
        failing.set()
        assert sender.store(instance) == (OUT_OF_RESOURCES if durable_ack else SUCCESS)
        wait_for(lambda: not process.is_alive)
        sender.release()
    failing.clear()

    with running(settings, scp.announced):
        wait_for(lambda: scp.holds(instance))

    assert scp.announced.uids == [instance.sop_instance]
    assert parts(scp.archive) == []


def test_new_instances_are_refused_before_they_are_written(
    tmp_path: Path, failing: threading.Event
) -> None:
    settings = new_settings(tmp_path)
    scp = new_scp(settings)
    with running(settings, scp.announced) as process, scp.associated() as sender:
        failing.set()
        assert sender.store(scp.ordered()) == SUCCESS
        wait_for(lambda: not process.is_alive)
        for _ in range(3):
            assert sender.store(scp.ordered()) == OUT_OF_RESOURCES
        sender.release()


def test_the_process_ends_with_an_error(
    tmp_path: Path,
    failing: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Publisher(Announcements):
        def __init__(self, *_: object) -> None:
            super().__init__()

        def close(self) -> None:
            """There is no connection."""

    monkeypatch.setattr(worker, "Publisher", Publisher)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    settings = new_settings(tmp_path, http_port=0)
    scp = new_scp(settings)
    codes: list[int] = []
    serving = threading.Thread(
        target=lambda: codes.append(worker.serve(settings, threading.Event()))
    )
    serving.start()

    def is_up() -> bool:
        try:
            socket.create_connection(("127.0.0.1", settings.store_port), 1).close()
        except OSError:
            return False
        return True

    wait_for(is_up)
    failing.set()
    with scp.associated() as sender:
        assert sender.store(scp.ordered()) == SUCCESS
        sender.release()
    serving.join(20)

    assert codes == [1]
    told = [record.getMessage() for record in caplog.records]
    assert any("the disk keeps no names" in text for text in told)


def test_what_comes_on_a_connection_of_ours_is_asked_for_again(
    tmp_path: Path, failing: threading.Event
) -> None:
    archive, announced = Archive(tmp_path), Announcements()

    deposit = Deposit(archive, announced.publish, instances=2, delay_s=60.0)
    series = uid_from("series")
    deposit.hand_over(write(archive, 1))
    failing.set()
    with pytest.raises(NotDurableError):
        deposit.hand_over(write(archive, 2))
    failing.clear()
    deposit.hand_over(write(archive, 1))
    deposit.hand_over(write(archive, 2))
    deposit.finish()

    assert announced.uids == [uid_from(series, 1), uid_from(series, 2)]
    assert parts(archive) == []
