"""An operator lets an instance pass that a rule had withheld: what the ledger makes of it."""

from __future__ import annotations

from pathlib import Path

from pacstream.messages import (
    BatchFinished,
    InstancesDeidentified,
    InstancesWithheld,
    Message,
    WithheldInstance,
)
from tests.fakes.driven import Driven, assert_conserved, series_of
from tests.fakes.line import FakeLine, make_batch, make_found

WITHHELD = frozenset({"1.2.1.2", "1.2.1.3"})


def finished_with_two_withheld(folder: Path) -> Driven:
    batch = make_batch(1, anonymize=True)
    line = FakeLine(batch, {2: [make_found(batch, 2, 1)]}, withhold=WITHHELD)
    driven = Driven(folder, line)
    assert driven.run()["delivered"] is False
    return driven


def released(*uids: str) -> InstancesDeidentified:
    return InstancesDeidentified(
        batch_id="b-0001", series_uid="1.2.1", instances=uids, waived=("test",)
    )


def withheld(uid: str, reason: str) -> InstancesWithheld:
    instance = WithheldInstance(sop_instance_uid=uid, reason=reason)
    return InstancesWithheld(batch_id="b-0001", series_uid="1.2.1", instances=(instance,))


def recorded(driven: Driven, *facts: Message) -> list[BatchFinished]:
    """The ends of the batch that follow."""
    driven.ledger.record(*facts)
    return [one for one in driven.released() if isinstance(one, BatchFinished)]


def test_one_of_two_that_is_released_counts_as_done_and_the_batch_stays_undelivered(
    tmp_path: Path,
) -> None:
    driven = finished_with_two_withheld(tmp_path)
    (finished,) = recorded(driven, released("1.2.1.2"))
    report = driven.report()
    series = series_of(report)["1.2.1"]
    assert (finished.delivered, report["delivered"]) == (False, False)
    assert (series["state"], series["reason"]) == ("withheld", "test")
    assert (series["instances"]["done"], series["instances"]["withheld"]) == (2, 1)
    assert_conserved(report)


def test_the_last_one_makes_the_finished_batch_delivered_and_the_report_says_why(
    tmp_path: Path,
) -> None:
    driven = finished_with_two_withheld(tmp_path)
    (finished,) = recorded(driven, released(*WITHHELD))
    report = driven.report()
    series = series_of(report)["1.2.1"]
    assert (finished.delivered, report["delivered"]) == (True, True)
    assert (series["state"], series["remark"]) == ("complete", "released_by_decision")
    assert (series["instances"]["done"], series["instances"]["withheld"]) == (3, 0)


def test_a_repeated_or_late_fact_takes_nothing_back_and_ends_nothing_twice(tmp_path: Path) -> None:
    driven = finished_with_two_withheld(tmp_path)
    assert recorded(driven, withheld("1.2.1.2", "test")) == []
    recorded(driven, released(*WITHHELD))
    assert recorded(driven, withheld("1.2.1.2", "test"), released("1.2.1.2")) == []
    assert driven.report()["delivered"] is True
    assert series_of(driven.report())["1.2.1"]["remark"] == "released_by_decision"


def test_an_instance_that_is_withheld_all_the_same_has_its_new_reason(tmp_path: Path) -> None:
    driven = finished_with_two_withheld(tmp_path)
    recorded(driven, released("1.2.1.3"), withheld("1.2.1.2", "echo"))
    report = driven.report()
    series = series_of(report)["1.2.1"]
    assert report["delivered"] is False
    assert (series["state"], series["reason"]) == ("withheld", "echo")
    assert series["instances"]["withheld"] == 1
