"""Data sets that are hard because of what stands in their headers."""

from __future__ import annotations

import datetime

from pydicom import Dataset
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import DataElement
from pydicom.uid import ImplicitVRLittleEndian

from tests.answer_key import cast as names
from tests.answer_key.cast import Cast, Person
from tests.answer_key.key import Action, Check, Fate, Path
from tests.answer_key.maker import DATES, SYNTAXES, Maker, Written, date_check, even, time_checks
from tests.answer_key.naming import inside, path_of
from tests.answer_key.table_rows import rows

PHYSICS = {
    "Radiopharmaceutical": "Fluorodeoxyglucose", "ImagedNucleus": "1H",
    "ContrastBolusRoute": "IV", "RadiopharmaceuticalRoute": "Intravenous",
    "TriggerSourceOrType": "EKG", "CardiacFramingType": "FORW", "PVCRejection": "Yes",
    "FilterType": "WEDGE", "TypeOfFilters": "MOLYBDENUM", "AcquisitionMode": "STEP",
    "PlateType": "PLATE", "PhosphorType": "BaFBr", "DetectorManufacturerName": "SIEMENS",
    "DetectorManufacturerModelName": "Detector 2", "ReceiveCoilName": "Head 32",
    "ReceiveCoilManufacturerName": "SIEMENS", "TransmitCoilName": "Body",
    "TransmitCoilManufacturerName": "SIEMENS", "MultiCoilElementName": "H1",
    "PulseSequenceName": "tfl", "ASLBolusCutoffTechnique": "Q2TIPS", "ImageFilter": "SMOOTH",
    "ModalityLUTType": "US", "AttenuationCorrectionMethod": "measured",
    "ReconstructionMethod": "OSEM", "DetectorLinesOfResponseUsed": "ALL",
    "ScatterCorrectionMethod": "model based", "SegmentAlgorithmName": "Threshold",
    "AlgorithmVersion": "2.1", "AlgorithmName": "Threshold",
}  # fmt: skip
"""Unlisted texts about a device, a tracer or a method: of use, and as free of people as a slice
thickness. A patient's own name has to be found in them all the same."""

DEVICE_TEXT = frozenset(
    (
        *PHYSICS, "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "SequenceName",
        "ConvolutionKernel", "RescaleType", "StackID", "CodeValue", "CodingSchemeDesignator",
        "CodingSchemeVersion", "LongCodeValue", "SpecificCharacterSet", "DeidentificationMethod",
    )
)  # fmt: skip
"""Unlisted texts of which each file has a value or a meaning of its own."""

TEXT_VRS = ("PN", "LO", "SH", "ST", "LT", "UT", "UC", "UR", "AE", "DA", "DT")


def add_headers(maker: Maker) -> None:
    _add_unlisted(maker)
    _add_physics(maker)
    _add_names(maker)
    _add_dates(maker)
    _add_intervals(maker)
    _add_nested(maker)
    _add_codes(maker)
    _add_syntaxes(maker)
    _add_echoes(maker)
    _add_file_meta(maker)


def _add_unlisted(maker: Maker) -> None:
    """Attributes that no row names: PS3.15 section E.1.1 makes us answer for them all the same."""
    listed = {int(row.tag, 16) for row in rows()}
    unlisted = [
        (tag, str(entry[0]))
        for tag, entry in sorted(DicomDictionary.items())
        if entry[0] in TEXT_VRS
        and tag not in listed
        and tag >> 16 not in (0x0000, 0x0002, 0x0004)
        and entry[4] not in DEVICE_TEXT
    ]
    for at in range(0, len(unlisted), 100):
        for depth in ("top", "nested"):
            person = maker.cast.person()
            data_set = maker.instance(person)
            target = data_set if depth == "top" else Dataset()
            before: Path = () if depth == "top" else inside("SharedFunctionalGroupsSequence", 0)
            checks: list[Check] = []
            for tag, vr in unlisted[at : at + 100]:
                checks += _plant(maker, target, tag, vr, (*before, (tag, "", -1)))
            if depth == "nested":
                data_set.SharedFunctionalGroupsSequence = [target]
            name = f"unlisted/{depth}-{at:03d}.dcm"
            maker.add(name, "unlisted", data_set, person).checks.extend(checks)


def _add_physics(maker: Maker) -> None:
    person = maker.cast.person()
    data_set = maker.instance(person, **PHYSICS)
    file = maker.add("physics/plain.dcm", "physics", data_set, person)
    file.checks += [
        Check("physics", Action.TEXT_RETAINED, path_of(keyword), text)
        for keyword, text in PHYSICS.items()
    ]
    for at, keyword in enumerate(list(PHYSICS)[::5]):
        person = maker.cast.person()
        data_set = maker.instance(person, **{keyword: f"{PHYSICS[keyword]} {person.texts[0]}"})
        maker.add(f"physics/echo-{at}.dcm", "echo", data_set, person, Fate.EITHER)


def _plant(maker: Maker, target: Dataset, tag: int, vr: str, path: Path) -> list[Check]:
    if vr in ("DA", "DT"):
        day = maker.cast.date(2005, 2022)
        target.add(DataElement(tag, vr, day + ("0910" if vr == "DT" else "")))
        return [Check("unlisted", Action.TEXT_REMOVED, path, day, without=DATES)]
    text = maker.cast.capitals(10) if vr in ("AE", "SH") else maker.cast.word()
    maker.hidden(text, "unlisted")
    target.add(DataElement(tag, vr, f"https://{text}.example" if vr == "UR" else text))
    return []


def people_of_the_world(cast: Cast) -> dict[str, Person]:
    """One patient for each way to write a name (PS3.5 annexes H to K)."""

    def person(character_set: str | list[str], *texts: str, name: str = "") -> Person:
        return cast.person(name=name or "^".join(texts), texts=texts, character_set=character_set)

    latin, greek = cast.word() + "öß", cast.letters(names.GREEK, 8)
    roman, given = cast.word(), cast.word()
    kanji, kana = cast.letters(names.KANJI, 3), cast.letters(names.KANA, 5)
    hangul, chinese = cast.letters(names.HANGUL, 3), cast.letters(names.CHINESE, 3)
    both = cast.letters(names.KANJI, 3)
    return {
        "latin-1": person("ISO_IR 100", latin, "Åséø" + cast.word()),
        "latin-2": person("ISO_IR 101", "Łó" + cast.word(), "ćžš" + cast.word()),
        "cyrillic": person("ISO_IR 144", cast.letters(names.CYRILLIC, 8).title()),
        "greek": person("ISO_IR 126", greek),
        "arabic": person("ISO_IR 127", cast.letters(names.ARABIC, 6)),
        "hebrew": person("ISO_IR 138", cast.letters(names.HEBREW, 6)),
        "thai": person("ISO_IR 166", cast.letters(names.THAI, 6)),
        "japanese": person(
            ["", "ISO 2022 IR 87"],
            roman,
            given,
            kanji,
            kana,
            name=f"{roman}^{given}={kanji}={kana}",
        ),
        "half-width": person(["ISO 2022 IR 13", "ISO 2022 IR 87"], both, name=f"ﾔﾏﾀﾞ={both}"),
        "korean": person(["", "ISO 2022 IR 149"], hangul, name=f"Kim^{hangul}={hangul}"),
        "chinese": person("GB18030", chinese, name=f"Wang={chinese}"),
        "utf-8": person("ISO_IR 192", cast.letters(names.CHINESE, 4), cast.word() + "ñ"),
    }


def _add_names(maker: Maker) -> None:
    for title, person in people_of_the_world(maker.cast).items():
        data_set = maker.instance(person)
        data_set.PatientComments = f"{person.texts[0]} called"
        data_set.PatientBirthName = person.name
        item = Dataset()
        item.RequestedProcedureDescription = f"for {person.texts[-1]}"
        item.RequestingPhysician = person.name
        data_set.RequestAttributesSequence = [item]
        data_set.OtherPatientNames = person.name
        maker.add(f"names/{title}.dcm", "character sets", data_set, person)
    _add_nested_character_set(maker)
    _add_undeclared(maker)


def _add_nested_character_set(maker: Maker) -> None:
    """An item has a character set of its own (PS3.5 section 6.1.2.5.3)."""
    person = maker.cast.person(character_set="ISO_IR 100")
    data_set = maker.instance(person)
    item = Dataset()
    item.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    kanji = maker.hidden(maker.cast.letters(names.KANJI, 4), "character sets")
    item.RequestingPhysician = f"Dr={kanji}"
    item.RequestedProcedureDescription = f"MRI {kanji}"
    data_set.RequestAttributesSequence = [item]
    maker.add("names/nested.dcm", "character sets", data_set, person)


def _add_undeclared(maker: Maker) -> None:
    """Latin-1 bytes without a character set; a library reads them as ASCII or fails."""
    person = maker.cast.person()
    data_set = maker.instance(person)
    del data_set.SpecificCharacterSet
    word = maker.hidden("Çü" + maker.cast.word(), "character sets")
    data_set.add(DataElement(0x00104000, "UN", f"{word} x".encode("latin-1")))
    data_set.add(DataElement(0x00101001, "UN", word.encode("latin-1")))
    maker.add("names/undeclared.dcm", "character sets", data_set, person)


def _add_dates(maker: Maker) -> None:
    """Odd values of real files: none of them may stop an engine or come out."""
    person = maker.cast.person()
    odd = {
        "SeriesDate": "***", "AcquisitionDate": "20240231", "ContentDate": "2024",
        "AcquisitionDateTime": "***", "StudyTime": "25:61:99", "SeriesTime": "***",
        "PatientAge": "61 years", "DateOfLastCalibration": "19000000",
        "PerformedProcedureStepStartDate": "20.03.2024", "InstanceCreationTime": "10.15",
    }  # fmt: skip
    data_set = maker.instance(person)
    for keyword, text in odd.items():
        data_set.add(DataElement(keyword, DicomDictionary[int(path_of(keyword)[0][0])][0], text))
    file = maker.add("dates/odd.dcm", "odd dates", data_set, person)
    file.checks = [
        check for check in file.checks if not any(path_of(word) == check.path for word in odd)
    ]
    whole = [word for word, text in odd.items() if len(text) > 4 or word == "SeriesDate"]
    file.checks += [
        Check("odd dates", Action.TEXT_REMOVED, path_of(word), odd[word], without=DATES)
        for word in whole
    ]
    _add_many_dates(maker)


def _add_many_dates(maker: Maker) -> None:
    """Several values, the old form with dots, times with zone and fraction."""
    person, cast = maker.cast.person(), maker.cast
    data_set = maker.instance(person)
    days = [cast.date(2005, 2022) for _ in range(5)]
    dotted = f"{days[2][:4]}.{days[2][4:6]}.{days[2][6:]}"
    values = {
        "DateOfSecondaryCapture": days[0],
        "DateOfLastCalibration": f"{days[0]}\\{days[1]}",
        "PerformedProcedureStepStartDate": dotted,
        "AcquisitionDateTime": f"{days[3]}231559.123456+0200",
        "FrameAcquisitionDateTime": f"{days[4]}",
    }
    checks = []
    for keyword, text in values.items():
        tag = path_of(keyword)[0][0]
        data_set.add(DataElement(tag, DicomDictionary[tag][0], text))
        checks.append(date_check("odd dates", path_of(keyword), text))
    data_set.TimezoneOffsetFromUTC = "+0545"
    checks += time_checks("odd dates", path_of("TimezoneOffsetFromUTC"), "+0545")
    file = maker.add("dates/many.dcm", "odd dates", data_set, person)
    file.checks += checks
    person = maker.cast.person(age="093Y")
    data_set = maker.instance(person)
    file = maker.add("dates/old-age.dcm", "odd dates", data_set, person)
    file.checks = [check for check in file.checks if check.path != path_of("PatientAge")]
    file.checks.append(Check("odd dates", Action.TEXT_REMOVED, path_of("PatientAge"), "093Y"))


def _add_intervals(maker: Maker) -> None:
    """Two patients with three studies each: days between them count, weeks and leap days too."""
    for number in range(2):
        person = maker.cast.person()
        first = datetime.date(2012 + number, 2, 28)
        for study, days in enumerate((0, 1, 373)):
            day = f"{first + datetime.timedelta(days):%Y%m%d}"
            data_set = maker.instance(person)
            for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"):
                setattr(data_set, keyword, day)
            data_set.AcquisitionDateTime = f"{day}101530"
            name = f"intervals/{number}-{study}.dcm"
            file = maker.add(name, "intervals", data_set, person)
            file.checks.append(
                date_check("intervals", path_of("AcquisitionDateTime"), f"{day}101530")
            )


def _add_nested(maker: Maker) -> None:
    """Depth 6, in explicit and implicit VR, and a whole sequence as UN (CP-246)."""
    for title in ("explicit", "implicit", "big endian", "deflated"):
        person = maker.cast.person()
        data_set = maker.instance(person)
        item = data_set
        steps: list[int | str] = []
        checks: list[Check] = []
        for depth in range(6):
            inner = Dataset()
            inner.PatientComments = maker.hidden(maker.cast.word(), "nested")
            inner.OperatorsName = maker.hidden(maker.cast.word(), "nested")
            inner.ReferencedSOPInstanceUID = maker.cast.uid()
            inner.StudyDate = maker.cast.date(2005, 2022)
            inner.SliceThickness = f"{depth + 1}.5"
            keyword = ("SharedFunctionalGroupsSequence", "PixelMeasuresSequence")[depth > 0]
            setattr(item, keyword, [inner])
            steps += [keyword, 0]
            checks += [
                Check(
                    "nested", Action.TEXT_RETAINED, path_of(*steps, "SliceThickness"),
                    f"{depth + 1}.5",
                ),
                date_check("nested", path_of(*steps, "StudyDate"), inner.StudyDate),
                Check("nested", Action.TEXT_NOTNULL, path_of(*steps, "ReferencedSOPInstanceUID")),
            ]  # fmt: skip
            item = inner
        written = Written(SYNTAXES[title])
        maker.add(f"nested/{title}.dcm", "nested", data_set, person, written=written).checks.extend(
            checks
        )
    _add_unknown_sequence(maker)


def _add_unknown_sequence(maker: Maker) -> None:
    person = maker.cast.person()
    data_set = maker.instance(person)
    name = maker.hidden(maker.cast.word(), "nested").encode()
    name += b" " * (len(name) % 2)
    element = b"\x32\x00\x32\x10" + len(name).to_bytes(4, "little") + name
    item = b"\xfe\xff\x00\xe0" + len(element).to_bytes(4, "little") + element
    data_set.add(DataElement(0x00400275, "UN", item))
    comment = maker.hidden(maker.cast.word(), "nested").encode()
    data_set.add(DataElement(0x00204000, "UN", comment + b" " * (len(comment) % 2)))
    maker.add("nested/unknown.dcm", "nested", data_set, person)


def _add_codes(maker: Maker) -> None:
    """Codes stay, what somebody wrote beside them goes; class-typed UIDs are nobody's."""
    person = maker.cast.person()
    data_set = maker.instance(person)
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = "12738006", "SCT"
    item.CodeMeaning = maker.hidden(maker.cast.word(), "codes")
    scheme = Dataset()
    scheme.CodingSchemeDesignator, scheme.CodingSchemeUID = "SCT", "2.16.840.1.113883.6.96"
    item.ContextUID, item.MappingResource = "1.2.840.10008.6.1.2", "DCMR"
    data_set.AnatomicRegionSequence, data_set.CodingSchemeIdentificationSequence = [item], [scheme]
    data_set.FrameOfReferenceUID = "1.2.840.10008.1.4.1.1"
    file = maker.add("codes/public.dcm", "codes", data_set, person)
    kept = (
        (path_of("AnatomicRegionSequence", 0, "CodeValue"), "12738006"),
        (path_of("AnatomicRegionSequence", 0, "CodingSchemeDesignator"), "SCT"),
        (path_of("AnatomicRegionSequence", 0, "ContextUID"), "1.2.840.10008.6.1.2"),
        (
            path_of("CodingSchemeIdentificationSequence", 0, "CodingSchemeUID"),
            "2.16.840.1.113883.6.96",
        ),
        (path_of("FrameOfReferenceUID"), "1.2.840.10008.1.4.1.1"),
    )
    file.checks += [Check("codes", Action.TEXT_RETAINED, path, text) for path, text in kept]
    person = maker.cast.person()
    data_set = maker.instance(person)
    local = Dataset()
    local.CodeValue = maker.hidden(maker.cast.capitals(8), "codes")
    local.CodingSchemeDesignator = "99HOSPITAL"
    local.CodeMeaning = f"Protocol {maker.hidden(maker.cast.word(), 'codes')}"
    data_set.AnatomicRegionSequence = [local]
    maker.add("codes/local.dcm", "codes", data_set, person)


def _add_syntaxes(maker: Maker) -> None:
    for title, syntax in SYNTAXES.items():
        person = maker.cast.person()
        data_set = maker.instance(person, "CT")
        name = f"syntaxes/{title.replace(' ', '-')}.dcm"
        maker.add(name, "transfer syntaxes", data_set, person, written=Written(syntax))


def _add_echoes(maker: Maker) -> None:
    """Identifiers where nobody looks for them. The file may be withheld for it."""
    person, cast = maker.cast.person(), maker.cast
    uid, old_day = cast.uid(), cast.date(1986, 1990)
    accession = maker.hidden(cast.digits(9), "echo")
    data_set = maker.instance(person)
    data_set.AccessionNumber = accession
    data_set.StudyComments = f"accession {accession}, see {uid}, seen {old_day}"
    data_set.ImageComments = f"born {person.birth_date[6:]}.{person.birth_date[4:6]}"
    data_set.AdditionalPatientHistory = f"prior {maker.hidden(uid, 'echo')}"
    data_set.StudyDescription = f"compare {maker.hidden(old_day, 'echo')}"
    maker.add("echo/texts.dcm", "echo", data_set, person)
    for at, keyword in enumerate(
        ("SoftwareVersions", "ManufacturerModelName", "SequenceName", "BodyPartExamined", "StackID")
    ):
        person = maker.cast.person()
        surname = person.texts[0]
        text = surname.upper() if keyword == "BodyPartExamined" else f"v1 {surname}"
        data_set = maker.instance(person, **{keyword: text})
        file = maker.add(f"echo/device-{at}.dcm", "echo", data_set, person, Fate.EITHER)
        file.checks = [check for check in file.checks if check.path != path_of(keyword)]
    person = maker.cast.person()
    data_set = maker.instance(person)
    profile = even(b"\0\1 profile of " + person.texts[0].encode())
    data_set.add(DataElement(0x00282000, "OB", profile))
    data_set.add(DataElement(0x00660023, "OW", b"\0\1" + person.texts[0].encode("utf-16-le")))
    maker.add("echo/bytes.dcm", "echo", data_set, person, Fate.EITHER)


def _add_file_meta(maker: Maker) -> None:
    person = maker.cast.person()
    meta: dict[str, object] = {
        "SourceApplicationEntityTitle": maker.hidden(maker.cast.capitals(9), "file meta"),
        "SendingApplicationEntityTitle": maker.hidden(maker.cast.capitals(9), "file meta"),
        "ReceivingApplicationEntityTitle": maker.hidden(maker.cast.capitals(9), "file meta"),
        "PrivateInformationCreatorUID": maker.cast.uid(),
        "PrivateInformation": even(maker.hidden(maker.cast.word(), "file meta").encode()),
        "ImplementationVersionName": maker.hidden(maker.cast.capitals(9), "file meta"),
    }
    written = Written(
        preamble=maker.hidden(maker.cast.word(), "file meta").encode().ljust(128, b"\0"),
        meta=meta,
    )
    maker.add("meta/preamble.dcm", "file meta", maker.instance(person), person, written=written)
    person = maker.cast.person()
    data_set = maker.instance(person)
    padding = even(maker.hidden(maker.cast.word(), "file meta").encode())
    data_set.add(DataElement(0xFFFCFFFC, "OB", padding))
    written = Written(ImplicitVRLittleEndian)
    maker.add("meta/padding.dcm", "file meta", data_set, person, written=written)
