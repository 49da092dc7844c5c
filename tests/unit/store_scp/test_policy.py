"""Who may associate, and when: allow-list, called title, private classes, limits, disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacstream.archive import Archive
from pacstream.disk import Watermark
from tests.fakes.sender import Sender
from tests.fakes.upper_layer import ASSOCIATE_AC, ASSOCIATE_RJ, Context, accepted, associate_rq
from tests.unit.store_scp.scp import Announcements, new_settings, parts, running, wait_for
from tests.unit.store_scp.watched import CT, CT_CONTEXT, WatchedScp

SUCCESS, OUT_OF_RESOURCES = 0x0000, 0xA700
CALLING_UNKNOWN, CALLED_UNKNOWN = (1, 1, 3), (1, 1, 7)
CONGESTION, LOCAL_LIMIT = (2, 3, 1), (2, 3, 2)
PRIVATE = "1.2.276.0.99.1"


def answer(port: int, *contexts: Context, **request: bytes) -> tuple[int, int, int] | None:
    """Result, source and reason of the rejection; None if the association is accepted."""
    with Sender(port) as sender:
        sender.send(associate_rq(contexts or (CT_CONTEXT,), **request))  # type: ignore[arg-type]
        pdu = sender.read()
        assert pdu is not None and pdu.kind in (ASSOCIATE_AC, ASSOCIATE_RJ)
        if pdu.kind == ASSOCIATE_AC:
            sender.release()
            return None
        return pdu.body[1], pdu.body[2], pdu.body[3]


def test_a_calling_title_that_is_not_listed_is_refused_with_its_reason(tmp_path: Path) -> None:
    settings = new_settings(tmp_path, store_calling_aets="PACS1, PACS2 ")

    with running(settings, Announcements()):
        assert answer(settings.store_port, calling=b"STRANGER") == CALLING_UNKNOWN
        assert answer(settings.store_port, calling=b"PACS2") is None


def test_every_calling_and_called_title_is_welcome_by_default(tmp_path: Path) -> None:
    settings = new_settings(tmp_path)

    with running(settings, Announcements()):
        assert answer(settings.store_port, calling=b"STRANGER", called=b"WHOEVER") is None


def test_another_called_title_is_refused_where_ours_is_required(tmp_path: Path) -> None:
    settings = new_settings(tmp_path, store_require_called_aet=True, store_aet="OURS")

    with running(settings, Announcements()):
        assert answer(settings.store_port, called=b"THEIRS") == CALLED_UNKNOWN
        assert answer(settings.store_port, called=b"OURS") is None


@pytest.mark.parametrize("admitted", [True, False])
def test_private_classes_are_accepted_as_the_setting_says(admitted: bool, tmp_path: Path) -> None:
    settings = new_settings(tmp_path, store_private_classes=admitted)

    with running(settings, Announcements()), Sender(settings.store_port) as sender:
        sender.send(associate_rq([Context(1, PRIVATE), Context(3, CT)]))
        pdu = sender.read()
        assert pdu is not None

        assert (1 in accepted(pdu)) == admitted
        assert 3 in accepted(pdu)
        sender.release()


def test_one_association_too_many_is_refused_for_now_and_a_place_is_free_again(
    tmp_path: Path,
) -> None:
    settings = new_settings(tmp_path, store_associations=1)

    with running(settings, Announcements()) as scp:
        with Sender(settings.store_port).associate(CT_CONTEXT) as first:
            assert answer(settings.store_port) == LOCAL_LIMIT
            first.release()
        wait_for(lambda: scp.health()[1]["associations"] == 0)
        assert answer(settings.store_port) is None


@pytest.mark.parametrize("reason", ["bytes", "inodes"])
def test_a_full_disk_refuses_instances_and_associations_and_recovers_by_itself(
    reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = False
    look = Watermark._look

    def look_at_full(self: Watermark) -> bool:
        if full:
            impossible = {"bytes": {"_size": 1 << 62}, "inodes": {"_inodes": 1 << 62}}[reason]
            monkeypatch.setattr(self, *next(iter(impossible.items())))
        else:
            monkeypatch.setattr(self, "_size", 0)
            monkeypatch.setattr(self, "_inodes", 0)
        return look(self)

    monkeypatch.setattr(Watermark, "_look", look_at_full)
    settings, announced = new_settings(tmp_path), Announcements()
    scp = WatchedScp(settings.store_port, Archive(tmp_path), announced)
    with running(settings, announced), scp.associated() as sender:
        assert sender.store(scp.ordered()) == SUCCESS
        full = True
        wait_for(lambda: answer(scp.port) == CONGESTION)
        assert sender.store(scp.ordered()) == OUT_OF_RESOURCES
        full = False
        wait_for(lambda: answer(scp.port) is None)
        scp.stays_usable(sender)
    assert parts(scp.archive) == []


def test_a_watermark_without_limits_is_never_reached(tmp_path: Path) -> None:
    assert not Watermark(tmp_path).is_reached()
    assert Watermark(tmp_path, size=1 << 62).is_reached()
    assert Watermark(tmp_path, inodes=1 << 62).is_reached()
    assert Watermark(tmp_path, percent=100).is_reached()


def test_a_watermark_looks_again_after_its_time(tmp_path: Path) -> None:
    now = 0.0
    mark = Watermark(tmp_path, remember_s=5.0, clock=lambda: now)
    assert not mark.is_reached()
    mark._size = 1 << 62

    assert not mark.is_reached()
    now = 5.0
    assert mark.is_reached()
