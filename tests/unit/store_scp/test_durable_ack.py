"""With durable_ack no sender hears Success before its instance is durable under its name."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from pacstream import archive as archive_module
from pacstream.archive import Archive
from pacstream.receiving import commit as commit_module
from tests.fakes.sender import Sender
from tests.fakes.upper_layer import store_pdus
from tests.unit.store_scp.scp import Announcements, new_settings, parts, running, wait_for
from tests.unit.store_scp.watched import (
    CT_CONTEXT,
    SERIES,
    WatchedScp,
    plain_instance,
    watched,
)

SUCCESS, OUT_OF_RESOURCES, CONFLICT = 0x0000, 0xA700, 0xB000


def test_success_means_that_the_file_and_its_name_are_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []

    def note(folder: Path) -> None:
        archive_module.flush_folder(folder)
        flushed.extend(sorted(os.listdir(folder)))

    monkeypatch.setattr(commit_module, "flush_folder", note)
    with watched(tmp_path / "data", durable_ack=True) as scp, scp.associated() as sender:
        for _ in range(5):
            instance = scp.ordered()
            assert sender.store(instance) == SUCCESS
            assert f"{instance.sop_instance}.dcm" in flushed
        sender.release()


def test_without_it_the_answer_does_not_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    fdatasync = os.fdatasync

    def wait_at_the_gate(handle: int) -> None:
        gate.wait(10)
        fdatasync(handle)

    monkeypatch.setattr(os, "fdatasync", wait_at_the_gate)
    with watched(tmp_path / "data") as scp, scp.associated() as sender:
        instance = scp.ordered()
        assert sender.store(instance) == SUCCESS
        gate.set()
        wait_for(lambda: scp.holds(instance))
        sender.release()


def test_a_disk_that_fails_is_told_to_the_sender(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fdatasync, failing = os.fdatasync, threading.Event()

    def fail(handle: int) -> None:
        if failing.is_set():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fdatasync(handle)

    monkeypatch.setattr(os, "fdatasync", fail)
    settings = new_settings(tmp_path, durable_ack=True)
    scp = WatchedScp(settings.store_port, Archive(tmp_path), Announcements())
    instance = scp.ordered()

    with running(settings, scp.announced), scp.associated() as sender:
        failing.set()
        assert sender.store(instance) == OUT_OF_RESOURCES
        failing.clear()
        assert sender.store(instance) == SUCCESS
        sender.release()

    assert scp.holds(instance) and parts(scp.archive) == []


def test_two_contents_at_once_are_told_apart(tmp_path: Path) -> None:
    settings = new_settings(tmp_path, durable_ack=True)
    scp = WatchedScp(settings.store_port, Archive(tmp_path), Announcements())
    one, other = (plain_instance(7, pixels, SERIES, CT_CONTEXT.abstract) for pixels in (512, 1024))

    with (
        running(settings, scp.announced),
        scp.associated() as first,
        scp.associated() as second,
    ):
        first.send(b"".join(store_pdus(one)))
        second.send(b"".join(store_pdus(other)))
        assert sorted([first.status(), second.status()]) == [SUCCESS, CONFLICT]
        first.release()
        second.release()

    assert len(list((scp.archive.quarantine / "conflicting").iterdir())) == 1


def test_a_broker_that_is_away_does_not_hold_an_answer_back(tmp_path: Path) -> None:
    settings = new_settings(tmp_path, durable_ack=True)
    announced = Announcements()
    scp = WatchedScp(settings.store_port, Archive(tmp_path), announced)

    with running(settings, announced) as process:
        wait_for(lambda: process.health()[0])
        announced.away = True
        with Sender(settings.store_port).associate(CT_CONTEXT) as sender:
            instance = scp.ordered()
            assert sender.store(instance) == SUCCESS
            sender.release()
        assert announced.messages == []
        announced.away = False
        wait_for(lambda: scp.holds(instance))
