"""C-FIND and C-MOVE identifiers against a list of instances, as PS3.4 section C.2.2.2 says.

Written apart from the query service's own matching, so that the two do not share mistakes.
"""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Callable, Iterable

from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

LEVELS = ("STUDY", "SERIES", "IMAGE")
UNIQUE_KEY = {
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}
LEVEL_OF = {
    "StudyInstanceUID": "STUDY",
    "StudyDate": "STUDY",
    "StudyTime": "STUDY",
    "StudyDescription": "STUDY",
    "StudyID": "STUDY",
    "AccessionNumber": "STUDY",
    "PatientID": "STUDY",
    "PatientName": "STUDY",
    "PatientBirthDate": "STUDY",
    "PatientSex": "STUDY",
    "ModalitiesInStudy": "STUDY",
    "NumberOfStudyRelatedSeries": "STUDY",
    "NumberOfStudyRelatedInstances": "STUDY",
    "SeriesInstanceUID": "SERIES",
    "SeriesNumber": "SERIES",
    "SeriesDescription": "SERIES",
    "Modality": "SERIES",
    "ProtocolName": "SERIES",
    "DeviceSerialNumber": "SERIES",
    "NumberOfSeriesRelatedInstances": "SERIES",
}
"""Everything else is held at IMAGE level."""

CONTROL = {"QueryRetrieveLevel", "SpecificCharacterSet", "RetrieveAETitle"}


def level_of(keyword: str) -> str:
    return LEVEL_OF.get(keyword, "IMAGE")


def reaches(level: str, keyword: str) -> bool:
    """An entity of `level` has this attribute, its own or of an entity above it."""
    return LEVELS.index(level_of(keyword)) <= LEVELS.index(level)


def with_counts(datasets: list[Dataset]) -> list[Dataset]:
    """Copies without pixels, with the attributes that a PACS computes."""
    series_in: dict[str, Counter[str]] = {}
    modalities_in: dict[str, set[str]] = {}
    for dataset in datasets:
        study = dataset.StudyInstanceUID
        series_in.setdefault(study, Counter())[dataset.SeriesInstanceUID] += 1
        modalities_in.setdefault(study, set()).add(dataset.Modality)
    result = []
    for dataset in datasets:
        counts = series_in[dataset.StudyInstanceUID]
        copy = Dataset()
        copy.update({e.tag: e for e in dataset if e.tag.group < 0x0028})
        copy.ModalitiesInStudy = sorted(modalities_in[dataset.StudyInstanceUID])
        copy.NumberOfStudyRelatedSeries = str(len(counts))
        copy.NumberOfStudyRelatedInstances = str(counts.total())
        copy.NumberOfSeriesRelatedInstances = str(counts[dataset.SeriesInstanceUID])
        result.append(copy)
    return result


def entities(datasets: Iterable[Dataset], level: str) -> list[list[Dataset]]:
    """The instances grouped by the unique key of `level`."""
    groups: dict[str, list[Dataset]] = {}
    for dataset in datasets:
        groups.setdefault(str(dataset[UNIQUE_KEY[level]].value), []).append(dataset)
    return list(groups.values())


def texts(element: DataElement | None) -> list[str]:
    if element is None or element.value is None:
        return []
    values = element.value if element.VM > 1 else [element.value]
    return [str(value).strip(" \0") for value in values if str(value) != ""]


def matcher(key: DataElement) -> Callable[[DataElement | None], bool]:
    """Tells of a value whether it matches `key`."""
    wanted = texts(key)
    if not wanted or wanted == ["*"]:
        return lambda value: True
    if key.VR == "UI":
        uids = set(wanted)
        return lambda value: not uids.isdisjoint(texts(value))
    return lambda value: any(_one_matches(w, h, key.VR) for w in wanted for h in texts(value))


def matches(key: DataElement, value: DataElement | None) -> bool:
    return matcher(key)(value)


def _one_matches(wanted: str, held: str, vr: str) -> bool:
    if vr in ("DA", "TM") and "-" in wanted:
        low, high = wanted.split("-")
        return (not low or held >= low) and (not high or held[: len(high)] <= high)
    if vr == "TM":
        return held.startswith(wanted)
    if vr == "DA":
        return held == wanted
    if vr == "IS":
        return int(held) == int(wanted)
    if vr == "PN":
        wanted, held = wanted.lower().rstrip("^="), held.lower().rstrip("^=")
    pattern = fnmatch.translate(wanted.replace("[", "[[]"))
    return re.match(pattern, held) is not None


def answer(identifier: Dataset, instance: Dataset, level: str) -> Dataset:
    """The asked attributes of an entity; empty where it has none, absent if below `level`."""
    result = Dataset()
    result.QueryRetrieveLevel = level
    if "SpecificCharacterSet" in instance:
        result.SpecificCharacterSet = instance.SpecificCharacterSet
    for key in identifier:
        keyword = keyword_for_tag(key.tag)
        if keyword in CONTROL or not reaches(level, keyword):
            continue
        held = instance.get(key.tag)
        result[key.tag] = held if held is not None else DataElement(key.tag, key.VR, None)
    result[UNIQUE_KEY[level]] = instance[UNIQUE_KEY[level]]
    return result
