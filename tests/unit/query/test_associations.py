"""Associations are shared by rows, replaced when broken, and released in any case."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pacstream.dimse import associate
from pacstream.errors import PacsUnreachableError
from pacstream_query.associations import STUDY_ROOT_FIND, Associations
from pacstream_query.finder import find_series
from pacstream_query.identifiers import FindRequest
from tests.fakes.datasets import make_series
from tests.fakes.pacs import Behaviour, FakePacs
from tests.unit.query.rows import answers, row

SERIES = make_series("P1", instances=40)
STUDIES = FindRequest("STUDY", {"StudyInstanceUID": "", "PatientID": "P1"})


@pytest.fixture
def associations() -> Iterator[Associations]:
    pool = Associations(timeout_s=10)
    yield pool
    pool.close()


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def test_rows_share_one_association(associations: Associations) -> None:
    with FakePacs(SERIES) as pacs:
        for _ in range(3):
            list(find_series(row(pacs.node(), {"PatientID": "P1"}), associations))
        assert pacs.associations == 1


def test_rows_at_the_same_time_have_associations_of_their_own(associations: Associations) -> None:
    with (
        FakePacs(SERIES) as pacs,
        associations.session(pacs.node()) as one,
        associations.session(pacs.node()) as two,
    ):
        answers(one, STUDIES)
        answers(two, STUDIES)
        assert pacs.associations == 2


def test_an_association_that_broke_while_it_was_kept_is_replaced(
    associations: Associations,
) -> None:
    with FakePacs(SERIES) as pacs:
        with associations.session(pacs.node()) as session:
            answers(session, STUDIES)
        pacs.abort_next_find()
        with associations.session(pacs.node()) as session:
            assert len(answers(session, STUDIES)) == 1
        assert pacs.associations == 2


def test_an_association_that_the_pacs_closed_is_replaced(associations: Associations) -> None:
    with FakePacs(SERIES) as pacs:
        with associations.session(pacs.node()) as session:
            answers(session, STUDIES)
        pacs.close_associations()
        with associations.session(pacs.node()) as session:
            assert len(answers(session, STUDIES)) == 1


def test_a_new_association_that_breaks_is_not_replaced(associations: Associations) -> None:
    with (
        FakePacs(SERIES, behaviour=Behaviour(abort_finds=1)) as pacs,
        associations.session(pacs.node()) as session,
        pytest.raises(PacsUnreachableError),
    ):
        answers(session, STUDIES)


def test_an_idle_association_is_released() -> None:
    associations = Associations(timeout_s=10, idle_s=0.05)
    with FakePacs(SERIES) as pacs:
        with associations.session(pacs.node()) as session:
            answers(session, STUDIES)
        assert eventually(lambda: pacs.released == 1)


def test_a_row_that_is_given_up_half_way_keeps_its_association_clean(
    associations: Associations,
) -> None:
    with FakePacs(SERIES) as pacs:
        facts = find_series(row(pacs.node(), {"PatientID": "P1"}), associations)
        next(facts)
        facts.close()  # type: ignore[attr-defined]  # a generator
        assert len(list(find_series(row(pacs.node(), {"PatientID": "P1"}), associations))) == 2
        assert pacs.associations == 1


def test_a_response_is_left_for_the_request_that_waits_for_it() -> None:
    with FakePacs(SERIES) as pacs:
        association = associate(pacs.node(), [STUDY_ROOT_FIND], 10)
        response: Any = (1, "a response")
        association.dimse.msg_queue.put(response)
        polled_by_the_reactor = association.dimse.get_msg(block=False)
        assert polled_by_the_reactor == (None, None)
        assert association.dimse.get_msg(block=True) == response
        association.release()


def test_requests_that_follow_at_once_lose_no_answer(associations: Associations) -> None:
    with FakePacs(SERIES) as pacs, associations.session(pacs.node()) as session:
        counts = {len(answers(session, STUDIES)) for _ in range(30)}
    assert counts == {1}
