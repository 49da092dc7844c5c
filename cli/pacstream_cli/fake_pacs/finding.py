"""The answers to C-FIND, with a fake PACS's misbehaviour (PS3.4 section C.4.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode, encode

from pacstream_cli.fake_pacs import find_rules
from pacstream_cli.fake_pacs.behaviour import Behaviour

NOT_THIS_SOP_CLASS = 0xA900
COUNTS = frozenset(
    {
        "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances",
        "NumberOfSeriesRelatedInstances",
    }
)
TEXTS = ("PatientName", "StudyDescription", "SeriesDescription")
NOT_UTF8 = b" \xe9\xff"


def refusal(behaviour: Behaviour, identifier: Dataset, level: str) -> int | None:
    """The failure status for an identifier; None if it is answered."""
    if level in behaviour.refuse_levels:
        return behaviour.refuse_levels[level]
    if level not in find_rules.LEVELS:
        return NOT_THIS_SOP_CLASS
    above = find_rules.LEVELS[: find_rules.LEVELS.index(level)]
    complete = all(identifier.get(find_rules.UNIQUE_KEY[upper]) for upper in above)
    return None if complete or behaviour.relational else NOT_THIS_SOP_CLASS


class Catalogue:
    """What C-FIND knows of a list of instances; follows changes of the list."""

    def __init__(self) -> None:
        self._known: list[int] = []
        self._entities: dict[str, list[list[Dataset]]] = {}

    def entities(self, datasets: Sequence[Dataset], level: str) -> list[list[Dataset]]:
        """Instances without pixels but with counts, grouped by the unique key of `level`."""
        now = [id(dataset) for dataset in datasets]
        if now != self._known:
            described = find_rules.with_counts(list(datasets))
            self._entities = {
                each: find_rules.entities(described, each) for each in find_rules.LEVELS
            }
            self._known = now
        return self._entities[level]


class Finder:
    """Answers identifiers from a list of instances, or wrongly, as `behaviour` has it."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._catalogue = Catalogue()

    def answers(
        self, datasets: Sequence[Dataset], identifier: Dataset, level: str
    ) -> Iterator[Dataset]:
        behaviour = self._behaviour
        ignored = self._ignored(identifier, level)
        asked = Dataset()
        asked.update({e.tag: e for e in identifier if keyword_for_tag(e.tag) not in ignored})
        skipped = find_rules.CONTROL | behaviour.unmatched_keys
        keys = [
            (e.tag, find_rules.matcher(e))
            for e in asked
            if (word := keyword_for_tag(e.tag)) not in skipped and find_rules.reaches(level, word)
        ]
        if behaviour.other_levels:
            yield from self._of_another_level(datasets, level)
        for group in self._catalogue.entities(datasets, level):
            if all(matches(group[0].get(tag)) for tag, matches in keys):
                found = self._spoilt(find_rules.answer(asked, group[0], level), group[0])
                yield from [found] * (2 if behaviour.duplicate_answers else 1)
        yield from behaviour.stray_answers.get(level, ())

    def _ignored(self, identifier: Dataset, level: str) -> set[str]:
        ignored = set(self._behaviour.ignore_keys)
        if self._behaviour.omit_counts:
            ignored |= COUNTS
        hides = self._behaviour.hide_study_uid and level == "SERIES"
        if hides and not identifier.get("StudyInstanceUID"):
            ignored.add("StudyInstanceUID")
        return ignored

    def _of_another_level(self, datasets: Sequence[Dataset], level: str) -> Iterator[Dataset]:
        other = "IMAGE" if level != "IMAGE" else "STUDY"
        for group in self._catalogue.entities(datasets, other)[:1]:
            answer = Dataset()
            answer.QueryRetrieveLevel = other
            for keyword in find_rules.UNIQUE_KEY.values():
                answer[keyword] = group[0][keyword]
            yield answer

    def _spoilt(self, answer: Dataset, instance: Dataset) -> Dataset:
        behaviour = self._behaviour
        if behaviour.other_levels:
            for keyword in ("SeriesInstanceUID", "SOPInstanceUID", "Modality", "InstanceNumber"):
                if keyword in instance and keyword not in answer:
                    answer[keyword] = instance[keyword]
        if behaviour.count_error:
            for keyword in COUNTS & set(answer.dir()):
                setattr(answer, keyword, str(int(answer[keyword].value) + behaviour.count_error))
        if behaviour.answer_charset:
            _recode(answer, behaviour.answer_charset)
        if behaviour.omit_charset or behaviour.invalid_utf8:
            return self._miscoded(answer)
        return answer

    def _miscoded(self, answer: Dataset) -> Dataset:
        """The answer as raw elements, so that pydicom does not put right what is wrong in them."""
        raw: Dataset = decode(BytesIO(encode(answer, True, True) or b""), True, True)
        if self._behaviour.omit_charset and "SpecificCharacterSet" in raw:
            del raw.SpecificCharacterSet
        if self._behaviour.invalid_utf8:
            raw.SpecificCharacterSet = "ISO_IR 192"
            for keyword in TEXTS:
                _append(raw, keyword, NOT_UTF8)
        return raw


def _recode(answer: Dataset, charset: str) -> None:
    """pydicom keeps the bytes of a name once it was encoded: names are made anew."""
    for element in answer:
        if element.VR == "PN":
            answer[element.tag] = DataElement(element.tag, "PN", str(element.value))
    answer.SpecificCharacterSet = charset


def _append(dataset: Dataset, keyword: str, tail: bytes) -> None:
    tag = tag_for_keyword(keyword)
    element = dataset.get_item(tag) if tag is not None else None
    if not isinstance(element, RawDataElement) or not element.value:
        return
    value = element.value.rstrip(b" ") + tail
    value += b" " * (len(value) % 2)
    changed = element._replace(value=value, length=len(value), VR=dictionary_VR(keyword))
    dataset._dict[element.tag] = changed
