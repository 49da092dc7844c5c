"""C-MOVE from a PACS into the store SCP: what arrives, and what is reported."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom.association import Association
from pynetdicom.dsutils import encode

from pacstream.archive import Archive
from pacstream.errors import PacsRejectedError, PacsUnreachableError, RetryLaterError
from pacstream.messages import Actions, PacsNode, SeriesMoved, SeriesRequested
from pacstream.settings import Settings
from pacstream_retrieve.associations import Associations
from pacstream_retrieve.mover import STUDY_ROOT_MOVE, Outcome, move_series, reason_of
from tests.fakes.datasets import make_series
from tests.fakes.pacs import Behaviour, FakePacs
from tests.unit.store_scp.scp import (
    Announcements,
    data_set_of,
    new_settings,
    order_for,
    quarantined,
    running,
    wait_for,
)

DESTINATION = "PACSTREAM"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return new_settings(tmp_path / "data")


@pytest.fixture
def archive(settings: Settings) -> Archive:
    return Archive(settings.data)


@pytest.fixture
def pool() -> Iterator[Associations]:
    associations = Associations([STUDY_ROOT_MOVE], limit=2, timeout_s=5.0)
    yield associations
    associations.close_all()


def request_for(
    pacs: FakePacs, instance: Dataset, instances: Sequence[str] = (), **actions: bool
) -> SeriesRequested:
    order = order_for(instance).model_copy(
        update={"actions": Actions(**(actions or {"save": True}))}
    )
    return SeriesRequested(
        batch_id="batch-1",
        pacs=pacs.node(),
        destination=DESTINATION,
        order=order,
        instances=tuple(instances),
        round=2,
    )


def move(
    request: SeriesRequested,
    archive: Archive,
    pool: Associations,
    *,
    timeout_s: float = 5.0,
    deadline_s: float = 60.0,
) -> SeriesMoved:
    return move_series(request, archive, pool, timeout_s=timeout_s, deadline_s=deadline_s)


def counters(moved: SeriesMoved) -> tuple[int | None, int | None, int | None]:
    return moved.completed, moved.failed, moved.warning


def test_a_series_arrives_whole_byte_identical_and_once(
    settings: Settings, archive: Archive, pool: Associations
) -> None:
    wanted = make_series(instances=12)
    sibling = make_series(instances=3, series_number=2)
    announced = Announcements()
    destinations = {DESTINATION: ("127.0.0.1", settings.store_port)}
    with (
        running(settings, announced),
        FakePacs(wanted + sibling, destinations=destinations) as pacs,
    ):
        moved = move(request_for(pacs, wanted[0]), archive, pool)
        wait_for(lambda: len(announced.uids) == 12)

    assert (moved.status, moved.reason, counters(moved)) == (0x0000, "", (12, 0, 0))
    assert (moved.batch_id, moved.round) == ("batch-1", 2)
    assert moved.series_uid == wanted[0].SeriesInstanceUID
    assert sorted(announced.uids) == sorted(d.SOPInstanceUID for d in wanted)
    for instance in wanted:
        kept = archive.instance_path(instance.SeriesInstanceUID, instance.SOPInstanceUID)
        assert data_set_of(kept) == encode(instance, False, True)
    assert quarantined(archive) == {}


def test_the_order_file_is_there_before_the_pacs_is_asked(
    archive: Archive, pool: Associations, monkeypatch: pytest.MonkeyPatch
) -> None:
    [instance] = make_series(instances=1)
    seen: list[bool] = []
    with FakePacs([instance]) as pacs:
        served = pacs.serve_move

        def watch(*args: object) -> None:
            seen.append(archive.read_order(instance.SeriesInstanceUID) is not None)
            served(*args)  # type: ignore[arg-type]  # passed on as they came

        monkeypatch.setattr(pacs, "serve_move", watch)
        move(request_for(pacs, instance), archive, pool)

    assert seen == [True]


def test_a_move_to_another_destination_writes_no_order(
    archive: Archive, pool: Associations
) -> None:
    [instance] = make_series(instances=1)
    with FakePacs([instance]) as pacs:
        move(request_for(pacs, instance, move=True), archive, pool)

    assert not archive.incoming.exists()


def test_the_request_has_the_full_chain_of_unique_keys_and_no_other(
    archive: Archive, pool: Associations
) -> None:
    series = make_series(instances=2)
    with FakePacs(series) as pacs:
        move(request_for(pacs, series[0]), archive, pool)
        move(request_for(pacs, series[0], [series[1].SOPInstanceUID]), archive, pool)

    whole, single = pacs.asked("C-MOVE")
    assert {e.keyword: e.value for e in whole} == {
        "QueryRetrieveLevel": "SERIES",
        "StudyInstanceUID": series[0].StudyInstanceUID,
        "SeriesInstanceUID": series[0].SeriesInstanceUID,
    }
    assert {e.keyword: e.value for e in single} == {
        "QueryRetrieveLevel": "IMAGE",
        "StudyInstanceUID": series[0].StudyInstanceUID,
        "SeriesInstanceUID": series[0].SeriesInstanceUID,
        "SOPInstanceUID": series[1].SOPInstanceUID,
    }


def test_missing_instances_are_asked_for_in_lists_and_only_they_arrive(
    settings: Settings, archive: Archive, pool: Associations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacstream_retrieve.mover.UIDS_AT_ONCE", 3)
    series = make_series(instances=9)
    missing = [d.SOPInstanceUID for d in series[:7]]
    destinations = {DESTINATION: ("127.0.0.1", settings.store_port)}
    with (
        running(settings, Announcements()),
        FakePacs(series, destinations=destinations) as pacs,
    ):
        moved = move(request_for(pacs, series[0], missing), archive, pool)

    assert [len(i.SOPInstanceUID) for i in pacs.asked("C-MOVE")[:2]] == [3, 3]
    assert len(pacs.asked("C-MOVE", "IMAGE")) == 3
    assert (moved.reason, counters(moved)) == ("", (7, 0, 0))
    assert archive.instances(series[0].SeriesInstanceUID) == set(missing)


@pytest.mark.parametrize("status", [0xA900, 0xC000])
def test_a_pacs_that_refuses_lists_is_asked_for_one_instance_at_a_time(
    status: int, settings: Settings, archive: Archive, pool: Associations
) -> None:
    series = make_series(instances=3)
    missing = [d.SOPInstanceUID for d in series]
    behaviour = Behaviour(fail_moves=1, fail_status=status)
    destinations = {DESTINATION: ("127.0.0.1", settings.store_port)}
    with (
        running(settings, Announcements()),
        FakePacs(series, destinations=destinations, behaviour=behaviour) as pacs,
    ):
        moved = move(request_for(pacs, series[0], missing), archive, pool)

    assert [str(i.SOPInstanceUID) for i in pacs.asked("C-MOVE")[1:]] == missing
    assert (moved.status, moved.reason, counters(moved)) == (0x0000, "", (3, 0, 0))


def test_instances_that_the_pacs_counts_but_does_not_send_are_only_in_its_counters(
    settings: Settings, archive: Archive, pool: Associations
) -> None:
    series = make_series(instances=5)
    behaviour = Behaviour(drop={series[2].SOPInstanceUID: 1})
    destinations = {DESTINATION: ("127.0.0.1", settings.store_port)}
    with (
        running(settings, Announcements()),
        FakePacs(series, destinations=destinations, behaviour=behaviour) as pacs,
    ):
        moved = move(request_for(pacs, series[0]), archive, pool)

    assert (moved.status, moved.reason, counters(moved)) == (0x0000, "", (5, 0, 0))
    assert len(archive.instances(series[0].SeriesInstanceUID)) == 4


def test_an_instance_of_another_series_is_put_aside_and_does_not_disturb(
    settings: Settings, archive: Archive, pool: Associations
) -> None:
    series = make_series(instances=2)
    [foreign] = make_series(instances=1, patient_id="P2")
    destinations = {DESTINATION: ("127.0.0.1", settings.store_port)}
    with (
        running(settings, Announcements()),
        FakePacs(
            series, destinations=destinations, behaviour=Behaviour(send_foreign=foreign)
        ) as pacs,
    ):
        moved = move(request_for(pacs, series[0]), archive, pool)

    assert moved.reason == ""
    assert len(archive.instances(series[0].SeriesInstanceUID)) == 2
    assert quarantined(archive) == {"unrequested": 1}


def test_counters_that_the_pacs_does_not_send_stay_unknown(
    settings: Settings, archive: Archive, pool: Associations
) -> None:
    series = make_series(instances=2)
    destinations = {DESTINATION: ("127.0.0.1", settings.store_port)}
    with (
        running(settings, Announcements()),
        FakePacs(series, destinations=destinations, behaviour=Behaviour(omit_counts=True)) as pacs,
    ):
        moved = move(request_for(pacs, series[0]), archive, pool)

    assert (moved.status, moved.reason) == (0x0000, "")
    assert (*counters(moved), moved.remaining) == (None, None, None, None)


def test_an_unknown_destination_has_its_own_reason_and_ends_the_rounds_of_lists(
    archive: Archive, pool: Associations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacstream_retrieve.mover.UIDS_AT_ONCE", 1)
    series = make_series(instances=3)
    with FakePacs(series) as pacs:
        moved = move(
            request_for(pacs, series[0], [d.SOPInstanceUID for d in series]), archive, pool
        )

    assert (moved.status, moved.reason) == (0xA801, "move_destination_unknown")
    assert len(pacs.asked("C-MOVE")) == 1


def test_an_abort_in_mid_move_is_told_with_the_counters_so_far_and_the_next_move_works(
    settings: Settings, archive: Archive, pool: Associations
) -> None:
    series = make_series(instances=6)
    destinations = {DESTINATION: ("127.0.0.1", settings.store_port)}
    with (
        running(settings, Announcements()),
        FakePacs(series, destinations=destinations, behaviour=Behaviour(abort_after=3)) as pacs,
    ):
        broken = move(request_for(pacs, series[0]), archive, pool)
        again = move(request_for(pacs, series[0]), archive, pool)

    assert (broken.status, broken.reason) == (None, "aborted")
    assert counters(broken) == (3, 0, 0)
    assert (again.reason, counters(again)) == ("", (6, 0, 0))


def test_a_move_that_ends_without_any_response_is_asked_again_at_once(
    settings: Settings, archive: Archive, pool: Associations
) -> None:
    series = make_series(instances=2)
    destinations = {DESTINATION: ("127.0.0.1", settings.store_port)}
    with (
        running(settings, Announcements()),
        FakePacs(series, destinations=destinations, behaviour=Behaviour(abort_after=0)) as pacs,
    ):
        moved = move(request_for(pacs, series[0]), archive, pool)

    assert (moved.reason, counters(moved)) == ("", (2, 0, 0))
    assert len(pacs.asked("C-MOVE")) == 2


def test_an_association_that_has_just_ended_is_no_error_of_the_request(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    [instance] = make_series(instances=1)
    pool = Associations([STUDY_ROOT_MOVE], limit=1, timeout_s=5.0)
    opened = pool._opened

    def open_and_end(node: PacsNode) -> Association:
        association = opened(node)
        association.abort()
        return association

    monkeypatch.setattr(pool, "_opened", open_and_end)
    with FakePacs([instance]) as pacs:
        moved = move(request_for(pacs, instance), archive, pool)

    assert (moved.status, moved.reason) == (None, "aborted")


def test_a_silent_pacs_times_out(settings: Settings, archive: Archive, pool: Associations) -> None:
    series = make_series(instances=1)
    destinations = {DESTINATION: ("127.0.0.1", settings.store_port)}
    with (
        running(settings, Announcements()),
        FakePacs(series, destinations=destinations, behaviour=Behaviour(move_delay_s=2)) as pacs,
    ):
        moved = move(request_for(pacs, series[0]), archive, pool, timeout_s=0.3)

    assert (moved.status, moved.reason) == (None, "timed_out")
    assert moved.seconds < 2


@pytest.mark.parametrize(("instances", "delay_s"), [(20, 0.05), (1, 2.0)])
def test_a_move_ends_at_its_deadline_talking_or_not(
    instances: int, delay_s: float, settings: Settings, archive: Archive, pool: Associations
) -> None:
    series = make_series(instances=instances)
    destinations = {DESTINATION: ("127.0.0.1", settings.store_port)}
    behaviour = Behaviour(move_delay_s=delay_s)
    with (
        running(settings, Announcements()),
        FakePacs(series, destinations=destinations, behaviour=behaviour) as pacs,
    ):
        began = time.monotonic()
        moved = move(request_for(pacs, series[0]), archive, pool, deadline_s=0.4)
        took = time.monotonic() - began

    assert (moved.status, moved.reason) == (None, "deadline")
    assert took < 0.9


def test_an_unreachable_pacs_is_left_to_the_retries_of_the_bus(
    archive: Archive, pool: Associations
) -> None:
    [instance] = make_series(instances=1)
    with FakePacs([instance]) as pacs:
        request = request_for(pacs, instance)

    with pytest.raises(PacsUnreachableError):
        move(request, archive, pool)


def test_a_pacs_without_c_move_is_a_refusal_for_good(archive: Archive) -> None:
    [instance] = make_series(instances=1)
    unknown = Associations(["1.2.840.10008.5.1.4.1.2.1.2"], limit=1, timeout_s=5.0)
    with FakePacs([instance]) as pacs, pytest.raises(PacsRejectedError):
        move(request_for(pacs, instance), archive, unknown)


def test_an_order_file_that_cannot_be_written_is_retried(
    archive: Archive, pool: Associations
) -> None:
    [instance] = make_series(instances=1)
    archive.root.mkdir(parents=True)
    archive.incoming.write_text("a file where a folder should be")
    with FakePacs([instance]) as pacs, pytest.raises(RetryLaterError) as raised:
        move(request_for(pacs, instance), archive, pool)

    assert raised.value.code == "disk"
    assert pacs.asked("C-MOVE") == []


@pytest.mark.parametrize(
    ("status", "failed", "warning", "reason"),
    [
        (0x0000, 0, 0, ""),
        (0x0000, None, None, ""),
        (0x0000, 2, 0, "sub_operations_failed"),
        (0xB000, 1, 0, "sub_operations_failed"),
        (0xB000, None, None, "sub_operations_failed"),
        (0xB000, 0, 3, "sub_operations_warned"),
        (0xA701, None, None, "pacs_out_of_resources"),
        (0xA702, None, None, "sub_operations_refused"),
        (0xA801, None, None, "move_destination_unknown"),
        (0xA900, None, None, "identifier_mismatch"),
        (0xC002, None, None, "unable_to_process"),
        (0xFE00, None, None, "cancelled"),
        (0x0122, None, None, "move_refused"),
    ],
)
def test_each_status_has_its_reason(
    status: int, failed: int | None, warning: int | None, reason: str
) -> None:
    assert reason_of(replace(Outcome(status), failed=failed, warning=warning)) == reason


def test_the_log_of_a_move_holds_no_identifier(
    archive: Archive, pool: Associations, caplog: pytest.LogCaptureFixture
) -> None:
    [instance] = make_series(instances=1, patient_id="PLANTED")
    with FakePacs([instance]) as pacs, caplog.at_level("DEBUG", logger="pacstream_retrieve"):
        move(request_for(pacs, instance), archive, pool)

    own = [r for r in caplog.records if r.name.startswith("pacstream")]
    text = " ".join(f"{r.getMessage()} {getattr(r, 'fields', '')}" for r in own)
    assert "move_destination_unknown" in text
    for planted in ("PLANTED", instance.SeriesInstanceUID, instance.StudyInstanceUID):
        assert planted not in text
