"""What the destination of a --move lists of a series, by C-FIND at IMAGE level."""

from __future__ import annotations

import pytest

from pacstream.messages import ListingRequested, PacsNode, SeriesListed
from pacstream_query.associations import Associations
from pacstream_query.listing import list_series
from tests.fakes.datasets import make_series
from tests.fakes.pacs import Behaviour, FakePacs

SERIES = make_series(instances=5)
SIBLING = make_series(instances=3, series_number=2)
UIDS = tuple(sorted(instance.SOPInstanceUID for instance in SERIES))


def listed(node: PacsNode) -> SeriesListed:
    request = ListingRequested(
        batch_id="b-0001",
        node=node,
        study_uid=SERIES[0].StudyInstanceUID,
        series_uid=SERIES[0].SeriesInstanceUID,
        round=2,
        number=3,
    )
    associations = Associations(timeout_s=5, connection_timeout_s=2)
    try:
        return list_series(request, associations)
    finally:
        associations.close()


def test_a_destination_lists_the_instances_of_the_series_and_no_others() -> None:
    with FakePacs([*SERIES, *SIBLING]) as third:
        fact = listed(third.node())
        (asked,) = third.asked("C-FIND", "IMAGE")
    assert (fact.instances, fact.reason) == (UIDS, "")
    assert (fact.series_uid, fact.round, fact.number) == (SERIES[0].SeriesInstanceUID, 2, 3)
    assert asked.StudyInstanceUID == SERIES[0].StudyInstanceUID


def test_a_destination_that_has_nothing_of_it_gives_an_empty_list() -> None:
    with FakePacs(SIBLING) as third:
        fact = listed(third.node())
    assert (fact.instances, fact.reason) == ((), "")


def test_a_destination_that_ignores_the_series_is_read_with_care() -> None:
    with FakePacs(
        [*SERIES, *SIBLING], behaviour=Behaviour(unmatched_keys=frozenset({"SeriesInstanceUID"}))
    ) as third:
        fact = listed(third.node())
    assert fact.instances == UIDS


@pytest.mark.parametrize(
    ("behaviour", "found", "reason"),
    [
        (Behaviour(refuse_levels={"IMAGE": 0xA900}), 0, "find_refused_A900"),
        (Behaviour(limits={"IMAGE": 2}, limit_status=0xB001), 2, "result_limit_reached"),
        (Behaviour(refuse_after=0, refuse_times=9), 0, "pacs_busy"),
    ],
)
def test_what_is_no_whole_list_says_why(behaviour: Behaviour, found: int, reason: str) -> None:
    with FakePacs(SERIES, behaviour=behaviour) as third:
        fact = listed(third.node())
    assert (len(fact.instances), fact.reason) == (found, reason)


def test_a_destination_that_is_not_there_is_a_reason_and_no_error() -> None:
    with FakePacs(SERIES) as third:
        node = third.node()
    assert listed(node).reason == "pacs_unreachable"
