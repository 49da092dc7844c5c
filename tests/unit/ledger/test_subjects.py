"""One patient has one pseudonym in a project, and no other patient has it."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import delete

from pacstream.messages import Batch, DeidentifyRequested, QueryAnswered, SeriesFound
from pacstream_ledger.schema import SUBJECTS
from pacstream_ledger.subjects import adopt
from pacstream_ledger.views import View
from tests.fakes.driven import Driven, series_of
from tests.fakes.line import FakeLine, make_batch, make_found


def releasing(batch_id: str = "b-0001", rows: int = 2, **changes: object) -> Batch:
    batch = make_batch(rows, anonymize=True)
    return batch.model_copy(update={"batch_id": batch_id, **changes})


def found(batch: Batch, row: int, number: int, patient_id: str, pseudonym: str) -> SeriesFound:
    fact = make_found(batch, row, number, patient_id=patient_id)
    return fact.model_copy(update={"pseudonym": pseudonym})


Row = tuple[int, str, str]
"""Number of the series, patient, pseudonym."""


def line_of(batch: Batch, *rows: Row) -> FakeLine:
    return FakeLine(batch, {n: [found(batch, n, *row)] for n, row in enumerate(rows, start=2)})


def after(driven: Driven, line: FakeLine) -> View:
    """What comes of a further batch for the same ledger."""
    line.archive = driven.line.archive
    driven.line = line
    driven.ledger.present = line.present
    driven.clock.now += 10.0
    return driven.run()


def ends(report: View) -> dict[str, tuple[str, str]]:
    return {uid: (one["state"], one["reason"]) for uid, one in series_of(report).items()}


DONE = ("complete", "")
REFUSED = ("failed", "pseudonym_conflict")


@pytest.mark.parametrize("seed", range(6))
def test_a_pseudonym_is_in_every_order_of_its_patient(tmp_path: Path, seed: int) -> None:
    line = line_of(releasing(), (1, "P1", "S1"), (2, "P2", "S2"))
    report = Driven(tmp_path, line, seed=seed, repeat=True).run()
    assert report["delivered"] is True
    given = {one.order.series.patient_id: one.order.pseudonym for one in line.moves}
    assert given == {"P1": "S1", "P2": "S2"}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((1, "P1", "S1"), (2, "P2", "S1")),
        ((1, "P1", "S1"), (2, "P2", "s1")),
        ((1, "P1", "S1"), (2, "P1", "S2")),
    ],
)
def test_of_two_that_can_not_both_be_one_series_fails_and_nothing_of_it_is_fetched(
    tmp_path: Path, seed: int, first: Row, second: Row
) -> None:
    line = line_of(releasing(), first, second)
    report = Driven(tmp_path, line, seed=seed, repeat=True).run()
    assert sorted(ends(report).values()) == [DONE, REFUSED]
    assert report["delivered"] is False
    assert len(line.moves) == 1


@pytest.mark.parametrize("seed", range(6))
def test_two_rows_that_call_one_series_differently_end_as_one_good_and_one_failed(
    tmp_path: Path, seed: int
) -> None:
    batch = releasing()
    line = line_of(batch, (1, "P1", "S1"), (1, "P1", "S2"))
    line.found[3].append(found(batch, 3, 2, "P2", "S2"))
    report = Driven(tmp_path, line, seed=seed, repeat=True).run()
    states = {(one["row"], one["state"], one["reason"]) for one in report["report"]}
    assert states in (
        {(2, "answered", ""), (3, "failed", "pseudonym_conflict")},
        {(2, "failed", "pseudonym_conflict"), (3, "answered", "")},
    )
    assert ends(report)["1.2.2"] in (DONE, REFUSED)
    assert report["delivered"] is False


def test_a_row_that_is_refused_waits_for_its_other_series(tmp_path: Path) -> None:
    batch = releasing()
    driven = Driven(tmp_path, line_of(batch, (1, "P1", "S1"), (1, "P1", "S2")))
    driven.submit()
    late = found(batch, 3, 2, "P2", "S2")
    answered = QueryAnswered(batch_id="b-0001", row=3, series_uids=("1.2.1", "1.2.2"))
    driven.ledger.record(answered)
    assert driven.report()["report"][1]["state"] == "waiting"
    driven.ledger.record(late)
    driven.scheduler.tick()
    assert driven.report()["report"][1]["state"] == "failed"
    assert driven.report()["finished_at"] is None
    assert ends(driven.report())["1.2.2"] == ("pending", "")


@pytest.mark.parametrize(
    ("second", "end"),
    [
        ((2, "P1", "S1"), DONE),
        ((2, "P2", "S2"), DONE),
        ((2, "P2", "S1"), REFUSED),
        ((2, "P1", "S2"), REFUSED),
        ((2, "P1", ""), REFUSED),
    ],
)
def test_a_pseudonym_stays_given_over_all_batches_of_a_project(
    tmp_path: Path, second: Row, end: tuple[str, str]
) -> None:
    driven = Driven(tmp_path, line_of(releasing(rows=1), (1, "P1", "S1")))
    assert driven.run()["delivered"] is True
    elsewhere = releasing("b-0002", rows=1, out="/elsewhere")
    assert ends(after(driven, line_of(elsewhere, second)))["1.2.2"] == end


def test_a_patient_that_has_the_keys_pseudonym_gets_no_other(tmp_path: Path) -> None:
    driven = Driven(tmp_path, line_of(releasing(rows=1), (1, "P1", "")))
    assert driven.run()["delivered"] is True
    report = after(driven, line_of(releasing("b-0002", rows=1), (2, "P1", "S1")))
    assert ends(report)["1.2.2"] == REFUSED


def test_another_project_is_free_to_give_another_one_elsewhere(tmp_path: Path) -> None:
    driven = Driven(tmp_path, line_of(releasing(rows=1), (1, "P1", "S1")))
    driven.run()
    other = releasing("b-0002", project="other", out="/elsewhere")
    report = after(driven, line_of(other, (2, "P1", "S2"), (3, "P2", "S1")))
    assert report["delivered"] is True


def test_two_projects_never_share_a_patients_folder_of_the_release(tmp_path: Path) -> None:
    driven = Driven(tmp_path, line_of(releasing(rows=1), (1, "P1", "S1")))
    driven.run()
    other = releasing("b-0002", rows=1, project="other")
    assert ends(after(driven, line_of(other, (2, "P2", "S1"))))["1.2.2"] == REFUSED


def test_two_studies_without_a_patient_id_are_never_one_patient(tmp_path: Path) -> None:
    batch = releasing()
    line = line_of(batch, (1, "", "S1"), (2, "", "S1"))
    line.found[3] = [
        one.model_copy(update={"series": one.series.model_copy(update={"study_uid": "1.1.9"})})
        for one in line.found[3]
    ]
    report = Driven(tmp_path, line).run()
    assert sorted(ends(report).values()) == [DONE, REFUSED]


@pytest.mark.parametrize("patient_id", ["S-1", "s-1", "S_1", " S-1 "])
def test_the_patients_own_id_is_no_pseudonym(tmp_path: Path, patient_id: str) -> None:
    report = Driven(tmp_path, line_of(releasing(rows=1), (1, patient_id, "S-1"))).run()
    assert ends(report)["1.2.1"] == ("failed", "pseudonym_is_identifier")


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientName", "Quix^Ann"),
        ("PatientName", "Poe^Quix Ann"),
        ("PatientName", "=^=QUIX^Ann"),
        ("AccessionNumber", "quix"),
    ],
)
def test_nothing_that_the_pacs_tells_of_the_person_is_a_pseudonym(
    tmp_path: Path, keyword: str, value: str
) -> None:
    line = line_of(releasing(rows=1), (1, "P1", "Quix"))
    told = {keyword: value}
    line.found[2] = [one.model_copy(update={"attributes": told}) for one in line.found[2]]
    assert ends(Driven(tmp_path, line).run())["1.2.1"] == ("failed", "pseudonym_is_identifier")


def test_a_series_that_was_here_already_is_not_waited_for_when_it_is_refused(
    tmp_path: Path,
) -> None:
    driven = Driven(tmp_path, line_of(releasing(rows=1), (1, "P1", "S1")))
    driven.run()
    report = after(driven, line_of(releasing("b-0002", rows=1), (1, "P1", "S2")))
    assert ends(report)["1.2.1"] == REFUSED
    assert report["instances"]["failed"] == 3


def test_what_is_de_identified_anew_keeps_the_pseudonym(tmp_path: Path) -> None:
    driven = Driven(tmp_path, line_of(releasing(rows=1), (1, "P1", "S1")))
    driven.run()
    again = line_of(releasing("b-0002", rows=1), (1, "P1", "S1"))
    again.archive = driven.line.archive
    driven.line = again
    driven.ledger.present = again.present
    driven.submit()
    (request,) = [one for one in driven.released() if isinstance(one, DeidentifyRequested)]
    assert request.order.pseudonym == "S1"


def test_a_ledger_of_an_older_version_knows_whom_it_has_released(tmp_path: Path) -> None:
    driven = Driven(tmp_path, line_of(releasing(rows=1), (1, "P1", "")))
    driven.run()
    with driven.ledger.engine.begin() as db:
        db.execute(delete(SUBJECTS))
    adopt(driven.ledger.engine)
    adopt(driven.ledger.engine)
    report = after(driven, line_of(releasing("b-0002", rows=1), (2, "P1", "S1")))
    assert ends(report)["1.2.2"] == REFUSED


def test_a_batch_ends_with_the_last_row_that_tells_of_a_known_series(tmp_path: Path) -> None:
    batch = releasing()
    driven = Driven(tmp_path, line_of(batch, (1, "P1", "S1")))
    driven.submit()
    driven.ledger.record(QueryAnswered(batch_id="b-0001", row=3, series_uids=("1.2.1",)))
    for message in driven.released():
        for fact in driven.line.answer(message):
            driven.ledger.record(fact)
    assert driven.report()["finished_at"] is None
    driven.ledger.record(found(batch, 3, 1, "P1", "S1"))
    driven.scheduler.tick()
    assert driven.report()["finished_at"] is not None
