"""Pseudonyms that the user gives, and whose they are.

An entry names a patient ID, or the folder that it has: `sub-` and the ID with runs of anything but
ASCII letters and digits as one `_`. PACSMAN dropped spaces, slashes and accented letters before
that. The ID itself goes before its folder's name. An entry without issuer goes for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pacstream.pseudonyms import NO_PATIENT_ID, OWN_PSEUDONYM, PSEUDONYM

SUBJECT = "sub-"


@dataclass(frozen=True)
class Entry:
    """One line: `name` is an ID or `sub-<id>`; an empty issuer goes for any. `place` is where it
    stands in the file, for messages."""

    name: str = field(repr=False)
    pseudonym: str
    issuer: str = field(default="", repr=False)
    place: str = ""


@dataclass(frozen=True)
class Patient:
    """A patient of the inventory: `folders` are the `sub-*` folders its files lie in."""

    patient_id: str = field(repr=False)
    issuer: str = field(default="", repr=False)
    folders: frozenset[str] = field(default=frozenset(), repr=False)


def entry_problems(entries: Sequence[Entry]) -> list[str]:
    """What is wrong with the entries themselves. No text of an entry is in it."""
    problems: list[str] = []
    of_name: dict[tuple[str, str], Entry] = {}
    of_pseudonym: dict[str, Entry] = {}
    for entry in entries:
        problem = _form(entry.pseudonym)
        first = of_name.setdefault((entry.name, entry.issuer), entry)
        if not problem and first.pseudonym != entry.pseudonym:
            problem = f"another pseudonym than in {first.place}, for the same patient"
        other = of_pseudonym.setdefault(entry.pseudonym.casefold(), entry)
        if not problem and (other.name, other.issuer) != (entry.name, entry.issuer):
            problem = f"the pseudonym of {other.place} (capitals do not count): one patient each"
        if problem:
            problems.append(f"{entry.place}: {problem}")
    return problems


def _form(pseudonym: str) -> str:
    if not PSEUDONYM.fullmatch(pseudonym):
        return "a pseudonym has 1 to 64 unaccented letters, digits, `_` and `-`: it names a folder"
    if OWN_PSEUDONYM.fullmatch(pseudonym.upper()):
        return "has the form of pacstream's own pseudonyms (P and ten characters); choose another"
    return ""


def assign(
    entries: Sequence[Entry], patients: Iterable[Patient]
) -> tuple[dict[Patient, str], list[tuple[Patient, str]]]:
    """The pseudonym of each patient, and those who can't have one with the reason."""
    given: dict[Patient, str] = {}
    refused: list[tuple[Patient, str]] = []
    holders: dict[str, Patient] = {}
    index = _Index(entries)
    for patient in patients:
        pseudonym = index.find(patient)
        holder = holders.setdefault(pseudonym.casefold(), patient)
        if not pseudonym:
            refused.append((patient, "has no entry"))
        elif _plain(pseudonym).casefold() == _plain(patient.patient_id).casefold():
            refused.append((patient, "would be called by its own ID"))
        elif holder.patient_id != patient.patient_id:
            refused.append((patient, "would get the pseudonym of another patient"))
        else:
            given[patient] = pseudonym
    return given, refused


class _Index:
    """Entries by name as it is written, and by the name of PACSMAN's folder."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._exact: dict[tuple[str, str], str] = {}
        self._folder: dict[tuple[str, str], str] = {}
        for entry in entries:
            self._exact[entry.name.strip(), entry.issuer.strip()] = entry.pseudonym
            name = _plain(entry.name.strip().removeprefix(SUBJECT))
            self._folder.setdefault((name, entry.issuer.strip()), entry.pseudonym)

    def find(self, patient: Patient) -> str:
        """Empty if there is no entry."""
        unknown = patient.issuer == NO_PATIENT_ID
        names = [] if unknown else [patient.patient_id, SUBJECT + patient.patient_id]
        names += sorted(patient.folders) if len(patient.folders) == 1 else []
        for name in names:
            if found := _of(self._exact, name, patient.issuer):
                return found
        if unknown:
            return ""
        folders = (_plain(patient.patient_id), _pacsmans(patient.patient_id))
        return next(filter(None, (_of(self._folder, one, patient.issuer) for one in folders)), "")


def _of(index: Mapping[tuple[str, str], str], name: str, issuer: str) -> str:
    return index.get((name, issuer)) or index.get((name, ""), "")


def _plain(text: str) -> str:
    return re.sub(r"[^0-9A-Za-z]+", "_", text)


def _pacsmans(patient_id: str) -> str:
    kept = re.sub(r"[ /]|[^\x00-\x7f]", "", patient_id)
    return _plain(kept)
