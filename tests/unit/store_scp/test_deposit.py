"""Instances that come on our own connections are durable before they are announced, in groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacstream.archive import Archive
from pacstream.errors import BrokerUnavailableError
from pacstream.receiving.deposit import Deposit
from pacstream.receiving.handover import WrittenInstance
from pacstream.receiving.part10 import file_meta
from tests.fakes.datasets import uid_from
from tests.unit.store_scp.scp import Announcements

STUDY, SERIES = uid_from("study"), uid_from("series")


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "data")


def write(archive: Archive, number: int) -> WrittenInstance:
    folder = archive.series_folder(SERIES)
    folder.mkdir(parents=True, exist_ok=True)
    uid = uid_from(SERIES, number)
    part = folder / f".t.{number}.part"
    part.write_bytes(file_meta("1.2", uid, "1.2.840.10008.1.2") + uid.encode())
    return WrittenInstance(part, "b", STUDY, SERIES, uid, part.stat().st_size)


def test_a_full_group_is_announced_and_the_rest_when_it_is_finished(archive: Archive) -> None:
    announced = Announcements()
    deposit = Deposit(archive, announced.publish, instances=2, delay_s=60.0)
    for number in range(5):
        deposit.hand_over(write(archive, number))
    assert [len(message.instances) for message in announced.messages] == [2, 2]
    deposit.finish()

    assert [len(message.instances) for message in announced.messages] == [2, 2, 1]
    assert archive.instances(SERIES) == set(announced.uids)


def test_a_group_that_has_waited_long_enough_is_announced_with_the_next_instance(
    archive: Archive,
) -> None:
    now = [0.0]
    announced = Announcements()
    deposit = Deposit(archive, announced.publish, instances=64, delay_s=0.05, clock=lambda: now[0])
    deposit.hand_over(write(archive, 1))
    now[0] = 0.04
    deposit.hand_over(write(archive, 2))
    assert announced.messages == []
    now[0] = 0.06
    deposit.hand_over(write(archive, 3))

    assert [len(message.instances) for message in announced.messages] == [3]


def test_without_a_broker_the_instances_are_durable_and_announced_later_in_order(
    archive: Archive,
) -> None:
    announced = Announcements(away=True)
    deposit = Deposit(archive, announced.publish, instances=1, delay_s=60.0)
    for number in range(3):
        deposit.hand_over(write(archive, number))
    assert len(archive.instances(SERIES)) == 3
    with pytest.raises(BrokerUnavailableError):
        deposit.finish()
    announced.away = False
    deposit.finish()

    assert announced.uids == [uid_from(SERIES, number) for number in range(3)]
