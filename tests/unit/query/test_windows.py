"""A PACS that cuts its answers short is asked by windows: nothing is lost, nothing comes twice."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacstream.errors import RetryLaterError
from pacstream.messages import PacsProfile
from pacstream_query.identifiers import Answer, FindRequest
from pacstream_query.matching import matches
from pacstream_query.search import Question, RowSearch
from pacstream_query.source import Outcome, Take
from pacstream_query.windows import Window
from tests.fakes.datasets import make_series
from tests.fakes.pacs import Behaviour, FakePacs
from tests.unit.query.rows import INFO, ask, knowing, uids

TODAY = datetime.date(2024, 6, 1)
DAYS = [
    make_series(
        f"P{n}", study_date=f"2020{n % 12 + 1:02}15", study_time=f"{n % 24:02}0000", instances=1
    )
    for n in range(20)
]
ALL = [instance for series in DAYS for instance in series]
ALL_UIDS = tuple(sorted(str(series[0].SeriesInstanceUID) for series in DAYS))


@pytest.mark.parametrize("status", [0xB001, 0xA700])
@pytest.mark.parametrize("keys", [{"PatientID": "P*"}, {"StudyDate": "20200101-20201231"}])
def test_a_truncated_answer_is_split_until_it_fits(status: int, keys: dict[str, str]) -> None:
    behaviour = Behaviour(limits={"STUDY": 3}, limit_status=status)
    with FakePacs(ALL, behaviour=behaviour) as pacs:
        found, answered = ask(pacs.node(), keys, INFO)
    assert (uids(found), answered.reason) == (ALL_UIDS, "")
    assert len(found) == len(ALL_UIDS)


def test_a_silent_limit_is_known_from_the_profile() -> None:
    behaviour = Behaviour(limits={"STUDY": 3}, limit_status=0x0000)
    with FakePacs(ALL, behaviour=behaviour) as pacs:
        node = knowing(pacs.node(), PacsProfile(result_limit=3))
        found, answered = ask(node, {"PatientID": "P*"}, INFO)
        some, _ = ask(pacs.node(), {"PatientID": "P*"}, INFO)
    assert (uids(found), answered.reason) == (ALL_UIDS, "")
    assert len(some) == 3


def test_a_day_that_is_too_full_is_split_by_time() -> None:
    busy = [
        instance
        for n in range(12)
        for instance in make_series(f"P{n}", study_time=f"10{n:02}00.5", instances=1)
    ]
    with FakePacs(busy, behaviour=Behaviour(limits={"STUDY": 2})) as pacs:
        found, answered = ask(pacs.node(), {"StudyDate": "20200102"}, INFO)
        few, part = ask(pacs.node(), {"StudyDate": "20200102", "StudyTime": "1003-1007"}, INFO)
    assert (len(found), answered.reason) == (12, "")
    assert (len(few), part.reason) == (5, "")


def test_a_second_that_is_too_full_is_said() -> None:
    busy = [i for n in range(3) for i in make_series(f"P{n}", study_time="101112", instances=1)]
    with FakePacs(busy, behaviour=Behaviour(limits={"STUDY": 2})) as pacs:
        found, answered = ask(pacs.node(), {"StudyDate": "20200102"}, INFO)
    assert (len(found), answered.reason) == (2, "result_limit_reached")


def test_a_pacs_that_does_not_match_dates_can_not_be_split() -> None:
    with FakePacs(ALL, behaviour=Behaviour(limits={"STUDY": 3})) as pacs:
        node = knowing(pacs.node(), PacsProfile(unsupported_keys=("StudyDate",)))
        found, answered = ask(node, {"PatientID": "P*"}, INFO)
    assert (len(found), answered.reason) == (3, "result_limit_reached")


def test_undated_studies_are_said_to_be_uncertain() -> None:
    undated = make_series("P0", study_date="", instances=1)
    with FakePacs(undated + ALL, behaviour=Behaviour(limits={"STUDY": 3})) as pacs:
        found, answered = ask(pacs.node(), {"PatientID": "P*"}, INFO)
    assert set(ALL_UIDS) <= set(uids(found))
    assert answered.reason == "result_limit_reached"


class Refusing:
    """A PACS that answers nothing of a query that matches more than `limit` studies (0xA700)."""

    def __init__(self, dates: Sequence[str], limit: int) -> None:
        self.dates = dates
        self.limit = limit
        self.requests = 0

    def find(self, request: FindRequest, take: Take) -> Outcome:
        self.requests += 1
        if request.level != "STUDY":
            take(Answer({"SeriesInstanceUID": (request.keys["StudyInstanceUID"] + ".1",)}))
            return Outcome(received=1)
        key = request.keys["StudyDate"]
        matching = [n for n, date in enumerate(self.dates) if matches("DA", key, [date])]
        if len(matching) > self.limit:
            return Outcome(limited=True)
        for n in matching:
            told = {"StudyInstanceUID": (f"1.{n}",), "StudyDate": (self.dates[n],)}
            take(Answer({**told, "StudyTime": ("10",), "PatientID": ("P",)}))
        return Outcome(received=len(matching))


def searched(source: Refusing) -> tuple[list[str], str]:
    keys: Question = Question(
        {"STUDY": {"PatientID": "P"}, "SERIES": {}, "IMAGE": {}},
        lists_instances=False,
        today=lambda: TODAY,
    )
    search = RowSearch(source, keys)
    found = [match.series_uid for match in search.matches()]
    return found, search.reason(len(found))


@given(st.lists(st.dates(datetime.date(1890, 1, 1), datetime.date(2030, 1, 1)), max_size=30))
def test_refusals_of_large_queries_lose_nothing(dates: list[datetime.date]) -> None:
    texts = [f"{date:%Y%m%d}" for date in dates]
    most = max((texts.count(text) for text in texts), default=1)
    outside = sum(date < datetime.date(1900, 1, 2) or date > TODAY for date in dates)
    found, reason = searched(Refusing(texts, max(most, outside, 1)))
    assert sorted(found) == sorted(f"1.{n}.1" for n in range(len(dates)))
    assert reason == ""


def test_a_pacs_that_is_out_of_resources_for_everything_is_asked_again_later() -> None:
    source = Refusing(["20200101"] * 5, -1)
    with pytest.raises(RetryLaterError) as raised:
        searched(source)
    assert raised.value.code == "pacs_out_of_resources"
    assert source.requests < 50


@pytest.mark.parametrize(
    ("date_key", "time_key", "halves"),
    [
        ("20200101-20200102", "", [("20200101", ""), ("20200102", "")]),
        ("-19500101", "", [("-19250101", ""), ("19250102-19500101", "")]),
        ("20240531-", "", [("20240531", ""), ("20240601-", "")]),
        ("20200101", "", [("20200101", "000000-115959"), ("20200101", "120000-235959")]),
        ("20200101", "10", [("20200101", "100000-102959"), ("20200101", "103000-105959")]),
        ("20200101", "101112-101113", [("20200101", "101112"), ("20200101", "101113")]),
        ("20200101-20200102", "10", [("20200101", "10"), ("20200102", "10")]),
    ],
)
def test_a_window_is_halved(date_key: str, time_key: str, halves: list[tuple[str, str]]) -> None:
    window = Window.of(date_key, time_key)
    assert window is not None
    found = window.halves(TODAY)
    assert found is not None
    keys = [half.keys(time_key) for half in found]
    assert [(key["StudyDate"], key["StudyTime"]) for key in keys] == halves


@pytest.mark.parametrize(
    ("date_key", "time_key"),
    [("20200101", "101112"), ("-19000101", ""), ("20240602-", "")],
)
def test_a_window_without_halves(date_key: str, time_key: str) -> None:
    window = Window.of(date_key, time_key)
    assert window is not None
    assert window.halves(TODAY) is None


def test_fractions_of_a_second_are_not_split() -> None:
    assert Window.of("20200101", "101112.5") is None
