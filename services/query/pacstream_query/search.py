"""One row's way down the levels of the Study Root model (PS3.4 section C.6.2)."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pacstream.errors import RetryLaterError
from pacstream.messages import Evidence, PacsProfile, Series
from pacstream_query.columns import COLUMNS, Column, Level, column_of, keywords_of
from pacstream_query.identifiers import UNIQUE_KEY, Answer, FindRequest
from pacstream_query.matching import matches
from pacstream_query.source import FindRefusedError, Outcome, Source, Take
from pacstream_query.spool import Spool
from pacstream_query.windows import Window

RELATED_INSTANCES = "NumberOfSeriesRelatedInstances"

Keys = Mapping[str, str]


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
    columns: tuple[Column, ...] = COLUMNS

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
        """PACSMAN's columns and the row's own as the PACS told them; those of instances only if
        they are known."""
        told = {}
        for column in self.columns:
            answer = self.study if column.level == "STUDY" else self.series
            text = answer.text(column.keyword) or self.instances.first(column.keyword)
            if text or not column.composite:
                told[column.keyword] = text
        return told

    def expected(self) -> tuple[tuple[str, ...], int | None, Evidence]:
        """SOP Instance UIDs, their number, and how that is known. A count of 0 is no count."""
        text = self.series.text(RELATED_INSTANCES)
        count = int(text) if text.isdecimal() and int(text) > 0 else None
        items = self.instances.items
        if items and (not self.instances.cut_short or len(items) == count):
            return tuple(item.text("SOPInstanceUID") for item in items), len(items), "uids"
        return (), count, "none" if count is None else "count"


@dataclass(frozen=True)
class Question:
    """What one row asks, and how much of the answer is wanted.

    `lists_instances`: ask for the SOP Instance UIDs of each match. `describes`: ask for the
    columns that only instances have, too. `folder`: where many answers wait.
    """

    keys: Mapping[Level, Keys]
    profile: PacsProfile = field(default_factory=PacsProfile)
    lists_instances: bool = True
    describes: bool = False
    folder: Path | None = None
    today: Callable[[], datetime.date] = datetime.date.today

    def own_columns(self) -> tuple[Column, ...]:
        """The row's columns that are not PACSMAN's."""
        named = [column_of(keyword) for keys in self.keys.values() for keyword in keys]
        return tuple(column for column in named if column not in COLUMNS)

    def asked(self, level: Level) -> dict[str, str]:
        """Return keys and matching keys of a level."""
        return dict.fromkeys(keywords_of(level), "") | dict(self.keys[level])


class RowSearch:
    """The search for one row's series; each answer of the PACS is matched again here."""

    def __init__(self, pacs: Source, question: Question) -> None:
        self._pacs = pacs
        self._question = question
        self._keys = question.keys
        self._profile = question.profile
        self._columns = COLUMNS + question.own_columns()
        self._told: set[str] = set()
        self._untold: set[str] = set()
        self._limited = False
        self._answers = False
        """The PACS has answered at all, be it that it has nothing."""
        self._split_days: set[str] = set()
        self.unusable = 0

    def matches(self) -> Iterator[Match]:
        """Each series of each study once. Raises as `Source.find`."""
        with Spool(self._question.folder) as studies:
            self._list_studies(studies)
            for _, text in studies:
                study = Answer.from_json(text)
                open_keys = self._undecided(study, self._keys["STUDY"])
                if open_keys is not None and self._may_hold(study):
                    yield from self._matches_in(study, open_keys)

    def reason(self, found: int) -> str:
        """Why the search, though ended, can't be trusted; empty if it can."""
        unsupported = self._untold - self._told
        if unsupported:
            names = [c.keyword for c in self._columns if c.keyword in unsupported]
            return "key_not_supported:" + ",".join(names)
        if self._limited:
            return "result_limit_reached"
        return "answers_unusable" if self.unusable and not found else ""

    def _find(self, level: Level, keys: Keys, take: Take) -> Outcome:
        """Keys that the PACS does not support are asked for, but left to be matched here."""
        unsupported = frozenset(self._profile.unsupported_keys) - {UNIQUE_KEY[level]}
        request = FindRequest(level, {k: "" if k in unsupported else v for k, v in keys.items()})
        try:
            outcome = self._pacs.find(request, take)
        except FindRefusedError:
            if not unsupported & keys.keys():
                raise
            outcome = self._pacs.find(request.without(unsupported), take)
        self.unusable += outcome.unusable
        self._answers |= outcome.received > 0 or not outcome.limited
        outcome.limited |= outcome.received == self._profile.result_limit
        return outcome

    def _find_all(self, level: Level, keys: Keys, take: Take) -> bool:
        """As `_find`, where nothing can be split; False if the PACS has more than it answers."""
        outcome = self._find(level, keys, take)
        if outcome.limited and not outcome.received:
            raise RetryLaterError("the PACS is out of resources", code="pacs_out_of_resources")
        return not outcome.limited

    # studies

    def _list_studies(self, studies: Spool) -> None:
        keys = self._study_keys()
        if keys is None:
            return
        keys = self._question.asked("STUDY") | keys

        def take(study: Answer) -> None:
            studies.add(study.text("StudyInstanceUID"), study.to_json())

        outcome = self._find("STUDY", keys, take)
        if outcome.limited:
            can_split = "StudyDate" not in self._profile.unsupported_keys
            window = Window.of(keys["StudyDate"], keys["StudyTime"]) if can_split else None
            self._split(window, keys, outcome, take)
            self._note_undated(studies)

    def _split(self, window: Window | None, keys: Keys, outcome: Outcome, take: Take) -> None:
        """Ask for the halves of a window of which the PACS has more than it answers, and so on."""
        halves = window.halves(self._question.today()) if window else None
        if halves is None:
            if not self._answers:
                raise RetryLaterError("the PACS is out of resources", code="pacs_out_of_resources")
            self._limited = True
            return
        for half in halves:
            if half.is_part_of_a_day:
                self._split_days.add(half.keys("")["StudyDate"])
            part = self._find("STUDY", {**keys, **half.keys(keys["StudyTime"])}, take)
            if part.limited:
                self._split(half, keys, part, take)

    def _note_undated(self, studies: Spool) -> None:
        """A range never matches an empty attribute: undated studies may be missing."""
        dated, timed = ("Study" + word in self._keys["STUDY"] for word in ("Date", "Time"))
        for _, text in studies:
            study = Answer.from_json(text)
            day, clock = study.text("StudyDate"), study.text("StudyTime")
            if (not day and not dated) or (not clock and not timed and day in self._split_days):
                self._limited = True

    def _may_hold(self, study: Answer) -> bool:
        modality = self._keys["SERIES"].get("Modality", "")
        told = study.values.get("ModalitiesInStudy", ())
        return not told or matches("CS", modality, told)

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
        studies: set[str] = set()

        def take(series: Answer) -> None:
            if matches("UI", series_uid, [series.text("SeriesInstanceUID")]):
                studies.add(series.text("StudyInstanceUID"))

        try:
            outcome = self._find(
                "SERIES", {"StudyInstanceUID": "", "SeriesInstanceUID": series_uid}, take
            )
        except FindRefusedError:
            return None
        if "" in studies or outcome.unusable or outcome.limited:
            return None
        return sorted(studies)

    # series

    def _matches_in(self, study: Answer, open_keys: set[str]) -> Iterator[Match]:
        with Spool(self._question.folder) as held:
            self._list_series(study, held)
            for _, text in held:
                match = self._examined(study, Answer.from_json(text), open_keys)
                if match is not None:
                    yield match

    def _list_series(self, study: Answer, held: Spool) -> None:
        study_uid = study.text("StudyInstanceUID")
        keys = {"StudyInstanceUID": study_uid, **self._question.asked("SERIES")}
        if self._profile.counts:
            keys[RELATED_INSTANCES] = ""

        def take(series: Answer) -> None:
            if series.text("StudyInstanceUID") in ("", study_uid):
                held.add(series.text("SeriesInstanceUID"), series.to_json())

        self._limited |= not self._find_all("SERIES", keys, take)

    def _examined(self, study: Answer, series: Answer, above: set[str]) -> Match | None:
        undecided = self._undecided(series, self._keys["SERIES"])
        if undecided is None:
            return None
        open_keys = {k: self._keys["STUDY"][k] for k in above}
        open_keys.update({k: self._keys["SERIES"][k] for k in undecided})
        open_keys.update(self._keys["IMAGE"])
        if not open_keys and not self._question.lists_instances:
            return Match(study, series, Instances(), self._columns)
        instances = self._instances(study, series, self._asked_of_instances(open_keys))
        if open_keys and not self._any_matches(instances, open_keys):
            self._limited |= instances.cut_short
            return None
        return Match(study, series, instances, self._columns)

    # instances

    def _asked_of_instances(self, open_keys: Keys) -> list[str]:
        described = keywords_of("IMAGE") if self._question.describes else ()
        return sorted({*open_keys, *described})

    def _instances(self, study: Answer, series: Answer, asked: Sequence[str]) -> Instances:
        if not self._profile.image_level:
            return Instances()
        series_uid = series.text("SeriesInstanceUID")
        above = {
            "StudyInstanceUID": study.text("StudyInstanceUID"),
            "SeriesInstanceUID": series_uid,
        }
        by_uid: dict[str, Answer] = {}

        def take(instance: Answer) -> None:
            if instance.text("SeriesInstanceUID") in ("", series_uid):
                by_uid[instance.text("SOPInstanceUID")] = instance

        keys = above | dict.fromkeys(["SOPInstanceUID", *asked], "")
        try:
            is_whole = self._find_all("IMAGE", keys, take)
        except FindRefusedError:
            return Instances()
        return Instances(tuple(by_uid[uid] for uid in sorted(by_uid)), not is_whole)

    # keys

    def _undecided(self, answer: Answer, keys: Keys) -> set[str] | None:
        """Keys on which the answer is silent; None if another key does not match."""
        silent = {keyword for keyword in keys if self._is_silent(answer, keyword)}
        for keyword in keys.keys() - silent:
            self._told.add(keyword)
        for keyword in keys.keys() - silent:
            if not matches(column_of(keyword).vr, keys[keyword], answer.values[keyword]):
                return None
        self._untold |= silent
        return silent

    @staticmethod
    def _is_silent(answer: Answer, keyword: str) -> bool:
        if not answer.holds(keyword):
            return True
        return column_of(keyword).composite and not answer.text(keyword)

    def _any_matches(self, instances: Instances, keys: Keys) -> bool:
        """Does one instance match all `keys`? Notes which attributes the PACS tells at all."""
        told = {k for k in keys if any(item.holds(k) for item in instances.items)}
        self._told |= told
        self._untold |= keys.keys() - told
        return any(
            all(matches(column_of(k).vr, key, item.values.get(k, ())) for k, key in keys.items())
            for item in instances.items
        )
