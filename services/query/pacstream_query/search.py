"""One row's way down the levels of the Study Root model (PS3.4 section C.6.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pacstream.messages import Evidence, Series
from pacstream_query.associations import Answers, FindRefusedError, Session
from pacstream_query.columns import BY_KEYWORD, COLUMNS, Level, keywords_of
from pacstream_query.identifiers import Answer, FindRequest
from pacstream_query.matching import matches

RELATED_INSTANCES = "NumberOfSeriesRelatedInstances"


@dataclass(frozen=True)
class Instances:
    """The IMAGE level answers for one series, in the order of their UIDs."""

    items: tuple[Answer, ...] = ()
    cut_short: bool = False
    """The PACS says that there are more."""

    def first(self, keyword: str) -> str:
        """The first value that any instance has."""
        return next((text for item in self.items if (text := item.text(keyword))), "")


@dataclass(frozen=True)
class Match:
    """A series that the row means, with all that the PACS told of it."""

    study: Answer
    series: Answer
    instances: Instances

    @property
    def series_uid(self) -> str:
        return self.series.text("SeriesInstanceUID")

    def described(self) -> Series:
        study, series = self.study.text, self.series.text
        return Series(
            study_uid=study("StudyInstanceUID"),
            series_uid=self.series_uid,
            patient_id=study("PatientID") or series("PatientID"),
            study_date=study("StudyDate"),
            study_time=study("StudyTime"),
            number=series("SeriesNumber"),
            modality=series("Modality"),
            description=series("SeriesDescription"),
        )

    def attributes(self) -> dict[str, str]:
        """The query columns as the PACS told them; those of instances only if they are known."""
        told = {}
        for column in COLUMNS:
            answer = self.study if column.level == "STUDY" else self.series
            text = answer.text(column.keyword) or self.instances.first(column.keyword)
            if text or not column.composite:
                told[column.keyword] = text
        return told

    def expected(self) -> tuple[tuple[str, ...], int | None, Evidence]:
        """SOP Instance UIDs, their number, and how that is known. A count of 0 is no count."""
        if self.instances.items and not self.instances.cut_short:
            uids = tuple(item.text("SOPInstanceUID") for item in self.instances.items)
            return uids, len(uids), "uids"
        count = self.series.text(RELATED_INSTANCES)
        if count.isdecimal() and int(count) > 0:
            return (), int(count), "count"
        return (), None, "none"


class RowSearch:
    """The search for one row's series; each answer of the PACS is matched again here.

    `lists_instances`: ask for the SOP Instance UIDs of each match. `describes`: ask for the
    columns that only instances have, too.
    """

    def __init__(
        self,
        pacs: Session,
        keys: Mapping[Level, Mapping[str, str]],
        *,
        lists_instances: bool,
        describes: bool,
    ) -> None:
        self._pacs = pacs
        self._keys = keys
        self._lists_instances = lists_instances
        self._describes = describes
        self._told: set[str] = set()
        self._untold: set[str] = set()
        self._limited = False
        self.unusable = 0

    def matches(self) -> Iterator[Match]:
        """Each series once. Raises as `Session.find`."""
        seen: set[str] = set()
        for study in self._studies():
            for series in self._series_of(study):
                series_uid = series.text("SeriesInstanceUID")
                if series_uid in seen:
                    continue
                seen.add(series_uid)
                match = self._examined(study, series)
                if match is not None:
                    yield match

    def reason(self, found: Sequence[str]) -> str:
        """Why the search, though ended, can't be trusted; empty if it can."""
        unsupported = self._untold - self._told
        if unsupported:
            names = [column.keyword for column in COLUMNS if column.keyword in unsupported]
            return "key_not_supported:" + ",".join(names)
        if self._limited:
            return "result_limit_reached"
        return "answers_unusable" if self.unusable and not found else ""

    def _find(self, level: Level, keys: Mapping[str, str]) -> Answers:
        answers = self._pacs.find(FindRequest(level, keys))
        self.unusable += answers.unusable
        return answers

    def _studies(self) -> list[Answer]:
        keys = self._study_keys()
        if keys is None:
            return []
        answers = self._find("STUDY", dict.fromkeys(keywords_of("STUDY"), "") | keys)
        self._limited |= answers.limited
        modality = keys.pop("ModalitiesInStudy", "")
        return [
            study
            for study in answers.items
            if self._undecided(study, keys) == set()
            and (
                not study.text("ModalitiesInStudy")
                or matches("CS", modality, study.values["ModalitiesInStudy"])
            )
        ]

    def _study_keys(self) -> dict[str, str] | None:
        """The keys for STUDY level; None if it is already known that no study is meant."""
        keys = dict(self._keys["STUDY"])
        series_keys = self._keys["SERIES"]
        if keys:
            return keys
        if "SeriesInstanceUID" in series_keys:
            studies = self._studies_holding(series_keys["SeriesInstanceUID"])
            if studies is not None:
                return {"StudyInstanceUID": "\\".join(studies)} if studies else None
        if "Modality" in series_keys:
            keys["ModalitiesInStudy"] = series_keys["Modality"]
        return keys

    def _studies_holding(self, series_uid: str) -> list[str] | None:
        """Studies of the series by a relational query; None if the PACS does not answer those."""
        try:
            answers = self._find(
                "SERIES", {"StudyInstanceUID": "", "SeriesInstanceUID": series_uid}
            )
        except FindRefusedError:
            return None
        studies = {
            answer.text("StudyInstanceUID")
            for answer in answers.items
            if matches("UI", series_uid, [answer.text("SeriesInstanceUID")])
        }
        return None if "" in studies or answers.unusable else sorted(studies)

    def _series_of(self, study: Answer) -> list[Answer]:
        study_uid = study.text("StudyInstanceUID")
        asked = dict.fromkeys([*keywords_of("SERIES"), RELATED_INSTANCES], "")
        keys = {"StudyInstanceUID": study_uid, **asked, **self._keys["SERIES"]}
        answers = self._find("SERIES", keys)
        self._limited |= answers.limited
        return [
            series for series in answers.items if series.text("StudyInstanceUID") in ("", study_uid)
        ]

    def _examined(self, study: Answer, series: Answer) -> Match | None:
        undecided = self._undecided(series, self._keys["SERIES"])
        if undecided is None:
            return None
        open_keys = {k: self._keys["SERIES"][k] for k in undecided}
        open_keys.update(self._keys["IMAGE"])
        if not open_keys and not self._lists_instances:
            return Match(study, series, Instances())
        asked = set(open_keys) | (set(keywords_of("IMAGE")) if self._describes else set())
        instances = self._instances(study, series, sorted(asked))
        if open_keys and not self._any_matches(instances, open_keys):
            self._limited |= instances.cut_short
            return None
        return Match(study, series, instances)

    def _instances(self, study: Answer, series: Answer, asked: Sequence[str]) -> Instances:
        series_uid = series.text("SeriesInstanceUID")
        above = {
            "StudyInstanceUID": study.text("StudyInstanceUID"),
            "SeriesInstanceUID": series_uid,
        }
        try:
            answers = self._find("IMAGE", above | dict.fromkeys(["SOPInstanceUID", *asked], ""))
        except FindRefusedError:
            return Instances()
        by_uid = {
            item.text("SOPInstanceUID"): item
            for item in answers.items
            if item.text("SeriesInstanceUID") in ("", series_uid)
        }
        return Instances(tuple(by_uid[uid] for uid in sorted(by_uid)), answers.limited)

    def _undecided(self, answer: Answer, keys: Mapping[str, str]) -> set[str] | None:
        """Keys on which the answer is silent; None if another key does not match."""
        silent = {keyword for keyword in keys if self._is_silent(answer, keyword)}
        for keyword in keys.keys() - silent:
            self._told.add(keyword)
        for keyword in keys.keys() - silent:
            if not matches(BY_KEYWORD[keyword].vr, keys[keyword], answer.values[keyword]):
                return None
        self._untold |= silent
        return silent

    @staticmethod
    def _is_silent(answer: Answer, keyword: str) -> bool:
        if not answer.holds(keyword):
            return True
        return BY_KEYWORD[keyword].composite and not answer.text(keyword)

    def _any_matches(self, instances: Instances, keys: Mapping[str, str]) -> bool:
        """Does one instance match all `keys`? Notes which attributes the PACS tells at all."""
        told = {k for k in keys if any(item.holds(k) for item in instances.items)}
        self._told |= told
        self._untold |= keys.keys() - told
        return any(
            all(matches(BY_KEYWORD[k].vr, key, item.values.get(k, ())) for k, key in keys.items())
            for item in instances.items
        )
