"""C-MOVE from a PACS into the store SCP: what arrives, and what is reported."""

from __future__ import annotations

import time

import pytest
from pynetdicom.association import Association
from pynetdicom.dsutils import encode

from pacstream.archive import Archive
from pacstream.associations import Proposal
from pacstream.errors import RetryLaterError
from pacstream.messages import PacsNode
from pacstream.settings import Settings
from tests.fakes.datasets import make_series
from tests.fakes.pacs import Behaviour, FakePacs
from tests.unit.retrieve.asking import (
    DESTINATION,
    Bench,
    counters,
    pacs_for,
    request_for,
    with_profile,
)
from tests.unit.store_scp.scp import (
    BATCH,
    Announcements,
    data_set_of,
    new_settings,
    order_for,
    quarantined,
    running,
    wait_for,
)


def test_a_series_arrives_whole_byte_identical_and_once(
    settings: Settings, archive: Archive, bench: Bench
) -> None:
    wanted = make_series(instances=12)
    sibling = make_series(instances=3, series_number=2)
    announced = Announcements()
    destinations = {DESTINATION: ("127.0.0.1", settings.store_port)}
    with (
        running(settings, announced),
        FakePacs(wanted + sibling, destinations=destinations) as pacs,
    ):
        moved = bench.ask(request_for(pacs.node(), wanted[0]))
        wait_for(lambda: len(announced.uids) == 12)

    assert (moved.status, moved.reason, counters(moved)) == (0x0000, "", (12, 0, 0))
    assert (moved.batch_id, moved.round) == (BATCH, 2)
    assert moved.series_uid == wanted[0].SeriesInstanceUID
    assert sorted(announced.uids) == sorted(d.SOPInstanceUID for d in wanted)
    for instance in wanted:
        kept = archive.instance_path(instance.SeriesInstanceUID, instance.SOPInstanceUID)
        assert data_set_of(kept) == encode(instance, False, True)
    assert quarantined(archive) == {}


def test_the_order_file_is_there_before_the_pacs_is_asked(
    archive: Archive, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    [instance] = make_series(instances=1)
    seen: list[bool] = []
    with FakePacs([instance]) as pacs:
        served = pacs.serve_move

        def watch(*args: object) -> None:
            seen.append(archive.read_order(instance.SeriesInstanceUID) is not None)
            served(*args)  # type: ignore[arg-type]  # passed on as they came

        monkeypatch.setattr(pacs, "serve_move", watch)
        bench.ask(request_for(pacs.node(), instance))

    assert seen == [True]


def test_a_move_to_another_destination_writes_no_order(archive: Archive, bench: Bench) -> None:
    [instance] = make_series(instances=1)
    with FakePacs([instance]) as pacs:
        bench.ask(request_for(pacs.node(), instance, move=True))

    assert not archive.incoming.exists()


def test_the_request_has_the_full_chain_of_unique_keys_and_no_other(
    archive: Archive, bench: Bench
) -> None:
    series = make_series(instances=2)
    with FakePacs(series) as pacs:
        bench.ask(request_for(pacs.node(), series[0]))
        bench.ask(request_for(pacs.node(), series[0], [series[1].SOPInstanceUID]))

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
    settings: Settings, archive: Archive, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacstream_retrieve.exchange.UIDS_AT_ONCE", 3)
    series = make_series(instances=9)
    missing = [d.SOPInstanceUID for d in series[:7]]
    destinations = {DESTINATION: ("127.0.0.1", settings.store_port)}
    with (
        running(settings, Announcements()),
        FakePacs(series, destinations=destinations) as pacs,
    ):
        moved = bench.ask(request_for(pacs.node(), series[0], missing))

    assert [len(i.SOPInstanceUID) for i in pacs.asked("C-MOVE")[:2]] == [3, 3]
    assert len(pacs.asked("C-MOVE", "IMAGE")) == 3
    assert (moved.reason, counters(moved)) == ("", (7, 0, 0))
    assert archive.instances(series[0].SeriesInstanceUID) == set(missing)


@pytest.mark.parametrize("status", [0xA900, 0xC000])
def test_a_pacs_that_refuses_lists_is_asked_for_one_instance_at_a_time(
    status: int, settings: Settings, archive: Archive, bench: Bench
) -> None:
    series = make_series(instances=3)
    missing = [d.SOPInstanceUID for d in series]
    behaviour = Behaviour(fail_moves=1, fail_status=status)
    destinations = {DESTINATION: ("127.0.0.1", settings.store_port)}
    with (
        running(settings, Announcements()),
        FakePacs(series, destinations=destinations, behaviour=behaviour) as pacs,
    ):
        moved = bench.ask(request_for(pacs.node(), series[0], missing))

    assert [str(i.SOPInstanceUID) for i in pacs.asked("C-MOVE")[1:]] == missing
    assert (moved.status, moved.reason, counters(moved)) == (0x0000, "", (3, 0, 0))


def test_instances_that_the_pacs_counts_but_does_not_send_are_only_in_its_counters(
    settings: Settings, archive: Archive, bench: Bench
) -> None:
    series = make_series(instances=5)
    behaviour = Behaviour(drop={series[2].SOPInstanceUID: 1})
    destinations = {DESTINATION: ("127.0.0.1", settings.store_port)}
    with (
        running(settings, Announcements()),
        FakePacs(series, destinations=destinations, behaviour=behaviour) as pacs,
    ):
        moved = bench.ask(request_for(pacs.node(), series[0]))

    assert (moved.status, moved.reason, counters(moved)) == (0x0000, "", (5, 0, 0))
    assert len(archive.instances(series[0].SeriesInstanceUID)) == 4


def test_an_instance_of_another_series_is_put_aside_and_does_not_disturb(
    settings: Settings, archive: Archive, bench: Bench
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
        moved = bench.ask(request_for(pacs.node(), series[0]))

    assert moved.reason == ""
    assert len(archive.instances(series[0].SeriesInstanceUID)) == 2
    assert quarantined(archive) == {"unrequested": 1}


def test_counters_that_the_pacs_does_not_send_stay_unknown(
    settings: Settings, archive: Archive, bench: Bench
) -> None:
    series = make_series(instances=2)
    destinations = {DESTINATION: ("127.0.0.1", settings.store_port)}
    with (
        running(settings, Announcements()),
        FakePacs(series, destinations=destinations, behaviour=Behaviour(omit_counts=True)) as pacs,
    ):
        moved = bench.ask(request_for(pacs.node(), series[0]))

    assert (moved.status, moved.reason) == (0x0000, "")
    assert (*counters(moved), moved.remaining) == (None, None, None, None)


def test_an_unknown_destination_has_its_own_reason_and_ends_the_rounds_of_lists(
    archive: Archive, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacstream_retrieve.exchange.UIDS_AT_ONCE", 1)
    series = make_series(instances=3)
    with FakePacs(series) as pacs:
        moved = bench.ask(request_for(pacs.node(), series[0], [d.SOPInstanceUID for d in series]))

    assert (moved.status, moved.reason) == (0xA801, "move_destination_unknown")
    assert len(pacs.asked("C-MOVE")) == 1


def test_an_abort_in_mid_move_is_told_with_the_counters_so_far_and_the_next_move_works(
    settings: Settings, archive: Archive, bench: Bench
) -> None:
    series = make_series(instances=6)
    destinations = {DESTINATION: ("127.0.0.1", settings.store_port)}
    with (
        running(settings, Announcements()),
        FakePacs(series, destinations=destinations, behaviour=Behaviour(abort_after=3)) as pacs,
    ):
        broken = bench.ask(request_for(pacs.node(), series[0]))
        again = bench.ask(request_for(pacs.node(), series[0]))

    assert (broken.status, broken.reason) == (None, "aborted")
    assert counters(broken) == (3, 0, 0)
    assert (again.reason, counters(again)) == ("", (6, 0, 0))


def test_a_move_that_ends_without_any_response_is_asked_again_at_once(
    settings: Settings, archive: Archive, bench: Bench
) -> None:
    series = make_series(instances=2)
    destinations = {DESTINATION: ("127.0.0.1", settings.store_port)}
    with (
        running(settings, Announcements()),
        FakePacs(series, destinations=destinations, behaviour=Behaviour(abort_after=0)) as pacs,
    ):
        moved = bench.ask(request_for(pacs.node(), series[0]))

    assert (moved.reason, counters(moved)) == ("", (2, 0, 0))
    assert len(pacs.asked("C-MOVE")) == 2


def test_an_association_that_has_just_ended_is_no_error_of_the_request(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    [instance] = make_series(instances=1)
    opened = bench.associations._opened

    def open_and_end(node: PacsNode, proposal: Proposal) -> Association:
        association = opened(node, proposal)
        association.abort()
        return association

    monkeypatch.setattr(bench.associations, "_opened", open_and_end)
    with FakePacs([instance]) as pacs:
        moved = bench.ask(request_for(pacs.node(), instance))

    assert (moved.status, moved.reason) == (None, "aborted")


def test_a_pacs_that_does_not_answer_a_request_times_out(settings: Settings, bench: Bench) -> None:
    series = make_series(instances=1)
    behaviour = Behaviour(move_delay_s=2)
    with running(settings, Announcements()), pacs_for(settings, series, behaviour) as pacs:
        request = request_for(pacs.node(), series[0])
        moved = bench.ask(request, response_timeout_s=0.3, idle_timeout_s=30)

    assert (moved.status, moved.reason) == (None, "timed_out")
    assert moved.seconds < 2


def test_a_pacs_that_falls_silent_between_responses_has_stalled(
    settings: Settings, bench: Bench
) -> None:
    series = make_series(instances=4)
    behaviour = Behaviour(stall_after=2)
    with running(settings, Announcements()), pacs_for(settings, series, behaviour) as pacs:
        request = request_for(pacs.node(), series[0])
        moved = bench.ask(request, response_timeout_s=30, idle_timeout_s=0.3)

    assert (moved.status, moved.reason) == (None, "stalled")
    assert counters(moved) == (2, 0, 0)
    assert moved.seconds < 5


@pytest.mark.parametrize(("instances", "delay_s"), [(20, 0.05), (1, 2.0)])
def test_a_move_ends_at_its_deadline_talking_or_not(
    instances: int, delay_s: float, settings: Settings, archive: Archive, bench: Bench
) -> None:
    series = make_series(instances=instances)
    destinations = {DESTINATION: ("127.0.0.1", settings.store_port)}
    behaviour = Behaviour(move_delay_s=delay_s)
    with (
        running(settings, Announcements()),
        FakePacs(series, destinations=destinations, behaviour=behaviour) as pacs,
    ):
        began = time.monotonic()
        moved = bench.ask(request_for(pacs.node(), series[0]), move_deadline_s=0.4)
        took = time.monotonic() - began

    assert (moved.status, moved.reason) == (None, "deadline")
    assert took < 0.9


def test_an_order_file_that_cannot_be_written_is_retried(archive: Archive, bench: Bench) -> None:
    [instance] = make_series(instances=1)
    archive.root.mkdir(parents=True)
    archive.incoming.write_text("a file where a folder should be")
    with FakePacs([instance]) as pacs, pytest.raises(RetryLaterError) as raised:
        bench.ask(request_for(pacs.node(), instance))

    assert raised.value.code == "disk"
    assert pacs.asked("C-MOVE") == []


def test_instances_are_asked_for_one_by_one_where_the_pacs_takes_no_lists(
    settings: Settings, archive: Archive, bench: Bench
) -> None:
    series = make_series(instances=3)
    missing = [d.SOPInstanceUID for d in series[:2]]
    with running(settings, Announcements()), pacs_for(settings, series) as pacs:
        node = with_profile(pacs.node(), uid_lists=False)
        moved = bench.ask(request_for(node, series[0], missing))

    assert [str(i.SOPInstanceUID) for i in pacs.asked("C-MOVE", "IMAGE")] == missing
    assert (moved.reason, counters(moved)) == ("", (2, 0, 0))
    assert archive.instances(series[0].SeriesInstanceUID) == set(missing)


def test_success_with_nothing_is_told_with_a_count_of_zero(
    settings: Settings, bench: Bench
) -> None:
    series = make_series(instances=3)
    behaviour = Behaviour(empty_success=True)
    with pacs_for(settings, series, behaviour) as pacs:
        moved = bench.ask(request_for(pacs.node(), series[0]))

    assert (moved.status, moved.reason, counters(moved)) == (0x0000, "", (0, 0, 0))


def test_a_second_content_of_an_instance_is_kept_aside_and_the_first_stays(
    settings: Settings, archive: Archive, bench: Bench
) -> None:
    series = make_series(instances=3)
    behaviour = Behaviour(send_twice=True)
    announced = Announcements()
    with running(settings, announced), pacs_for(settings, series, behaviour) as pacs:
        moved = bench.ask(request_for(pacs.node(), series[0]))
        wait_for(lambda: quarantined(archive) == {"conflicting": 1})

    assert moved.reason == ""
    first = archive.instance_path(series[0].SeriesInstanceUID, series[0].SOPInstanceUID)
    assert data_set_of(first) == encode(series[0], False, True)


def test_a_move_to_another_destination_is_a_c_move_whatever_the_pacs_prefers(
    bench: Bench,
) -> None:
    series = make_series(instances=2)
    third = new_settings(bench.settings.data.parent / "third")
    Archive(third.data).write_order(order_for(series[0]))
    with running(third, Announcements()), pacs_for(third, series) as pacs:
        node = with_profile(pacs.node(), retrieve="c-get")
        moved = bench.ask(request_for(node, series[0], move=True))

    assert (moved.reason, counters(moved)) == ("", (2, 0, 0))
    assert bench.announced.messages == [] and not bench.archive.incoming.exists()
    assert len(Archive(third.data).instances(series[0].SeriesInstanceUID)) == 2


def test_a_move_of_one_of_six_series_pushes_five_instances_and_not_thirty(bench: Bench) -> None:
    """PACSIFIER's --move, at PATIENT level, pushed all that the patient has."""
    six = [make_series("P100", instances=5, series_number=number) for number in range(6)]
    third = new_settings(bench.settings.data.parent / "third")
    for series in six:
        Archive(third.data).write_order(order_for(series[0]))
    with (
        running(third, Announcements()),
        pacs_for(third, [instance for series in six for instance in series]) as pacs,
    ):
        moved = bench.ask(request_for(pacs.node(), six[2][0], move=True))

    assert (moved.reason, counters(moved)) == ("", (5, 0, 0))
    arrived = [len(Archive(third.data).instances(one[0].SeriesInstanceUID)) for one in six]
    assert arrived == [0, 0, 5, 0, 0, 0]


def test_the_log_of_a_move_holds_no_identifier(
    archive: Archive, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    [instance] = make_series(instances=1, patient_id="PLANTED")
    with FakePacs([instance]) as pacs, caplog.at_level("DEBUG", logger="pacstream_retrieve"):
        bench.ask(request_for(pacs.node(), instance))

    own = [r for r in caplog.records if r.name.startswith("pacstream")]
    text = " ".join(f"{r.getMessage()} {getattr(r, 'fields', '')}" for r in own)
    assert "move_destination_unknown" in text
    for planted in ("PLANTED", instance.SeriesInstanceUID, instance.StudyInstanceUID):
        assert planted not in text
