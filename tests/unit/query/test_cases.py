"""What PACSMAN and PACSIFIER got wrong in queries, and what their users met: one test a case.

`docs/cases.md` says where each case comes from.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from pacstream.messages import PacsProfile
from pacstream_query.matching import pacsman_name
from tests.fakes.datasets import make_series, uid_from
from tests.fakes.pacs import Behaviour, FakePacs
from tests.unit.query.rows import INFO, SAVE, ask, knowing, uids

SIX = [
    make_series(
        "P100",
        study_uid=uid_from("study", study),
        series_number=number,
        series_description=f"Series {number}",
        study_time=f"{study:02}0000",
        study_date="20200102",
        accession_number=f"ACC{study}",
    )
    for study in (8, 9)
    for number in (1, 2, 3)
]
"""A patient of two studies with three series each, five instances in each series."""
PATIENTS = [make_series(f"P1{n:02}", series_description="Axial") for n in range(11)]


def all_of(series: list[list[Dataset]]) -> list[Dataset]:
    return [instance for one in series for instance in one]


def uid_of(series: list[Dataset]) -> str:
    return str(series[0].SeriesInstanceUID)


def test_series_number_1_finds_series_1_and_not_all_six() -> None:
    with FakePacs(all_of(SIX)) as pacs:
        found, _ = ask(pacs.node(), {"PatientID": "P100", "SeriesNumber": "1"})
    assert uids(found) == tuple(sorted([uid_of(SIX[0]), uid_of(SIX[3])]))


def test_a_study_time_restricts_the_row() -> None:
    with FakePacs(all_of(SIX)) as pacs:
        found, _ = ask(pacs.node(), {"PatientID": "P100", "StudyTime": "0830-0930"})
    assert uids(found) == tuple(sorted(map(uid_of, SIX[3:])))


def test_an_image_type_of_three_images_gives_their_series_once() -> None:
    series = make_series("P1", instances=3, image_type=("DERIVED", "PRIMARY"))
    with FakePacs(series) as pacs:
        found, answered = ask(pacs.node(), {"PatientID": "P1", "ImageType": "DERIVED"})
    assert [(one.series.series_uid, len(one.expected)) for one in found] == [(uid_of(series), 3)]
    assert answered.series == 1


def test_the_six_series_of_a_patient_are_six_series_of_five_instances() -> None:
    """PACSIFIER moved all thirty instances into each of six folders."""
    with FakePacs(all_of(SIX)) as pacs:
        found, _ = ask(pacs.node(), {"PatientID": "P100"})
    expected = {uid_of(one): {str(i.SOPInstanceUID) for i in one} for one in SIX}
    assert {one.series.series_uid: set(one.expected) for one in found} == expected


@pytest.mark.parametrize("ignoring", ["ignore_keys", "unmatched_keys"])
def test_a_pacs_that_ignores_the_patient_id_mixes_no_patients(ignoring: str) -> None:
    """With eleven patients in it, PACSIFIER filed one patient's images under the ten others."""
    behaviour = Behaviour(**{ignoring: frozenset({"PatientID"})})  # type: ignore[arg-type]
    with FakePacs(all_of(PATIENTS), behaviour=behaviour) as pacs:
        found, answered = ask(pacs.node(), {"PatientID": "P100", "Modality": "CT"})
    if ignoring == "ignore_keys":
        assert (found, answered.reason) == ([], "key_not_supported:PatientID")
    else:
        assert uids(found) == (uid_of(PATIENTS[0]),)


@pytest.mark.parametrize(
    ("keys", "count"),
    [
        pytest.param({"AccessionNumber": "ACC8"}, 3, id="accession number only"),
        pytest.param({"SeriesInstanceUID": uid_of(SIX[4])}, 1, id="series UID only"),
        pytest.param({"PatientID": "P10?"}, 6, id="patient ID with a wildcard"),
    ],
)
def test_a_series_has_its_patients_id_whatever_the_row_asks_for(
    keys: dict[str, str], count: int
) -> None:
    """PACSIFIER sent the empty cell, or the wildcard, on in its C-MOVE."""
    with FakePacs(all_of(SIX)) as pacs:
        found, _ = ask(pacs.node(), keys)
    assert [one.series.patient_id for one in found] == ["P100"] * count


@pytest.mark.parametrize(
    "description",
    [
        pytest.param("T2 [FLAIR] x", id="brackets"),
        pytest.param("a ------------ b", id="twelve dashes"),
        pytest.param("Séquence à façon", id="accents"),
        pytest.param("T1 MPRAGE p2", id="spaces"),
        pytest.param("Crâne d'enfant", id="apostrophe"),
        pytest.param("CT/MR fusion", id="slash"),
        pytest.param('"quoted" $(x) `y`; z', id="what a shell would read"),
    ],
)
def test_a_description_is_asked_for_and_told_as_it_is(description: str) -> None:
    wanted = make_series("P1", series_description=description)
    other = make_series("P1", series_number=2, series_description="other")
    with FakePacs(wanted + other) as pacs:
        (found,), _ = ask(pacs.node(), {"SeriesDescription": description}, INFO)
    assert found.series.series_uid == uid_of(wanted)
    assert found.series.description == description
    assert found.attributes["SeriesDescription"] == description


def test_a_patient_id_na_is_a_patient_id_and_no_missing_value() -> None:
    reports = [make_series(f"P{n}", modality="SR", instances=1) for n in range(3)]
    patient_na = make_series("NA", modality="SR", instances=1)
    with FakePacs(all_of([*reports, patient_na])) as pacs:
        found, _ = ask(pacs.node(), {"PatientID": "NA", "Modality": "SR"})
        nobody, answered = ask(pacs.node(), {"PatientID": "NULL", "Modality": "SR"})
    assert uids(found) == (uid_of(patient_na),)
    assert (nobody, answered.series, answered.reason) == ([], 0, "")


def test_wildcards_and_ranges_go_out_as_they_are_written() -> None:
    keys = {"PatientID": "P1*", "StudyDate": "20200101-", "SeriesDescription": "Ser?es*"}
    with FakePacs(all_of(SIX)) as pacs:
        ask(pacs.node(), keys)
        (study,) = pacs.asked("C-FIND", "STUDY")
        series = pacs.asked("C-FIND", "SERIES")[0]
    assert (study.PatientID, study.StudyDate) == ("P1*", "20200101-")
    assert series.SeriesDescription == "Ser?es*"


def test_every_query_has_specific_character_set_counts_and_all_unique_keys_above() -> None:
    with FakePacs(all_of(SIX)) as pacs:
        ask(pacs.node(), {"PatientID": "P100", "StudyDescription": "Kopf*ä"}, SAVE)
        (study, *_) = pacs.asked("C-FIND", "STUDY")
    assert study.SpecificCharacterSet == "ISO_IR 192"
    with FakePacs(all_of(SIX)) as pacs:
        ask(pacs.node(), {"PatientID": "P100"}, SAVE)
        series, images = pacs.asked("C-FIND", "SERIES"), pacs.asked("C-FIND", "IMAGE")
    assert all("NumberOfSeriesRelatedInstances" in one and one.StudyInstanceUID for one in series)
    assert all(one.StudyInstanceUID and one.SeriesInstanceUID for one in images)


def test_an_answer_of_two_series_with_issuer_and_empty_values_gives_two_records() -> None:
    first = make_series("P1", series_number="", series_description="")
    second = make_series("P1", series_number=2, series_description=" T1  MPRAGE ")
    for instance in first + second:
        instance.IssuerOfPatientID = "HOSPITAL"
        del instance.ProtocolName
    with FakePacs(first + second) as pacs:
        found, answered = ask(pacs.node(), {"PatientID": "P1"}, INFO)
    told = {one.series.series_uid: one for one in found}
    assert set(told) == {uid_of(first), uid_of(second)}
    assert answered.series == 2
    empty = told[uid_of(first)]
    assert (empty.series.number, empty.series.description) == ("", "")
    assert empty.attributes.get("ProtocolName", "") == ""
    assert told[uid_of(second)].series.description.split() == ["T1", "MPRAGE"]


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="^=\\*?")))
def test_the_pacsman_name_is_a_star_and_the_last_word_in_capitals(name: str) -> None:
    words = name.split()
    assert pacsman_name(name) == (f"*{words[-1].upper()}" if words else "")


def test_obi_wan_kenobi_becomes_star_kenobi() -> None:
    assert pacsman_name("Obi-Wan Kenobi") == "*KENOBI"


def test_one_accession_number_of_several_studies_finds_them_all() -> None:
    studies = [make_series(f"P{n}", accession_number="ACC1", seed=n) for n in range(3)]
    with FakePacs(all_of(studies)) as pacs:
        found, _ = ask(pacs.node(), {"AccessionNumber": "ACC1"})
    assert uids(found) == tuple(sorted(map(uid_of, studies)))


def test_fuji_needs_the_study_uid_with_the_series_uid() -> None:
    with FakePacs(all_of(SIX), behaviour=Behaviour(relational=False)) as pacs:
        found, answered = ask(pacs.node(), {"SeriesInstanceUID": uid_of(SIX[2])})
    assert (uids(found), answered.reason) == ((uid_of(SIX[2]),), "")


def test_carestream_without_number_of_series_related_instances_hides_no_series() -> None:
    with FakePacs(all_of(SIX), behaviour=Behaviour(omit_counts=True)) as pacs:
        found, _ = ask(pacs.node(), {"PatientID": "P100"})
    assert [(len(one.expected), one.evidence) for one in found] == [(5, "uids")] * 6


def test_a_count_of_zero_is_unknown_and_not_zero() -> None:
    series = make_series("P1", instances=3)
    behaviour = Behaviour(count_error=-3, refuse_levels={"IMAGE": 0xA900})
    with FakePacs(series, behaviour=behaviour) as pacs:
        (found,), _ = ask(pacs.node(), {"PatientID": "P1"})
    assert (found.expected_count, found.evidence) == (None, "none")


def test_an_attribute_that_the_pacs_does_not_return_is_empty_and_no_error() -> None:
    with FakePacs(all_of(SIX), behaviour=Behaviour(ignore_keys=frozenset({"StudyTime"}))) as pacs:
        found, answered = ask(pacs.node(), {"PatientID": "P100"}, INFO)
    assert (len(found), answered.reason) == (6, "")
    assert {one.series.study_time for one in found} == {""}


def test_a_profile_says_which_key_a_pacs_needs_matched_here() -> None:
    behaviour = Behaviour(unmatched_keys=frozenset({"SeriesDescription"}))
    with FakePacs(all_of(SIX), behaviour=behaviour) as pacs:
        node = knowing(pacs.node(), PacsProfile(unsupported_keys=("SeriesDescription",)))
        found, _ = ask(node, {"PatientID": "P100", "SeriesDescription": "Series 2"})
        asked = pacs.asked("C-FIND", "SERIES")
    assert len(found) == 2
    assert {str(one.SeriesDescription) for one in asked} == {""}
