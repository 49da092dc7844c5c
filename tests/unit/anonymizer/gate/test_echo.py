"""Identifiers of anyone met in an original are found in a release; words are no identifiers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset

from pacstream_anonymizer.gate import Claims
from pacstream_anonymizer.gate.echo import ENCODINGS, Search, dates
from pacstream_anonymizer.gate.identifiers import Traces
from pacstream_anonymizer.gate.reader import Leaf
from pacstream_anonymizer.profile import Profile
from tests.unit.anonymizer.gate.files import a_release, verdict
from tests.unit.anonymizer.instances import an_instance

DESCRIPTION = 0x0008103E
EMPTIED = f"emptied {DESCRIPTION:08X}"


def described(text: str, folder: Path, **original: Any) -> str:
    """The verdict on a release whose Series Description is `text`."""
    return verdict(an_instance(**original), a_release(SeriesDescription=text), folder)


def test_a_clean_release_passes(tmp_path: Path) -> None:
    assert verdict(an_instance(), a_release(), tmp_path) == "passed"


@pytest.mark.parametrize(
    "keyword",
    ["PatientName", "ReferringPhysicianName", "OperatorsName", "PhysiciansOfRecord",
     "PatientBirthName", "NameOfPhysiciansReadingStudy", "ContentCreatorName"],
)  # fmt: skip
@pytest.mark.parametrize("text", ["Vandersloot", "T1_VANDERSLOOT_2", "for vandersloot!"])
def test_a_name_of_anyone_is_found(tmp_path: Path, keyword: str, text: str) -> None:
    assert described(text, tmp_path, **{keyword: "Vandersloot^Maj"}) == EMPTIED


def test_a_name_at_any_depth_is_found(tmp_path: Path) -> None:
    original = an_instance()
    item, inner = Dataset(), Dataset()
    inner.PersonName = "Vandersloot^Maj"
    item.ContentSequence = [inner]
    original.RequestAttributesSequence = [item]
    released = a_release(SeriesDescription="Vandersloot")
    assert verdict(original, released, tmp_path) == EMPTIED


def test_an_echo_at_any_depth_is_found(tmp_path: Path) -> None:
    item, inner = Dataset(), Dataset()
    inner.CodeMeaning = "Quixotesson"
    item.PurposeOfReferenceCodeSequence = [inner]
    released = a_release(ReferencedImageSequence=[item])
    path = "emptied 00081140.0040A170.00080104"
    assert verdict(an_instance(), released, tmp_path) == path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Müllerström", "mullerstrom"),
        ("Müllerström", "Muellerstroem"),
        ("Mullerstrom", "MÜLLERSTRÖM"),
        ("Łukaszewicz", "lukaszewicz"),
        ("Jö", "Jö 3"),
        ("Ng^Li", "Li Ng"),
        ("山田^太郎", "胸部 山田様"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "やまだ"),
        ("李", "李"),
        ("Иванов", "ИВАНОВ"),
        ("Łukaszewicz", "lukaszewiczs2"),
        ("Mullerstrom", "DrMullerstromT1"),
    ],
)
def test_spelling_hides_no_name(tmp_path: Path, name: str, text: str) -> None:
    assert described(text, tmp_path, PatientName=name, SpecificCharacterSet="ISO_IR 192") == EMPTIED


@pytest.mark.parametrize(
    ("patient_id", "text"),
    [
        ("00088213", "88213"),
        ("88213", "no. 00088213"),
        (" MRN 88213 ", "mrn88213"),
        ("MRN-88213", "MRN-88213/a"),
        ("MRN-88213", "coil 88213"),
        ("MRN-88213", "x88213y"),
        ("UH0088213B", "00088213"),
        ("7", "7"),
        ("X1", "x1"),
    ],
)
def test_an_id_is_found_however_it_is_padded(tmp_path: Path, patient_id: str, text: str) -> None:
    assert described(text, tmp_path, PatientID=patient_id) == EMPTIED


@pytest.mark.parametrize(
    "text",
    ["19410307", "1941-03-07", "07.03.1941", "03/07/1941", "07031941", "7.3.1941", "7-Mar-1941",
     "Mar 7, 1941", "born 1941/03/07", "DOB19410307x"],
)  # fmt: skip
def test_the_birth_date_is_found_as_people_write_it(tmp_path: Path, text: str) -> None:
    assert described(text, tmp_path, PatientBirthDate="19410307") == EMPTIED


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientAddress", "3 Measuring Road"),
        ("PatientTelephoneNumbers", "022 555 01 02"),
        ("InstitutionName", "St Ambrose"),
        ("StudyID", "S-2024-117"),
        ("AdmissionID", "AD77812"),
    ],
)
def test_addresses_and_other_ids_are_found_as_whole_values(
    tmp_path: Path, keyword: str, value: str
) -> None:
    assert described(f"x {value.upper()} y", tmp_path, **{keyword: value}) == EMPTIED
    assert described(value[:-1] + "QQ", tmp_path, **{keyword: value}) == "passed"


def test_an_institution_may_stay_if_the_profile_says_so(tmp_path: Path) -> None:
    original, released = an_instance(InstitutionName="St Ambrose"), a_release()
    released.InstitutionName = "St Ambrose"
    claims = Claims.of(Profile(frozenset({"retain_institution_identity"})))
    assert verdict(original, released, tmp_path, claims) == "passed"
    assert verdict(original, released, tmp_path) == "emptied 00080080"


@pytest.mark.parametrize(
    ("original", "released"),
    [
        ({"PatientName": "Head^A"}, {"BodyPartExamined": "HEAD"}),
        ({"PatientName": "Brain^Chest"}, {"BodyPartExamined": "BRAIN"}),
        ({"PatientName": "Siemens^B"}, {"Manufacturer": "SIEMENS Healthineers"}),
        ({"PatientName": "Vision^V"}, {"ManufacturerModelName": "MAGNETOM Vision"}),
        ({"PatientName": "Axial^Primary"}, {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}),
        ({"PatientName": "Profile^Basic"}, {"DeidentificationMethod": "Basic Profile"}),
        ({"PatientName": "Field^C"}, {"SeriesDescription": "FIELDS"}),
        ({"PatientName": "Abdomen^C"}, {"BodyPartExamined": "ABDOMENPELVIS"}),
        ({"PatientID": "88213"}, {"SoftwareVersions": "1882130"}),
        ({"PatientName": "A"}, {"SeriesDescription": "A"}),
        ({"PatientName": "X^Y"}, {"SeriesDescription": "X Y"}),
        ({"PatientName": "Kim^A"}, {"SeriesDescription": "kim"}),
        ({"InstitutionName": "TOSHIBA"}, {"Manufacturer": "TOSHIBA_MEC"}),
        ({"InstitutionName": "Radiology Service"}, {"SeriesDescription": "Radiology Service"}),
        ({"PatientID": "ANONYMOUS"}, {"SeriesDescription": "anonymous"}),
        ({"OperatorsName": "UNKNOWN"}, {"SeriesDescription": "unknown"}),
        ({"PatientID": "1"}, {"InstanceNumber": "1", "SliceThickness": "1"}),
        ({"PatientID": "2.5"}, {"SliceThickness": "2.5", "StackID": "2.5"}),
        ({"PatientID": "101530"}, {"StudyTime": "101530", "KVP": "101530"}),
        ({"PatientID": "20240229"}, {"StudyDate": "20240229"}),
        ({"PatientBirthDate": "20240222"}, {"StudyDate": "20240222", "ContentDate": "20240222"}),
        ({"StudyID": "3"}, {"SeriesDescription": "3"}),
        ({"PatientID": "513"}, {"Rows": 513}),
    ],
)
def test_what_only_looks_like_an_identifier_passes(
    tmp_path: Path, original: dict[str, Any], released: dict[str, Any]
) -> None:
    assert verdict(an_instance(**original), a_release(**released), tmp_path) == "passed"


def test_a_meaning_out_of_the_standard_is_nobodys_name(tmp_path: Path) -> None:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "69536005", "SCT", "Head"
    released = a_release(AnatomicRegionSequence=[code])
    assert verdict(an_instance(PatientName="Head^A"), released, tmp_path) == "passed"
    code.CodeMeaning = "Head of A"
    assert verdict(an_instance(PatientName="Head^A"), released, tmp_path) != "passed"


@pytest.mark.parametrize("keyword", ["PatientName", "PatientID", "AccessionNumber", "StudyID"])
def test_an_echo_where_the_rules_have_failed_withholds(tmp_path: Path, keyword: str) -> None:
    original = an_instance(PatientID="Quixotesson")
    assert verdict(original, a_release(**{keyword: "Quixotesson"}), tmp_path) == "echo"


def test_an_address_that_a_rule_forgets_withholds(tmp_path: Path) -> None:
    address = {"PatientAddress": "3 Measuring Road"}
    assert verdict(an_instance(**address), a_release(**address), tmp_path) == "echo"


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("vr", ["UT", "UN", "OB"])
def test_a_name_is_found_in_every_encoding_that_can_hold_it(encoding: str, vr: str) -> None:
    names = [
        "Ljungström",
        "Dvořáková",
        "Кузнецов",
        "Παπαδόπουλος",
        "山田太郎",
        "김철수철수",
        "Smithson",
    ]
    found = 0
    for name in names:
        try:
            raw = name.encode(encoding)
        except UnicodeEncodeError:
            continue
        search = Search(Traces(names=frozenset({(name,)})))
        for filling in (b"", b"\1 "):
            assert search.finds(Leaf((0x00091001,), vr, filling + raw + filling, b"")), name
        found += 1
    assert found


def test_a_short_number_in_bulk_is_there_by_chance() -> None:
    search = Search(Traces(ids=frozenset({"1234", "A7"}), born=frozenset({"19410307"})))
    assert not search.finds(Leaf((0x00283006,), "OW", b"\0 1234 A7 \0", b""))
    assert search.finds(Leaf((0x00283006,), "OW", b"\0 19410307 \0", b""))
    assert not search.finds(Leaf((0x00283006,), "OW", b" 19410307 " + bytes(1 << 16), b""))


def test_an_impossible_month_makes_no_date_fail() -> None:
    assert "1941-13-40" in dates("19411340")
