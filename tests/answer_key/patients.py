"""Who is who: one patient under two spellings, names that are words, names in paths."""

from __future__ import annotations

from pydicom import Dataset

from tests.answer_key.cast import Person
from tests.answer_key.key import Action, Check, Fate, Token
from tests.answer_key.maker import Maker
from tests.answer_key.naming import path_of


def add_patients(maker: Maker) -> None:
    _add_padded(maker)
    _add_words(maker)
    _add_paths(maker)
    _add_deidentified(maker)
    _add_other_ids(maker)


def _add_padded(maker: Maker) -> None:
    """ " ID " and "ID" are one patient (PS3.5 section 6.2), "0ID" is another."""
    number = maker.cast.digits(6)
    surname, given = maker.cast.word(), maker.cast.word()
    for at, patient_id in enumerate((number, f" {number} ", f"{number} ")):
        person = Person(patient_id, f"{surname}^{given}", maker.cast.birth_date(), (surname, given))
        maker.add(f"patients/padded-{at}.dcm", "patients", maker.instance(person), person)
    other = maker.cast.person(patient_id=f"00{maker.cast.digits(6)}")
    maker.add("patients/zeros.dcm", "patients", maker.instance(other), other)
    empty = maker.cast.person(patient_id="")
    data_set = maker.instance(empty)
    file = maker.add("patients/no-id.dcm", "patients", data_set, None, Fate.EITHER)
    file.checks = [check for check in file.checks if check.path != path_of("PatientID")]
    maker.key.tokens += [Token("patients", text) for text in empty.texts]


def _add_words(maker: Maker) -> None:
    """Head and Contrast are surnames, and X is one: the words stay where they are words."""
    for title, name, modality, kept in (
        ("head", "Head^Brainard", "CT", {"BodyPartExamined": "HEAD"}),
        ("contrast", "Contrast^Gado", "CT", {"BodyPartExamined": "CHEST"}),
        ("letter", "X^Y", "MR", {"BodyPartExamined": "BRAIN"}),
        ("axial", "Axial^Ray", "CT", {"BodyPartExamined": "CHEST"}),
    ):
        person = maker.cast.person(name=name, texts=())
        data_set = maker.instance(person, modality, **kept)
        data_set.PatientComments = f"{name.partition('^')[0]} family"
        item = Dataset()
        item.RequestingPhysician = name
        data_set.RequestAttributesSequence = [item]
        file = maker.add(f"patients/word-{title}.dcm", "patients", data_set, person)
        file.checks += [
            Check("patients", Action.TEXT_REMOVED, path_of("PatientName"), name),
            Check("patients", Action.TEXT_REMOVED, path_of("PatientComments"), "family"),
            Check(
                "patients", Action.TEXT_REMOVED,
                path_of("RequestAttributesSequence", 0, "RequestingPhysician"), name,
            ),
        ]  # fmt: skip


def _add_paths(maker: Maker) -> None:
    person = maker.cast.person()
    surname, given = person.texts
    name = f"{surname}_{given}/{person.birth_date}/{person.patient_id}.dcm"
    maker.add(name, "paths", maker.instance(person), person)
    person = maker.cast.person()
    maker.add(f"paths/{person.texts[0]}", "paths", maker.instance(person), person)


def _add_deidentified(maker: Maker) -> None:
    """What somebody has cleaned before: their method codes stay in front of ours."""
    person = maker.cast.person(name="ANON", texts=(), birth_date="")
    data_set = maker.instance(person)
    data_set.PatientIdentityRemoved, data_set.DeidentificationMethod = "YES", "site tool 3"
    codes = []
    for value, meaning in (
        ("113100", "Basic Application Confidentiality Profile"),
        ("113109", "Retain Device Identity Option"),
    ):
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
        codes.append(code)
    data_set.DeidentificationMethodCodeSequence = codes
    file = maker.add("patients/deidentified.dcm", "claims", data_set, person)
    file.checks += [
        Check("claims", Action.CLAIMED, path_of("DeidentificationMethodCodeSequence"), code)
        for code in ("113100", "113109")
    ]
    maker.key.tokens = [token for token in maker.key.tokens if token.text]


def _add_other_ids(maker: Maker) -> None:
    person = maker.cast.person()
    data_set = maker.instance(person)
    item = Dataset()
    item.PatientID = maker.hidden(maker.cast.digits(8), "patients")
    item.IssuerOfPatientID = maker.hidden(maker.cast.word(), "patients")
    data_set.OtherPatientIDsSequence = [item]
    data_set.OtherPatientIDs = maker.hidden(maker.cast.digits(8), "patients")
    data_set.PatientAddress = f"{maker.hidden(maker.cast.word(), 'patients')} 7"
    data_set.PatientTelephoneNumbers = maker.hidden(maker.cast.digits(8), "patients")
    data_set.MilitaryRank = maker.hidden(maker.cast.word(), "patients")
    maker.add("patients/other-ids.dcm", "patients", data_set, person)
