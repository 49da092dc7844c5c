"""Identifiers in forms that no rule asks for: the wrong VR, behind a zero byte, as a number.

The standard lets none of these stand there, so that such a file may be withheld; scanners do it.
"""

from __future__ import annotations

from collections.abc import Callable

from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.uid import ImplicitVRLittleEndian

from tests.answer_key.cast import Person
from tests.answer_key.key import Action, Check, Fate, FileKey
from tests.answer_key.maker import DATES, Maker, Written, even
from tests.answer_key.naming import path_of

CATEGORY = "disguises"

Change = Callable[[Dataset, Person], None]


def add_disguises(maker: Maker) -> None:
    for title, change in {**VALUES_OF_OTHER_KINDS, **SPELLINGS}.items():
        _add(maker, title, change)
    _add_number_as_id(maker)
    _add_wrong_vrs(maker)
    _add_lie_about_characters(maker)
    _add_undefined_lengths(maker)
    _add_ranges(maker)


def _add(maker: Maker, title: str, change: Change, person: Person | None = None) -> FileKey:
    """What `change` overwrites is asked for no more."""
    person = person or maker.cast.person()
    data_set = maker.instance(person)
    before = {element.tag: element.value for element in data_set}
    change(data_set, person)
    file = maker.add(f"disguises/{title}.dcm", CATEGORY, data_set, person, Fate.EITHER)
    changed = {int(e.tag) for e in data_set if before.get(e.tag) != e.value}
    file.checks = [check for check in file.checks if check.path and check.path[0][0] not in changed]
    return file


def _put(keyword: str, vr: str, template: str) -> Change:
    """Surname and ID of the patient in `template`, in any VR."""

    def change(data_set: Dataset, person: Person) -> None:
        text = template.format(name=person.texts[0], NAME=person.texts[0].upper())
        element = DataElement(path_of(keyword)[0][0], "LO", text)
        element.VR = vr
        data_set.add(element)

    return change


VALUES_OF_OTHER_KINDS: dict[str, Change] = {
    "in-date": _put("AcquisitionDate", "DA", "{name}"),
    "in-time": _put("AcquisitionTime", "TM", "{name}"),
    "in-moment": _put("AcquisitionDateTime", "DT", "{name}"),
    "in-age": _put("PatientAge", "AS", "{NAME}"),
    "in-size": _put("PatientSize", "DS", "{name}"),
    "in-decimal": _put("SliceLocation", "DS", "{name}"),
    "in-integer": _put("EchoTrainLength", "IS", "{name}"),
    "in-code": _put("ScanOptions", "CS", "{NAME}"),
    "in-sex": _put("PatientSex", "CS", "{NAME}"),
    "in-uid": _put("ReferencedSOPInstanceUID", "UI", "{name}"),
    "in-class": _put("RelatedGeneralSOPClassUID", "UI", "{name}"),
    "in-zone": _put("TimezoneOffsetFromUTC", "SH", "{name}"),
}

SPELLINGS: dict[str, Change] = {
    "behind-zero": _put("Manufacturer", "LO", "SIEMENS\0{name}"),
    "second-value": _put("ImageType", "CS", "ORIGINAL\\PRIMARY\\M\\{NAME}"),
    "joined": _put("SoftwareVersions", "LO", "v2.{name}_head"),
    "lower-case": _put("SequenceName", "SH", "*tfl({name})"),
    "padded": _put("ManufacturerModelName", "LO", "    {NAME}    "),
    "path": _put("PulseSequenceName", "LO", "C:\\Medcom\\{name}\\a.pro"),
    "markup": _put("ReconstructionMethod", "LO", "<name>{name}</name>"),
    "long": _put("FilterType", "SH", "x" * 60 + "{name}"),
}


def _add_number_as_id(maker: Maker) -> None:
    """Somebody types the patient's number where the scanner wants one."""
    for title, keyword in (("series", "SeriesNumber"), ("acquisition", "AcquisitionNumber")):
        person = maker.cast.person(patient_id=maker.cast.digits(8))
        _add(maker, f"number-{title}", _put(keyword, "IS", person.patient_id), person)
    bare = maker.cast.digits(7)
    person = maker.cast.person(patient_id=f"000{bare}")
    maker.hidden(bare, CATEGORY)
    _add(maker, "without-zeros", _put("SoftwareVersions", "LO", f"case {bare}"), person)
    for title, text in (("in-letters", f"x{bare}y"), ("without-prefix", f"coil {bare}")):
        person = maker.cast.person(patient_id=f"MRN-{bare}")
        _add(maker, title, _put("SoftwareVersions", "LO", text), person)


def _add_wrong_vrs(maker: Maker) -> None:
    """Right attributes under VRs that are not theirs, as some writers of explicit VR do."""
    person, word = maker.cast.person(), maker.cast.word
    data_set = maker.instance(person)
    for tag, vr in (
        (0x00104000, "OB"), (0x00081070, "LO"), (0x00081048, "UT"), (0x00321032, "UN"),
        (0x00081010, "LT"), (0x00204000, "OW"), (0x00380010, "UC"),
    ):  # fmt: skip
        text = maker.hidden(word(), CATEGORY)
        data_set.add(
            DataElement(tag, vr, even(text.encode()) if vr in ("OB", "OW", "UN") else text)
        )
    item = Dataset()
    item.add(DataElement(0x00081155, "UN", even(maker.cast.uid().encode())))
    item.add(DataElement(0x00200052, "LO", maker.cast.uid()))
    for element in item:
        text = element.value.decode() if isinstance(element.value, bytes) else element.value
        maker.key.uids[text.strip("\0")] = CATEGORY
    data_set.ReferencedImageSequence = [item]
    maker.add("disguises/wrong-vrs.dcm", CATEGORY, data_set, person, Fate.EITHER)


def _add_lie_about_characters(maker: Maker) -> None:
    """UTF-8 under the name of Latin-1, and a character set that is none."""
    for title, declared in (("latin", "ISO_IR 100"), ("ascii", ""), ("none", "ISO_IR 999")):
        surname = "Grü" + maker.cast.word()
        person = maker.cast.person(name=f"{surname}^A", texts=(surname,))
        data_set = maker.instance(person)
        data_set.SpecificCharacterSet = declared
        for tag in (0x00100010, 0x00104000, 0x00081030):
            data_set.add(DataElement(tag, "UN", even(person.name.encode())))
        maker.add(f"disguises/set-{title}.dcm", CATEGORY, data_set, person, Fate.EITHER)


def _add_undefined_lengths(maker: Maker) -> None:
    """Sequences and items without a length, one inside the other, explicit and implicit."""
    for title, written in (("explicit", Written()), ("implicit", Written(ImplicitVRLittleEndian))):
        person = maker.cast.person()
        data_set = item = maker.instance(person)
        for _ in range(3):
            inner = Dataset()
            inner.is_undefined_length_sequence_item = True
            inner.RequestedProcedureDescription = maker.hidden(maker.cast.word(), CATEGORY)
            inner.add(DataElement(0x00091010, "UT", maker.hidden(maker.cast.word(), CATEGORY)))
            item.RequestAttributesSequence = [inner, Dataset()]
            item["RequestAttributesSequence"].is_undefined_length = True
            item = inner
        file = maker.add(
            f"disguises/undefined-{title}.dcm", CATEGORY, data_set, person, written=written
        )
        file.checks.append(Check(CATEGORY, Action.TEXT_NOTNULL, path_of("PatientID")))


def _add_ranges(maker: Maker) -> None:
    """A range of dates as in a query, and dates that stop at the month or the year."""
    first, last, month = (maker.cast.date(2005, 2022) for _ in range(3))
    values = {
        "DateOfSecondaryCapture": (f"{first}-{last}", first),
        "AcquisitionDateTime": (f"{month[:6]}", month[:6]),
        "FrameAcquisitionDateTime": (f"{last}1015-{last}1020", last),
    }
    person = maker.cast.person()
    data_set = maker.instance(person)
    for keyword, (text, _) in values.items():
        setattr(data_set, keyword, text)
    file = maker.add("disguises/ranges.dcm", CATEGORY, data_set, person)
    file.checks += [
        Check(CATEGORY, Action.TEXT_REMOVED, path_of(keyword), part, without=DATES)
        for keyword, (_, part) in values.items()
    ]
    file.checks += [
        Check(CATEGORY, Action.TEXT_REMOVED, path_of("DateOfSecondaryCapture"), last, without=DATES)
    ]
