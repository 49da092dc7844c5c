"""What is of use and tells of nobody stays, whatever the options are."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import CTImageStorage

from pacstream_anonymizer.codes import LOCAL, cleaned
from pacstream_anonymizer.profile import DEFAULT, Profile
from tests.unit.anonymizer.instances import an_instance, released

STRICT = Profile(frozenset())


@pytest.mark.parametrize(
    ("value", "stays"),
    [
        (bytes(range(32)), True),
        (b"\x01\x00Quixo\x00", False),
        ("Quixo".encode("utf-16-le"), False),
        (b"no. 882130 ", False),
        (bytes(1 << 17), False),
    ],
)
def test_safe_private_bytes_stay_if_they_hold_no_word(
    tmp_path: Path, value: bytes, stays: bool
) -> None:
    given = an_instance()
    given.private_block(0x7E01, "HOLOGIC, Inc.", create=True).add_new(0x12, "OB", value)
    assert any(one.is_private for one in released(given, tmp_path)) is stays


@pytest.mark.parametrize("profile", [STRICT, DEFAULT])
@pytest.mark.parametrize(
    ("keyword", "text", "left"),
    [
        ("PositionReferenceIndicator", "SN", "SN"),
        ("PositionReferenceIndicator", "of Quixotesson", ""),
        ("WindowCenterWidthExplanation", ["WINDOW1", "Doctorow"], ["WINDOW1", ""]),
        ("CollimatorGridName", "LEHR Hofmannova", "LEHR"),
        ("AnatomicalOrientationType", "BIPED", "BIPED"),
        ("LongitudinalTemporalOffsetFromEvent", 12.5, 12.5),
    ],
)
def test_terms_and_numbers_stay(
    tmp_path: Path, profile: Profile, keyword: str, text: object, left: object
) -> None:
    given = an_instance(**{keyword: text})
    assert released(given, tmp_path, profile=profile).get(keyword, "") == left


@pytest.mark.parametrize(("profile", "stays"), [(STRICT, False), (DEFAULT, True)])
def test_the_body_mass_index_goes_with_size_and_weight(
    tmp_path: Path, profile: Profile, stays: bool
) -> None:
    data_set = released(an_instance(PatientBodyMassIndex="23.5"), tmp_path, profile=profile)
    assert ("PatientBodyMassIndex" in data_set) is stays


@pytest.mark.parametrize(
    ("scheme", "value", "meaning", "left"),
    [
        ("SCT", "123037004", "Anatomical Structure", "Anatomical Structure"),
        ("LN", "24627-2", "CT Chest", "CT Chest"),
        ("LN", "24627-2", "Quixotesson", "CT Chest Report"),
        ("LN", "24627-9", "Quixotesson", "24627-9"),
        ("SCPECG", "5.6.3-9-1", "Lead I (Quixote)", "5.6.3-9-1"),
    ],
)
def test_a_public_code_keeps_a_meaning_of_known_words(
    scheme: str, value: str, meaning: str, left: str
) -> None:
    concept = cleaned(value, scheme, meaning)
    assert (concept.value, concept.scheme, concept.meaning) == (value, scheme, left)


@pytest.mark.parametrize(("version", "left"), [("20030108", "20030108"), ("of 1 May", "")])
def test_a_scheme_keeps_its_version(tmp_path: Path, version: str, left: str) -> None:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "T-A0100", "SRT", "Brain"
    item.CodingSchemeVersion = version
    given = an_instance(SOPClassUID=CTImageStorage, AnatomicRegionSequence=[item])
    kept = released(given, tmp_path).AnatomicRegionSequence[0]
    assert kept.get("CodingSchemeVersion", "") == left


def test_a_local_code_may_say_anything() -> None:
    assert cleaned("CT1", "99HOSPITAL", "CT Chest") == LOCAL
