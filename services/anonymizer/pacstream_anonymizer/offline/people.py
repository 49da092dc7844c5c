"""Who the patients of a folder are called: once and for all in a project."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from pacstream.errors import InputError
from pacstream.messages import Dates
from pacstream.pseudonyms import ProjectKey, Subject
from pacstream_anonymizer.offline.book import Book, Job, Person
from pacstream_anonymizer.offline.inventory import Instance
from pacstream_anonymizer.offline.layout import patient_folder
from pacstream_anonymizer.offline.new_ids import Entry, Patient, assign


class PatientsRefusedError(InputError):
    """Patients who can't have a pseudonym; `refused` names them, for a file in the trusted zone."""

    def __init__(self, refused: Sequence[tuple[Patient, str]]) -> None:
        self.refused = refused
        self.problems = [
            f"{number} {'patient' if number == 1 else 'patients'}: {problem}"
            for problem, number in Counter(problem for _, problem in refused).items()
        ]
        super().__init__("not every patient can have a pseudonym, nothing was started")


def name_people(
    instances: Iterable[Instance],
    new_ids: Sequence[Entry] | None,
    job: Job,
    key: ProjectKey,
    dates: Dates,
    book: Book,
) -> dict[tuple[str, str], str]:
    """The given pseudonyms by patient ID and issuer; who is new to the project is in the book.

    Raises PatientsRefusedError if a patient has no entry, another pseudonym than before, or
    somebody else's.
    """
    patients = _patients(instances)
    known = {(one.patient_id, one.issuer): one for one in book.people(job.project, job.key_id)}
    given, refused = assign(new_ids, patients) if new_ids is not None else ({}, [])
    names = {one: given.get(one) or _given_before(one, known) for one in patients}
    refused = refused + _conflicts(given, known)
    if refused:
        raise PatientsRefusedError(refused)
    people = [_person(one, names[one], key, dates) for one in patients]
    book.add_people(job.project, job.key_id, people)
    return {(one.patient_id, one.issuer): name for one, name in names.items() if name}


def _patients(instances: Iterable[Instance]) -> list[Patient]:
    folders: dict[Subject, set[str]] = defaultdict(set)
    for one in instances:
        subject = Subject.of(one.patient_id, one.issuer, one.study_uid)
        folders[subject] |= {patient_folder(one.file.path)} - {""}
    return [Patient(one.patient_id, one.issuer, frozenset(lie)) for one, lie in folders.items()]


def _given_before(patient: Patient, known: Mapping[tuple[str, str], Person]) -> str:
    person = known.get((patient.patient_id, patient.issuer))
    return person.pseudonym if person and person.given else ""


def _conflicts(
    given: Mapping[Patient, str], known: Mapping[tuple[str, str], Person]
) -> list[tuple[Patient, str]]:
    refused: list[tuple[Patient, str]] = []
    holders = {one.pseudonym.casefold(): one for one in known.values()}
    for patient, pseudonym in given.items():
        person = known.get((patient.patient_id, patient.issuer))
        holder = holders.get(pseudonym.casefold())
        if person and person.pseudonym != pseudonym:
            refused.append((patient, "has had another pseudonym in this project"))
        elif holder and holder.patient_id != patient.patient_id:
            refused.append((patient, "would get a pseudonym that another has had in this project"))
    return refused


def _person(patient: Patient, given: str, key: ProjectKey, dates: Dates) -> Person:
    subject = Subject(patient.patient_id, patient.issuer, given)
    days = subject.shift_days(key) if dates is Dates.SHIFTED else 0
    return Person(patient.patient_id, patient.issuer, subject.name(key), bool(given), days)
