"""WADO-RS: the same checks and the same commit; no cut answer is ever taken for whole."""

from __future__ import annotations

import pytest
from pynetdicom.dsutils import encode

from pacstream.archive import Archive
from pacstream_retrieve.web import reason_of_http
from tests.fakes.datasets import make_series
from tests.unit.retrieve.asking import Bench, counters, deaf, request_for, with_profile
from tests.unit.retrieve.web_server import WebPacs, part10, serving
from tests.unit.store_scp.scp import BATCH, data_set_of, free_port, parts, quarantined


def test_a_series_arrives_whole_byte_identical_and_announced(
    archive: Archive, bench: Bench
) -> None:
    series = make_series(instances=5, rows=256)
    with serving(WebPacs(series)) as web:
        moved = bench.ask(request_for(web.node(), series[0]))

    assert (moved.status, moved.reason, counters(moved)) == (0x0000, "", (5, 0, 0))
    [path] = web.paths
    study, one = series[0].StudyInstanceUID, series[0].SeriesInstanceUID
    assert path == f"/dicom-web/studies/{study}/series/{one}"
    assert "transfer-syntax=*" in web.accepts[0]
    assert bench.announced.uids == [d.SOPInstanceUID for d in series]
    assert {message.batch_id for message in bench.announced.messages} == {BATCH}
    for instance in series:
        kept = archive.instance_path(instance.SeriesInstanceUID, instance.SOPInstanceUID)
        assert data_set_of(kept) == encode(instance, False, True)
    assert parts(archive) == [] and quarantined(archive) == {}


def test_missing_instances_are_fetched_one_by_one(archive: Archive, bench: Bench) -> None:
    series = make_series(instances=5)
    missing = [d.SOPInstanceUID for d in series[1:4]]
    with serving(WebPacs(series)) as web:
        moved = bench.ask(request_for(web.node(), series[0], missing))

    assert [path.rpartition("/")[2] for path in web.paths] == missing
    assert (moved.reason, counters(moved)) == ("", (3, 0, 0))
    assert archive.instances(series[0].SeriesInstanceUID) == set(missing)


def test_an_instance_larger_than_the_memory_for_it_comes_through_a_file(
    archive: Archive, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacstream_retrieve.intake.IN_MEMORY", 1000)
    monkeypatch.setattr("pacstream_retrieve.web.CHUNK", 777)
    series = make_series(instances=2, rows=128)
    with serving(WebPacs(series)) as web:
        moved = bench.ask(request_for(web.node(), series[0]))

    assert (moved.reason, counters(moved)) == ("", (2, 0, 0))
    kept = archive.instance_path(series[1].SeriesInstanceUID, series[1].SOPInstanceUID)
    assert data_set_of(kept) == encode(series[1], False, True)


def test_a_server_that_knows_no_star_is_asked_for_what_it_likes(bench: Bench) -> None:
    series = make_series(instances=2)
    with serving(WebPacs(series, knows_star=False)) as web:
        moved = bench.ask(request_for(web.node(), series[0]))

    assert (moved.reason, counters(moved)) == ("", (2, 0, 0))
    assert ["*" in accept for accept in web.accepts] == [True, False]


def test_one_instance_without_multipart_is_taken(bench: Bench) -> None:
    [instance] = make_series(instances=1)
    with serving(WebPacs([instance], bare=True)) as web:
        moved = bench.ask(request_for(web.node(), instance, [instance.SOPInstanceUID]))

    assert (moved.reason, counters(moved)) == ("", (1, 0, 0))


def test_an_instance_of_another_series_is_put_aside_and_counted(
    archive: Archive, bench: Bench
) -> None:
    series = make_series(instances=2)
    [foreign] = make_series(instances=1, patient_id="P2")
    with serving(WebPacs([*series, foreign])) as web:
        moved = bench.ask(request_for(web.node(), series[0]))

    assert (moved.status, moved.reason) == (0xB000, "sub_operations_failed")
    assert counters(moved) == (2, 1, 0)
    assert quarantined(archive) == {"unrequested": 1}


def test_a_second_content_of_an_instance_is_put_aside_and_counted(
    archive: Archive, bench: Bench
) -> None:
    series, other = make_series(instances=2), make_series(instances=2)[0]
    other.SeriesDescription = "Changed"
    with serving(WebPacs([*series, other])) as web:
        request = request_for(web.node(), series[0])
        moved = bench.ask(request, commit_instances=1)

    assert (moved.reason, counters(moved)) == ("sub_operations_warned", (2, 0, 1))
    assert quarantined(archive) == {"conflicting": 1}


@pytest.mark.parametrize("garbage", [b"x" * 500, b"\0" * 128 + b"DICM" + b"x" * 50])
def test_a_part_that_is_no_dicom_file_is_put_aside_and_the_others_are_taken(
    garbage: bytes, archive: Archive, bench: Bench
) -> None:
    series = make_series(instances=2)
    with serving(WebPacs(series, garbage=garbage)) as web:
        moved = bench.ask(request_for(web.node(), series[0]))

    assert counters(moved) == (2, 1, 0)
    [kept] = (archive.quarantine / "unreadable").iterdir()
    assert kept.read_bytes() == garbage


@pytest.mark.parametrize("bare", [False, True])
def test_an_answer_that_is_cut_is_not_taken_for_whole(
    bare: bool, archive: Archive, bench: Bench
) -> None:
    series = make_series(instances=2, rows=64)
    size = len(part10(series[0]))
    cut = size - 100 if bare else size + 500
    with serving(WebPacs(series, cut_after=cut, bare=bare)) as web:
        moved = bench.ask(request_for(web.node(), series[0]))

    assert (moved.status, moved.reason) == (None, "aborted")
    whole = [] if bare else [series[0].SOPInstanceUID]
    assert archive.instances(series[0].SeriesInstanceUID) == set(whole)
    assert bench.announced.uids == whole and quarantined(archive) == {}


def test_a_server_that_falls_silent_has_stalled(bench: Bench) -> None:
    series = make_series(instances=3)
    with serving(WebPacs(series, stall_after=2000)) as web:
        moved = bench.ask(request_for(web.node(), series[0]), response_timeout_s=0.3)

    assert (moved.status, moved.reason, moved.completed) == (None, "stalled", 1)
    assert moved.seconds < 5


def test_a_server_that_does_not_answer_times_out(bench: Bench) -> None:
    series = make_series(instances=1)
    with serving(WebPacs(series, silent_s=5)) as web:
        moved = bench.ask(request_for(web.node(), series[0]), response_timeout_s=0.3)

    assert (moved.status, moved.reason) == (None, "timed_out")


def test_a_server_that_drips_is_left_at_the_deadline(bench: Bench) -> None:
    series = make_series(instances=2)
    with serving(WebPacs(series, drip_s=0.01)) as web:
        moved = bench.ask(request_for(web.node(), series[0]), move_deadline_s=0.7)

    assert (moved.status, moved.reason) == (None, "deadline")
    assert moved.seconds < 3


def test_a_batch_that_is_cancelled_ends_its_fetching(bench: Bench) -> None:
    series = make_series(instances=8)
    uids = [d.SOPInstanceUID for d in series]
    bench.announced.before = lambda message: bench.archive.cancel(BATCH)
    with serving(WebPacs(series)) as web:
        moved = bench.ask(request_for(web.node(), series[0], uids), commit_instances=2)

    assert moved.reason == "cancelled"
    assert len(web.paths) < 8


def test_an_instance_that_is_not_there_does_not_keep_the_others(bench: Bench) -> None:
    series = make_series(instances=1)
    with serving(WebPacs(series, code=404)) as web:
        moved = bench.ask(request_for(web.node(), series[0], ["1.2.3", "1.2.4"]))

    assert (moved.status, moved.reason) == (None, "not_found")
    assert len(web.paths) == 2


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (400, "request_refused"),
        (401, "access_denied"),
        (403, "access_denied"),
        (404, "not_found"),
        (406, "not_acceptable"),
        (410, "not_found"),
        (415, "not_acceptable"),
        (429, "pacs_busy"),
        (500, "unable_to_process"),
        (501, "unable_to_process"),
        (502, "pacs_unreachable"),
        (503, "pacs_busy"),
        (504, "timed_out"),
    ],
)
def test_each_http_status_has_its_reason(code: int, reason: str, bench: Bench) -> None:
    [instance] = make_series(instances=1)
    with serving(WebPacs([instance], code=code)) as web:
        moved = bench.ask(request_for(web.node(), instance))

    assert reason_of_http(code) == reason
    assert (moved.status, moved.reason) == (None, reason)


def test_an_empty_answer_is_a_success_with_a_count_of_zero(bench: Bench) -> None:
    [instance] = make_series(instances=1)
    with serving(WebPacs([instance], code=204)) as web:
        moved = bench.ask(request_for(web.node(), instance))

    assert (moved.reason, counters(moved)) == ("", (0, 0, 0))


def test_a_server_that_is_away_has_its_reason(bench: Bench) -> None:
    [instance] = make_series(instances=1)
    web = WebPacs([], port=free_port())

    assert bench.ask(request_for(web.node(), instance)).reason == "pacs_unreachable"


def test_a_profile_without_an_url_has_its_reason(bench: Bench) -> None:
    [instance] = make_series(instances=1)
    with deaf() as node:
        moved = bench.ask(request_for(with_profile(node, retrieve="wado-rs"), instance))

    assert moved.reason == "no_web_url"
