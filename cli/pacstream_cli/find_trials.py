"""What a PACS makes of C-FIND, found out by asking (PS3.4 section C.4.1).

A key is tried twice: with a value that nothing can have (answers that still come tell that the
key is ignored), and with the value that the PACS itself told of the trial series. No question can
bring the whole PACS as its answer: after a few answers it is cancelled, and aborted if need be.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pynetdicom.association import Association

from pacstream.archive import UID
from pacstream.errors import PacsUnreachableError

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
SUCCESS, PENDING, CANCELLED = 0x0000, (0xFF00, 0xFF01), 0xFE00
LIMIT_REACHED, OUT_OF_RESOURCES = 0xB001, 0xA700

Level = Literal["STUDY", "SERIES", "IMAGE"]
Matching = Literal["matched", "ignored", "refused", "never matches"]

UNIQUE_KEY: dict[Level, str] = {
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}
STUDY_COUNT, SERIES_COUNT = "NumberOfStudyRelatedInstances", "NumberOfSeriesRelatedInstances"

KEYS: dict[Level, tuple[str, ...]] = {
    "STUDY": (
        "StudyInstanceUID",
        "PatientID",
        "PatientName",
        "PatientBirthDate",
        "AccessionNumber",
        "StudyDate",
        "StudyTime",
        "StudyDescription",
        "ModalitiesInStudy",
    ),
    "SERIES": (
        "SeriesInstanceUID",
        "Modality",
        "SeriesNumber",
        "SeriesDescription",
        "ProtocolName",
        "DeviceSerialNumber",
    ),
    "IMAGE": ("SOPInstanceUID", "ImageType", "AcquisitionDate", "SequenceName"),
}
"""The keys that pacstream's queries need, at the level where they are sent."""

NOWHERE = {
    "UI": "2.25.304829135870000000000000000000000000",
    "DA": "18000101",
    "TM": "235958.123457",
    "IS": "2147480001",
    "SH": "PACSTREAM-NOSUCH",
    "CS": "PACSTREAM NOSUCH",
    "PN": "PACSTREAM^NOSUCH",
    "LO": "PACSTREAM-NO-SUCH-VALUE",
}
"""By value representation: what no study has."""

WINDOWS_DAYS = (0, 7, 30, 365, 3650, None)
"""How far back a trial study is looked for; None: at any date."""

MOST_ANSWERS = 100
STUDIES_TRIED, SERIES_TRIED = 12, 20
SMALL = 64
FEW, IDEAL = 5, 16
"""Instances of a trial series: enough to see a rhythm, few enough to be no burden."""

CANDIDATES = 3


@dataclass(frozen=True)
class Found:
    """Answers to one C-FIND; `cut` if there were more than was wanted."""

    answers: tuple[Dataset, ...]
    status: int | None
    cut: bool = False

    @property
    def refused(self) -> bool:
        return not self.cut and self.status not in (SUCCESS, LIMIT_REACHED)


@dataclass(frozen=True)
class KeyTrial:
    """What became of one key at its level."""

    level: Level
    keyword: str
    matching: Matching
    returned: bool


@dataclass(frozen=True)
class TrialSeries:
    """The series that the C-MOVE trials use.

    `instances` are (SOP Instance UID, SOP Class UID), empty if the PACS does not list them.
    """

    study_uid: str
    series_uid: str
    size: int
    instances: tuple[tuple[str, str], ...] = ()


@dataclass
class FindReport:
    """All that the C-FIND trials found out. `levels` has the refusing status, None where it works;
    what could not be tried is missing or None."""

    levels: dict[Level, int | None] = field(default_factory=dict)
    keys: list[KeyTrial] = field(default_factory=list)
    counts: bool | None = None
    image_level: bool | None = None
    relational: bool | None = None
    cancels: bool | None = None
    result_limit: int | None = None
    series: list[TrialSeries] = field(default_factory=list)


def text(answer: Dataset, keyword: str) -> str | None:
    """The value as plain text, None if the answer does not have the attribute at all."""
    element: Any = answer.get_item(tag_for_keyword(keyword))
    if element is None:
        return None
    value = element.value
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip(" \0")
    parts = value if not isinstance(value, str) and element.VM > 1 else [value]
    return "\\".join(str(part) for part in parts).strip(" \0")


class Asker:
    """Asks one question after the other; `open_one` gives a new association when it is needed."""

    def __init__(self, open_one: Callable[[], Association]) -> None:
        self._open = open_one
        self._association: Association | None = None
        self._message_id = 0
        self.cancels: bool | None = None
        self.limit: int | None = None

    def ask(self, level: Level, keys: Mapping[str, str], most: int = MOST_ANSWERS) -> Found:
        """The first `most` answers. Raises PacsUnreachableError if the association breaks."""
        if self._association is None or not self._association.is_established:
            self._association = self._open()
        self._message_id = self._message_id % 65535 + 1
        responses = self._association.send_c_find(
            _identifier(level, keys), STUDY_ROOT_FIND, msg_id=self._message_id
        )
        answers: list[Dataset] = []
        for response, answer in responses:
            status = response.get("Status")
            if status is None:
                raise PacsUnreachableError("aborted or silent", code="find_aborted")
            if status not in PENDING:
                self._note_limit(status, len(answers))
                return Found(tuple(answers), status)
            answers += [answer] if answer is not None else []
            if len(answers) > most:
                self._stop(responses)
                return Found(tuple(answers[:most]), None, cut=True)
        raise PacsUnreachableError("aborted or silent", code="find_aborted")

    def close(self) -> None:
        if self._association is not None and self._association.is_established:
            self._association.release()

    def _stop(self, responses: Iterator[tuple[Dataset, Dataset | None]]) -> None:
        """C-CANCEL, then an abort if another hundred answers come all the same."""
        assert self._association is not None  # a question is open on it
        self._association.send_c_cancel(self._message_id, query_model=STUDY_ROOT_FIND)
        for number, (response, _) in enumerate(responses):
            if response.get("Status") == CANCELLED:
                self.cancels = True
            if number == MOST_ANSWERS:
                self.cancels = bool(self.cancels)
                self._association.abort()
                return

    def _note_limit(self, status: int, answers: int) -> None:
        if status in (LIMIT_REACHED, OUT_OF_RESOURCES) and answers:
            self.limit = max(answers, self.limit or 0)


def _identifier(level: Level, keys: Mapping[str, str]) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    if not all(key.isascii() for key in keys.values()):
        identifier.SpecificCharacterSet = "ISO_IR 192"
    for keyword, key in keys.items():
        element = DataElement(
            tag_for_keyword(keyword),
            dictionary_VR(keyword),
            key,
            validation_mode=config.IGNORE,
        )
        identifier.add(element)
    return identifier


def try_find(asker: Asker, today: datetime.date) -> FindReport:
    """All trials, with what the PACS holds. Raises PacsUnreachableError if it stops answering."""
    report = FindReport()
    studies = _some_studies(asker, report, today)
    for study in studies[:STUDIES_TRIED]:
        _look_into(asker, report, study)
        if sum(series.size >= FEW for series in report.series) >= CANDIDATES:
            break
    _try_keys(asker, report, studies)
    report.series.sort(key=_unfitness)
    report.cancels, report.result_limit = asker.cancels, asker.limit
    return report


def _unfitness(series: TrialSeries) -> tuple[bool, int]:
    return series.size < FEW, abs(series.size - IDEAL)


def _some_studies(asker: Asker, report: FindReport, today: datetime.date) -> list[Dataset]:
    """Studies of the latest days that have any."""
    wanted = dict.fromkeys([*KEYS["STUDY"], STUDY_COUNT], "")
    for days in WINDOWS_DAYS:
        first = "" if days is None else f"{today - datetime.timedelta(days):%Y%m%d}-"
        found = asker.ask("STUDY", wanted | {"StudyDate": first})
        if found.refused:
            report.levels["STUDY"] = found.status
            return []
        report.levels["STUDY"] = None
        usable = [answer for answer in found.answers if _uid(answer, "STUDY")]
        if usable:
            return usable
    return []


def _uid(answer: Dataset, level: Level) -> str:
    """The answer's unique key if it is a UID, else empty."""
    uid = text(answer, UNIQUE_KEY[level]) or ""
    return uid if UID.fullmatch(uid) else ""


def _look_into(asker: Asker, report: FindReport, study: Dataset) -> None:
    """SERIES and IMAGE level of one study: what they tell, and small series for the C-MOVE."""
    study_uid = _uid(study, "STUDY")
    wanted = dict.fromkeys([*KEYS["SERIES"], SERIES_COUNT], "")
    found = asker.ask("SERIES", {"StudyInstanceUID": study_uid} | wanted)
    report.levels["SERIES"] = found.status if found.refused else None
    for series in found.answers[:SERIES_TRIED]:
        series_uid, count = _uid(series, "SERIES"), text(series, SERIES_COUNT) or ""
        if not series_uid:
            continue
        told = count.isdecimal() and int(count) > 0
        report.counts = told if report.counts is None else report.counts and told
        if told and int(count) > SMALL:
            continue
        uids, size = (study_uid, series_uid), int(count) if told else None
        if report.image_level is not False:
            _list_instances(asker, report, uids, size)
        elif size is not None:
            report.series.append(TrialSeries(*uids, size))


def _list_instances(
    asker: Asker, report: FindReport, uids: tuple[str, str], count: int | None
) -> None:
    keys = dict(zip(("StudyInstanceUID", "SeriesInstanceUID"), uids, strict=True))
    found = asker.ask("IMAGE", keys | {"SOPInstanceUID": "", "SOPClassUID": ""})
    report.levels["IMAGE"] = found.status if found.refused else None
    instances = {
        uid: text(answer, "SOPClassUID") or ""
        for answer in found.answers
        if (uid := _uid(answer, "IMAGE"))
    }
    complete = bool(instances) and (count is None or found.cut or len(instances) >= count)
    report.image_level = complete and report.image_level is not False
    if instances and not found.cut and len(instances) <= SMALL:
        report.series.append(TrialSeries(*uids, len(instances), tuple(sorted(instances.items()))))
    elif count is not None and not instances:
        report.series.append(TrialSeries(*uids, count))


def _try_keys(asker: Asker, report: FindReport, studies: list[Dataset]) -> None:
    if not studies or not report.series:
        return
    series = report.series[0]
    study = next(one for one in studies if _uid(one, "STUDY") == series.study_uid)
    date, patient = text(study, "StudyDate") or "", text(study, "PatientID") or ""
    for keyword in KEYS["STUDY"]:
        scope = {"StudyDate": date} if keyword != "StudyDate" else {"PatientID": patient}
        report.keys.append(_try_key(asker, "STUDY", keyword, scope, study))
    above = {"StudyInstanceUID": series.study_uid}
    _try_level(asker, report, "SERIES", above, series.series_uid)
    report.relational = _is_relational(asker, series)
    if report.image_level:
        above["SeriesInstanceUID"] = series.series_uid
        _try_level(asker, report, "IMAGE", above, series.instances[0][0])


def _try_level(
    asker: Asker, report: FindReport, level: Level, above: dict[str, str], uid: str
) -> None:
    found = asker.ask(level, above | dict.fromkeys(KEYS[level], ""))
    one = next((answer for answer in found.answers if _uid(answer, level) == uid), None)
    if one is not None:
        for keyword in KEYS[level]:
            report.keys.append(_try_key(asker, level, keyword, above, one))


def _try_key(
    asker: Asker, level: Level, keyword: str, scope: dict[str, str], one: Dataset
) -> KeyTrial:
    """Is a key heeded, and does the value that `one` was told with find it again?"""
    value = text(one, keyword)
    matching = _matching(asker, level, keyword, scope, one)
    return KeyTrial(level, keyword, matching, returned=value is not None)


def _matching(
    asker: Asker, level: Level, keyword: str, scope: dict[str, str], one: Dataset
) -> Matching:
    asked = {UNIQUE_KEY[level]: ""} | scope
    nothing = asker.ask(level, asked | {keyword: NOWHERE[dictionary_VR(keyword)]}, most=0)
    if nothing.refused:
        return "refused"
    if nothing.cut:
        return "ignored"
    own = (text(one, keyword) or "").split("\\")[0]
    if not own or not own.isascii() or set(own) & set("*?"):
        return "matched"
    again = asker.ask(level, asked | {keyword: own})
    if again.refused:
        return "refused"
    finds = again.cut or any(_uid(each, level) == _uid(one, level) for each in again.answers)
    return "matched" if finds else "never matches"


def _is_relational(asker: Asker, series: TrialSeries) -> bool:
    """Is the series found without its study, and the study told? (PS3.4 section C.4.1.2.2.1)"""
    found = asker.ask(
        "SERIES", {"StudyInstanceUID": "", "SeriesInstanceUID": series.series_uid}, most=1
    )
    uids = [(text(one, "StudyInstanceUID"), _uid(one, "SERIES")) for one in found.answers]
    return not found.cut and uids == [(series.study_uid, series.series_uid)]
