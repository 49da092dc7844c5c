"""Each status of C-MOVE and C-GET has its reason code (PS3.4 tables C.4-2 and C.4-3)."""

from __future__ import annotations

import pytest

from pacstream.settings import Settings
from pacstream_retrieve.outcome import Outcome, not_sent, reason_of, report
from tests.fakes.datasets import make_series
from tests.fakes.pacs import Behaviour
from tests.unit.retrieve.asking import Bench, node_at, pacs_for, request_for, with_profile


@pytest.mark.parametrize(
    ("status", "failed", "warning", "reason"),
    [
        pytest.param(0x0000, 0, 0, "", id="success"),
        pytest.param(0x0000, None, None, "", id="success_without_counts"),
        pytest.param(0x0000, 2, 0, "sub_operations_failed", id="success_with_failed_ones"),
        pytest.param(0xB000, 1, 0, "sub_operations_failed", id="b000_with_failed_ones"),
        pytest.param(0xB000, None, None, "sub_operations_failed", id="b000_without_counts"),
        pytest.param(0xB000, 0, 3, "sub_operations_warned", id="b000_with_warnings_only"),
        pytest.param(0xA700, None, None, "pacs_out_of_resources", id="a700"),
        pytest.param(0xA701, None, None, "pacs_out_of_resources", id="a701_cannot_count"),
        pytest.param(0xA702, None, None, "sub_operations_refused", id="a702_cannot_perform"),
        pytest.param(0xA801, None, None, "move_destination_unknown", id="a801"),
        pytest.param(0xA900, None, None, "identifier_mismatch", id="a900"),
        pytest.param(0xC000, None, None, "unable_to_process", id="c000"),
        pytest.param(0xCFFF, None, None, "unable_to_process", id="cfff"),
        pytest.param(0xFE00, None, None, "cancelled", id="fe00"),
        pytest.param(0x0122, None, None, "move_refused", id="0122_sop_class"),
        pytest.param(0x0124, None, None, "move_refused", id="0124_not_authorised"),
    ],
)
def test_each_status_has_its_reason(
    status: int, failed: int | None, warning: int | None, reason: str
) -> None:
    assert reason_of(Outcome(status, failed=failed, warning=warning)) == reason


@pytest.mark.parametrize("way", ["c-move", "c-get"])
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (0xA701, "pacs_out_of_resources"),
        (0xA702, "sub_operations_refused"),
        (0xA801, "move_destination_unknown"),
        (0xA900, "identifier_mismatch"),
        (0xC042, "unable_to_process"),
    ],
)
def test_a_failure_status_of_a_pacs_is_reported_with_its_reason(
    way: str, status: int, reason: str, settings: Settings, bench: Bench
) -> None:
    series = make_series(instances=2)
    behaviour = Behaviour(fail_moves=1, fail_status=status)
    with pacs_for(settings, series, behaviour) as pacs:
        node = with_profile(pacs.node(), retrieve=way)
        moved = bench.ask(request_for(node, series[0]))

    assert (moved.status, moved.reason) == (status, reason)


def test_the_counters_of_all_requests_are_added_and_one_unknown_makes_them_unknown() -> None:
    request = request_for(node_at(104), make_series(instances=1)[0])
    known = Outcome(0, completed=100, failed=0, warning=1)
    unknown = Outcome(0, completed=4, failed=None, warning=0)

    moved = report(request, [known, unknown, not_sent("deadline")], 1.0)

    assert (moved.completed, moved.failed, moved.warning) == (104, None, 1)
    assert (moved.status, moved.reason) == (None, "deadline")


def test_the_first_request_that_went_wrong_gives_status_and_reason() -> None:
    request = request_for(node_at(104), make_series(instances=1)[0])
    outcomes = [Outcome(0, completed=1), Outcome(0xB000, failed=1), Outcome(0xC000)]

    moved = report(request, outcomes, 1.0)

    assert (moved.status, moved.reason) == (0xB000, "sub_operations_failed")
