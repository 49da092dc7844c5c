"""A cancelled batch ends its queries between answers, and waits its turn at the PACS before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import evt

from pacstream.archive import Archive
from pacstream.messages import PacsProfile, QueryAnswered, SeriesFound
from pacstream_query.associations import Associations
from pacstream_query.finder import find_series
from pacstream_query.identifiers import FindRequest
from pacstream_query.source import QueryCancelledError
from tests.fakes.datasets import make_series
from tests.fakes.pacs import FakePacs
from tests.unit.query.rows import answers, knowing, row

STUDIES = FindRequest("STUDY", {"StudyInstanceUID": "", "PatientID": ""})
MANY = [instance for n in range(30) for instance in make_series(f"P{n}", instances=1)]


class Obedient(FakePacs):
    """Heeds C-CANCEL, and notes it; gives its first answer, then waits for one."""

    def __init__(self, *, heeds: bool = True) -> None:
        super().__init__(MANY)
        self.heeds = heeds
        self.cancelled = threading.Event()

    def _on_find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        for number, (status, answer) in enumerate(super()._on_find(event)):
            yield status, answer
            if number == 0 and self.heeds:
                deadline = threading.Event()
                for _ in range(100):
                    if event.is_cancelled:
                        self.cancelled.set()
                        yield 0xFE00, None
                        return
                    deadline.wait(0.02)


def after(count: int) -> Callable[[], bool]:
    """False for the first `count` questions, then True."""
    left = iter(range(count))
    return lambda: next(left, None) is None


@pytest.fixture
def associations() -> Iterator[Associations]:
    pool = Associations(timeout_s=10)
    yield pool
    pool.close()


def test_a_cancelled_query_sends_c_cancel_and_keeps_its_association(
    associations: Associations,
) -> None:
    with Obedient() as pacs:
        with (
            associations.session(pacs.node(), after(1)) as session,
            pytest.raises(QueryCancelledError),
        ):
            answers(session, STUDIES)
        assert pacs.cancelled.wait(5)
        pacs.heeds = False
        with associations.session(pacs.node()) as session:
            assert len(answers(session, STUDIES)) == 30
        assert pacs.associations == 1


def test_a_pacs_that_does_not_heed_c_cancel_has_its_association_aborted(
    associations: Associations,
) -> None:
    with Obedient(heeds=False) as pacs:
        node = knowing(pacs.node(), PacsProfile(cancels=False))
        with (
            associations.session(node, after(1)) as session,
            pytest.raises(QueryCancelledError),
        ):
            answers(session, STUDIES)
        with associations.session(node) as session:
            assert len(answers(session, STUDIES)) == 30
        assert pacs.associations == 2


def test_a_cancelled_batch_is_answered_as_cancelled_with_what_was_found(
    tmp_path: Path, associations: Associations
) -> None:
    archive = Archive(tmp_path)
    with FakePacs(MANY) as pacs:
        query = row(pacs.node(), {"PatientID": "P*"})
        facts = find_series(query, associations, archive)
        first = next(facts)
        assert isinstance(first, SeriesFound)
        archive.cancel(query.batch.batch_id)
        (answered,) = facts
    assert isinstance(answered, QueryAnswered)
    assert answered.reason == "cancelled"
    assert answered.series == 1


def test_a_batch_that_was_cancelled_before_asks_nothing(
    tmp_path: Path, associations: Associations
) -> None:
    archive = Archive(tmp_path)
    with FakePacs(MANY) as pacs:
        query = row(pacs.node(), {"PatientID": "P1"})
        archive.cancel(query.batch.batch_id)
        (answered,) = find_series(query, associations, archive)
        assert pacs.requests == []
    assert isinstance(answered, QueryAnswered)
    assert answered.reason == "cancelled"


def test_no_more_sessions_than_allowed_are_open_with_one_pacs() -> None:
    associations = Associations(timeout_s=10, concurrency=1)
    entered: list[int] = []
    both_asked = threading.Event()

    def second() -> None:
        both_asked.set()
        with associations.session(node):
            entered.append(2)

    with FakePacs(MANY) as pacs, FakePacs(MANY) as other:
        node = pacs.node()
        thread = threading.Thread(target=second)
        with associations.session(node):
            thread.start()
            both_asked.wait(5)
            with associations.session(other.node()) as elsewhere:
                assert len(answers(elsewhere, STUDIES)) == 30
            entered.append(1)
        thread.join(5)
    assert entered == [1, 2]
    associations.close()
