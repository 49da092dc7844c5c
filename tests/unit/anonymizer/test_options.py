"""The options of PS3.15 Annex E, and a project's own rules."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import CTImageStorage, ImplicitVRLittleEndian

from pacstream.errors import InputError
from pacstream.pseudonyms import ProjectKey
from pacstream_anonymizer.cleaner import Account, Cleaner, Told
from pacstream_anonymizer.encoding import NATIVE
from pacstream_anonymizer.iod import iod_of
from pacstream_anonymizer.parser import Element
from pacstream_anonymizer.profile import DEFAULT, Profile, Rule
from pacstream_anonymizer.values import Patient
from tests.unit.anonymizer.instances import INSTANCE, KEY, an_instance, released

EXPLICIT = "1.2.840.10008.1.2.1"
STRICT = Profile(frozenset())
FULL = Profile(
    DEFAULT.options - {"retain_longitudinal_modified_dates"} | {"retain_longitudinal_full_dates"}
)


def with_private(
    creator: str, group: int, block: int, *elements: tuple[int, str, object]
) -> Dataset:
    given = an_instance()
    given.add_new(group << 16 | block, "LO", creator)
    for low, vr, value in elements:
        given.add_new(group << 16 | block << 8 | low, vr, value)
    return given


@pytest.mark.parametrize("syntax", [EXPLICIT, ImplicitVRLittleEndian])
@pytest.mark.parametrize("block", [0x10, 0x12])
def test_safe_private_elements_stay_in_whatever_block(
    tmp_path: Path, syntax: str, block: int
) -> None:
    given = with_private("SIEMENS MR HEADER", 0x0019, block, (0x0C, "IS", 1000), (0x23, "SH", "x"))
    data_set = released(given, tmp_path, syntax)
    kept = data_set.private_block(0x0019, "SIEMENS MR HEADER")
    assert data_set[kept.get_tag(0x0C)].value == 1000
    assert kept.get_tag(0x23) not in data_set


def test_a_creator_of_nothing_that_stays_goes(tmp_path: Path) -> None:
    given = with_private("SIEMENS MR HEADER", 0x0019, 0x10, (0x23, "SH", "x"))
    assert not any(tag.is_private for tag in released(given, tmp_path))


@pytest.mark.parametrize("creator", ["", "SIEMENS MR HEADER "])
def test_private_elements_without_a_creator_go(tmp_path: Path, creator: str) -> None:
    given = an_instance()
    given.add_new(0x0019100C, "IS", 1000)
    if creator:
        given.add_new(0x00190011, "LO", creator)
    assert not any(tag.is_private for tag in released(given, tmp_path))


def test_safe_private_texts_keep_known_words_and_uids_are_mapped(tmp_path: Path) -> None:
    given = with_private("GEMS_ACQU_01", 0x0019, 0x10, (0x9E, "LO", "epi Quixote"))
    given.add_new(0x00990010, "LO", "NQHeader")
    given.add_new(0x00991002, "UI", "1.2.826.0.1.77.1.2")
    data_set = released(given, tmp_path)
    assert data_set[0x0019109E].value == "epi"
    assert data_set[0x00991002].value == KEY.uid("1.2.826.0.1.77.1.2")


def test_without_the_option_no_private_element_stays(tmp_path: Path) -> None:
    given = with_private("SIEMENS MR HEADER", 0x0019, 0x10, (0x0C, "IS", 1000))
    data_set = released(given, tmp_path, profile=STRICT)
    assert not any(tag.is_private for tag in data_set)


def test_full_dates_stay_and_the_birth_date_does_not(tmp_path: Path) -> None:
    data_set = released(an_instance(AcquisitionDateTime="20240229101530.5"), tmp_path, profile=FULL)
    assert (data_set.StudyDate, data_set.StudyTime) == ("20240229", "101530")
    assert data_set.AcquisitionDateTime == "20240229101530.5"
    assert data_set.PatientBirthDate == ""
    assert data_set.LongitudinalTemporalInformationModified == "UNMODIFIED"


def test_without_date_options_no_date_is_left(tmp_path: Path) -> None:
    given = an_instance(AcquisitionDate="20240229", DateOfGainCalibration="20240229")
    data_set = released(given, tmp_path, profile=STRICT)
    assert data_set.StudyDate == "" and "AcquisitionDate" not in data_set
    assert "DateOfGainCalibration" not in data_set
    assert data_set.LongitudinalTemporalInformationModified == "REMOVED"


def test_uids_stay_with_their_option(tmp_path: Path) -> None:
    profile = Profile(frozenset({"retain_uids"}))
    data_set = released(an_instance(), tmp_path, profile=profile)
    assert data_set.SOPInstanceUID == data_set.file_meta.MediaStorageSOPInstanceUID == INSTANCE
    assert data_set.FrameOfReferenceUID == "1.2.826.0.1.77.9"


def test_device_and_institution_stay_with_their_options(tmp_path: Path) -> None:
    given = an_instance(StationName="CT-7", InstitutionName="Hôpital", DeviceSerialNumber="99")
    given.SpecificCharacterSet = "ISO_IR 100"
    both = Profile(frozenset({"retain_device_identity", "retain_institution_identity"}))
    data_set = released(given, tmp_path, profile=both)
    assert (data_set.StationName, data_set.DeviceSerialNumber) == ("CT-7", "99")
    assert data_set.InstitutionName == "Hôpital"
    codes = {item.CodeValue for item in data_set.DeidentificationMethodCodeSequence}
    assert codes == {"113100", "113109", "113112"}


def test_descriptions_keep_known_words(tmp_path: Path) -> None:
    given = an_instance(ProtocolName="Head routine Doctorow", StudyDescription="Quixotesson")
    data_set = released(given, tmp_path)
    assert data_set.ProtocolName == "Head routine"
    assert "StudyDescription" not in data_set
    assert "ProtocolName" not in released(given, tmp_path / "strict", profile=STRICT)


def test_options_that_exclude_one_another_are_refused() -> None:
    with pytest.raises(InputError):
        Profile(DEFAULT.options | {"retain_longitudinal_full_dates"})


def rules(*rules: Rule) -> Profile:
    return Profile(DEFAULT.options, rules=rules)


@pytest.mark.parametrize(
    ("action", "left"),
    [
        ("keep", "Head 77X"),
        ("clean", "Head"),
        ("empty", ""),
        ("replace", "other"),
        ("remove", None),
    ],
)
def test_a_rule_of_the_project_comes_before_the_table(
    tmp_path: Path, action: str, left: str | None
) -> None:
    rule = Rule("00081030", action, "why", value="other")  # type: ignore[arg-type]
    given = an_instance(StudyDescription="Head 77X")
    assert released(given, tmp_path, profile=rules(rule)).get("StudyDescription") == left


def test_a_rule_may_be_for_the_devices_of_one_manufacturer(tmp_path: Path) -> None:
    mine = Rule("00180015", "remove", "why", manufacturer="siemens")
    other = Rule("00080060", "remove", "why", manufacturer="Philips")
    given = an_instance(BodyPartExamined="HEAD")
    data_set = released(given, tmp_path, profile=rules(mine, other))
    assert "BodyPartExamined" not in data_set and data_set.Modality == "CT"


def test_a_rule_lets_a_private_element_through(tmp_path: Path) -> None:
    rule = Rule("0029XX08", "keep", "why", private_creator="SIEMENS CSA HEADER")
    given = with_private("SIEMENS CSA HEADER", 0x0029, 0x10, (0x08, "CS", "IMAGE NUM 4"))
    assert released(given, tmp_path, profile=rules(rule))[0x00291008].value == "IMAGE NUM 4"


def test_no_rule_brings_the_patient_back(tmp_path: Path) -> None:
    data_set = released(an_instance(), tmp_path, profile=rules(Rule("0010002x", "keep", "why")))
    assert data_set.PatientName == data_set.PatientID == KEY.pseudonym("MRN-88213")


def test_of_an_allow_list_only_what_it_names_stays(tmp_path: Path) -> None:
    rule = Rule("00081030", "clean", "why")
    profile = Profile(DEFAULT.options, mode="allow_list", rules=(rule,))
    given = an_instance(StudyDescription="Head", BodyPartExamined="HEAD", KVP="120")
    data_set = released(given, tmp_path, profile=profile)
    assert data_set.StudyDescription == "Head" and data_set.Rows == 4
    assert "BodyPartExamined" not in data_set and "KVP" not in data_set


def test_the_trail_tells_of_each_element_every_time() -> None:
    told: list[Account] = []
    patient = Patient(KEY, "P1", -7)
    cleaner = Cleaner(DEFAULT, patient, NATIVE[EXPLICIT], iod_of(CTImageStorage), told.extend)
    item = [Element(0x00080090, "PN", b"Doctorow")]
    elements = [
        Element(0x00180060, "DS", b"120 ", raw=b"the bytes"),
        Element(0x52009229, "SQ", items=[item]),
    ]
    for _ in range(2):
        cleaner.data_set(elements)
    assert [account.told for account in told] == 2 * [
        (Told((0x00180060,), "vr:DS", "clean", b"120 "),),
        (
            Told((0x52009229, 0x00080090), "E1.1:00080090", "empty", b"Doctorow"),
            Told((0x52009229,), "vr:SQ", "clean", b""),
        ),
    ]


def test_what_one_cleaner_made_of_an_element_is_nothing_to_another() -> None:
    """The same element may be in data sets of two patients, or of one in another character set."""
    uid = Element(0x0020000D, "UI", b"1.2.3", raw=b"the bytes")
    words = Element(0x00081030, "LO", "Köpfe".encode(), raw=b"others")
    keys = (KEY, ProjectKey(bytes(32)))
    cleaners = [
        Cleaner(FULL, Patient(key, "P1", 0), NATIVE[EXPLICIT], iod_of(CTImageStorage))
        for key in keys
    ]
    for _ in range(2):
        made = [cleaner.data_set([uid])[0].value.decode() for cleaner in cleaners]
        assert made == [key.uid("1.2.3") for key in keys]
    rule = Rule("00081030", "keep", "reviewed")
    profile = Profile(frozenset(), rules=(rule,))
    keeping = Cleaner(profile, Patient(KEY, "P1", 0), NATIVE[EXPLICIT], iod_of(CTImageStorage))
    charsets = [Element(0x00080005, "CS", name) for name in (b"ISO_IR 192", b"ISO_IR 100")]
    for charset, expected in zip(charsets * 2, ["Köpfe", "KÃ¶pfe"] * 2, strict=True):
        kept = {one.tag: one.value for one in keeping.data_set([charset, words])}
        assert kept[0x00081030].decode() == expected


def test_text_where_a_uid_should_stand_is_mapped_though_uids_are_retained(tmp_path: Path) -> None:
    given = an_instance()
    with pytest.warns(UserWarning, match="UI"):
        given.add_new(0x00200052, "UI", "Quixotesson")
    data_set = released(given, tmp_path, profile=Profile(frozenset({"retain_uids"})))
    assert data_set.FrameOfReferenceUID == KEY.uid("Quixotesson")


@pytest.mark.parametrize(
    ("before", "profile", "after"),
    [
        ("REMOVED", FULL, "REMOVED"),
        ("MODIFIED", FULL, "MODIFIED"),
        ("REMOVED", DEFAULT, "REMOVED"),
        ("UNMODIFIED", DEFAULT, "MODIFIED"),
        ("Quixote", FULL, "UNMODIFIED"),
    ],
)
def test_dates_that_were_changed_before_are_not_called_unmodified(
    tmp_path: Path, before: str, profile: Profile, after: str
) -> None:
    given = an_instance(LongitudinalTemporalInformationModified=before)
    data_set = released(given, tmp_path, profile=profile)
    assert data_set.LongitudinalTemporalInformationModified == after


def test_an_allow_list_with_rules_for_content_is_refused() -> None:
    with pytest.raises(InputError):
        Profile(frozenset({"clean_structured_content"}), mode="allow_list")
