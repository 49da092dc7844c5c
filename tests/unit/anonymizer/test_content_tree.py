"""References by position in a content tree of which items go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pacstream_anonymizer.profile import Profile
from tests.unit.anonymizer.instances import released
from tests.unit.anonymizer.test_structured import a_code, a_report, an_item

ON = Profile(frozenset({"clean_structured_content"}))
LENGTH = "410668003"


def refers(*target: int) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ReferencedContentItemIdentifier = "SELECTED FROM", list(target)
    return item


def number(value: str) -> Dataset:
    measured = Dataset()
    measured.NumericValue, measured.MeasurementUnitsCodeSequence = value, a_code("mm", "UCUM")
    return an_item("NUM", LENGTH, MeasuredValueSequence=[measured])


def a_comment(*children: Dataset, **more: Any) -> Dataset:
    return an_item("TEXT", "121106", *children, TextValue="Zubenelgenubi", **more)


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_references_by_position_move_along_or_go(tmp_path: Path, syntax: str) -> None:
    report = a_report(
        a_comment(),
        refers(1, 3, 2),
        an_item("CONTAINER", "111017", a_comment(), number("12.5")),
        refers(1, 1),
        an_item("CONTAINER", "111018", refers(1, 4)),
        refers(1),
    )
    kept = released(report, tmp_path, syntax, ON).ContentSequence
    assert [item.get("ValueType", "") for item in kept] == ["", "CONTAINER", "CONTAINER", ""]
    assert list(kept[0].ReferencedContentItemIdentifier) == [1, 2, 1]
    assert kept[1].ContentSequence[0].MeasuredValueSequence[0].NumericValue == 12.5
    assert not kept[2].get("ContentSequence")
    assert kept[3].ReferencedContentItemIdentifier == 1


def test_a_text_on_which_a_number_depends_gets_a_dummy(tmp_path: Path) -> None:
    (kept,) = released(a_report(a_comment(number("12.5"))), tmp_path, profile=ON).ContentSequence
    assert kept.TextValue == "REMOVED"
    assert kept.ContentSequence[0].MeasuredValueSequence[0].NumericValue == 12.5


def test_a_text_on_which_nothing_depends_any_more_goes(tmp_path: Path) -> None:
    report = a_report(a_comment(a_comment(a_comment())), number("1"), refers(1, 2))
    kept = released(report, tmp_path, profile=ON).ContentSequence
    assert [item.get("ValueType", "") for item in kept] == ["NUM", ""]
    assert list(kept[1].ReferencedContentItemIdentifier) == [1, 1]
