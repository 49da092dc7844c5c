"""C-FIND of the fake PACS: its misbehaviours."""

from __future__ import annotations

import pytest

from tests.fakes.datasets import generated, make_series
from tests.fakes.pacs import Behaviour, FakePacs
from tests.unit.fakes.peer import find, identifier

SERIES = make_series(patient_name="Müller^Jörg", series_description="Schädel", instances=3)
STUDIES = [*generated(4, 1, 2)]
ALL = identifier("STUDY", StudyInstanceUID="", PatientID="", PatientName="")


@pytest.mark.parametrize("status", [0xB001, 0xA700, 0x0000])
def test_a_result_limit_ends_the_answers_with_its_status(status: int) -> None:
    behaviour = Behaviour(limits={"STUDY": 3}, limit_status=status)
    with FakePacs(STUDIES, behaviour=behaviour) as pacs:
        last, answers = find(pacs, ALL)

    assert (last, len(answers)) == (status, 3)


def test_a_limit_that_is_not_reached_is_not_told() -> None:
    behaviour = Behaviour(limits={"STUDY": 4}, limit_status=0xA700)
    with FakePacs(STUDIES, behaviour=behaviour) as pacs:
        last, answers = find(pacs, ALL)

    assert (last, len(answers)) == (0x0000, 4)


@pytest.mark.parametrize("charset", ["GB18030", "ISO_IR 100", "ISO_IR 192"])
def test_answers_come_in_the_charset_that_is_set(charset: str) -> None:
    with FakePacs(SERIES, behaviour=Behaviour(answer_charset=charset)) as pacs:
        _, [answer] = find(pacs, ALL)

    assert answer.SpecificCharacterSet == charset
    assert answer.PatientName == "Müller^Jörg"


def test_answers_hold_bytes_that_are_no_utf8() -> None:
    with FakePacs(SERIES, behaviour=Behaviour(invalid_utf8=True)) as pacs:
        _, [answer] = find(pacs, ALL)

    assert answer.SpecificCharacterSet == "ISO_IR 192"
    held = answer.get_item("PatientName").value
    assert held.startswith("Müller^Jörg".encode())
    with pytest.raises(UnicodeDecodeError):
        held.decode("utf-8")
    assert answer.PatientID == "P1"


def test_answers_hold_keys_of_other_levels_and_one_is_of_another_level() -> None:
    with FakePacs(SERIES, behaviour=Behaviour(other_levels=True)) as pacs:
        _, answers = find(pacs, ALL)

    assert [answer.QueryRetrieveLevel for answer in answers] == ["IMAGE", "STUDY"]
    assert answers[1].SOPInstanceUID == SERIES[0].SOPInstanceUID


def test_counts_are_too_high() -> None:
    asked = identifier("SERIES", SeriesInstanceUID="", NumberOfSeriesRelatedInstances="")
    with FakePacs(SERIES, behaviour=Behaviour(count_error=3)) as pacs:
        _, [answer] = find(pacs, asked)

    assert answer.NumberOfSeriesRelatedInstances == 6


def test_the_catalogue_follows_the_list_of_images() -> None:
    with FakePacs(SERIES) as pacs:
        _, before = find(pacs, ALL)
        pacs.datasets += STUDIES
        _, after = find(pacs, ALL)

    assert (len(before), len(after)) == (1, 5)


def test_generated_images_have_the_size_and_number_asked_for() -> None:
    images = [*generated(2, 3, 4, kilobytes=10)]

    assert len(images) == 24
    assert len({image.SeriesInstanceUID for image in images}) == 6
    assert len({image.SOPInstanceUID for image in images}) == 24
    assert {image.PatientID for image in images} == {"FAKE0001", "FAKE0002"}
    assert 9_500 < len(images[0].PixelData) < 10_800
