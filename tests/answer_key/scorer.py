"""Judges a folder that an engine has written, by the answer key, under the options it was told.

MIDI-B's rule: correct actions of required actions. What is not there has passed each check of
privacy and failed each of utility.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath

from pydicom import Dataset

from tests.answer_key import naming
from tests.answer_key.key import (
    FULL_DATES,
    MODIFIED_DATES,
    PRIVACY,
    Action,
    AnswerKey,
    Check,
    Fate,
    FileKey,
)
from tests.answer_key.outputs import (
    Output,
    frames_of,
    matched,
    outputs_below,
    read,
    uid_pairs,
    value_at,
)

CODECS = (
    "latin-1", "iso8859-2", "iso8859-5", "iso8859-6", "iso8859-7", "iso8859-8", "tis-620",
    "utf-8", "utf-16-le", "utf-16-be", "iso2022_jp", "shift_jis", "euc_jp", "euc_kr", "gb18030",
)  # fmt: skip
UIDS = re.compile(rb"[0-2]\.\d+\.[\d.]{20,60}")
WORDS = re.compile(r"[^\W_]+")
ESCAPES = (b"\x1b$B", b"\x1b(B", b"\x1b$A", b"\x1b(J", b"\x1b$)C")


@dataclass(frozen=True)
class Verdict:
    category: str
    action: Action
    passed: bool
    where: str
    said: str = ""
    """What was found; these are made-up identifiers."""

    @property
    def is_privacy(self) -> bool:
        return self.action in PRIVACY


@dataclass
class Score:
    verdicts: list[Verdict] = field(default_factory=list)

    def of(self, *, privacy: bool, category: str = "") -> tuple[int, int]:
        """Passed, and all."""
        counted = [
            verdict.passed
            for verdict in self.verdicts
            if verdict.is_privacy == privacy and category in ("", verdict.category)
        ]
        return sum(counted), len(counted)

    def percent(self, *, privacy: bool, category: str = "") -> float:
        passed, total = self.of(privacy=privacy, category=category)
        return 100.0 * passed / total if total else 100.0

    @property
    def categories(self) -> list[str]:
        return sorted({verdict.category for verdict in self.verdicts})

    @property
    def failures(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if not verdict.passed]


def score(
    key: AnswerKey, in_folder: FilePath, out_folder: FilePath, options: frozenset[str]
) -> Score:
    outputs = outputs_below(out_folder)
    found = matched(key, outputs)
    judge = _Judge(key, options, found)
    verdicts = [
        *judge.files(),
        *judge.shifts(),
        *_residues(key, outputs, found, options),
        *_uids(key, in_folder, outputs, found),
        *_patients(key, found),
        *_paths(key, outputs),
        *_outputs(outputs),
        *_strangers(key, in_folder, outputs),
    ]
    return Score(verdicts)


@dataclass
class _Judge:
    key: AnswerKey
    options: frozenset[str]
    found: dict[str, Output]
    days: dict[str, list[tuple[Check, str, int | None]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """By patient: each date with where it stood and how far it moved; None if it is no date."""

    def files(self) -> Iterator[Verdict]:
        for file in self.key.files:
            output = self.found.get(file.name)
            data_set = output.data_set if output else None
            if file.fate is Fate.WITHHELD:
                yield Verdict(file.category, Action.NOT_RELEASED, data_set is None, file.name)
                continue
            for check in file.checks:
                if check.applies(self.options):
                    yield from self._check(file, check, data_set)
            if file.frames and file.fate is Fate.RELEASED:
                same = data_set is not None and _same_frames(file.frames, frames_of(data_set))
                yield Verdict("pixels", Action.PIXELS_RETAINED, same, file.name)

    def _check(self, file: FileKey, check: Check, data_set: Dataset | None) -> Iterator[Verdict]:
        where = f"{file.name} {naming.text_of(check.path)}"
        value = value_at(data_set, check.path) if data_set is not None and check.path else None
        if check.action is Action.DATE_SHIFTED:
            yield from self._date(file, check, where, value, missing=data_set is None)
            return
        is_privacy = check.action in PRIVACY
        if data_set is None and not is_privacy and file.fate is Fate.EITHER:
            return
        passed = _passed(file, check, data_set, value)
        yield Verdict(check.category, check.action, passed, where, f"{check.original} -> {value}")

    def _date(
        self, file: FileKey, check: Check, where: str, value: str | None, *, missing: bool
    ) -> Iterator[Verdict]:
        said = f"{check.original} -> {value}"
        if FULL_DATES in self.options:
            if not (missing and file.fate is Fate.EITHER):
                kept = value is not None and _undotted(value) == _undotted(check.original)
                yield Verdict(check.category, Action.TEXT_RETAINED, kept, where, said)
            return
        gone = value is None or not _shares_a_day(value, check.original)
        yield Verdict(check.category, Action.DATE_SHIFTED, gone, where, said)
        if MODIFIED_DATES in self.options and not (missing and file.fate is Fate.EITHER):
            person = file.person.patient_id.strip() if file.person else file.name
            for before, after in zip(
                check.original.split("\\"), (value or "").split("\\"), strict=False
            ):
                self.days[person].append((check, where, _moved(before, after)))

    def shifts(self) -> Iterator[Verdict]:
        """Each patient's dates have moved by the same days, and not all patients' by the same."""
        usual = {}
        for person, moved in self.days.items():
            known = Counter(days for _, _, days in moved if days is not None)
            usual[person] = known.most_common(1)[0][0] if known else None
            for check, where, days in moved:
                passed = days is not None and days == usual[person]
                yield Verdict(check.category, Action.INTERVAL_KEPT, passed, where, str(days))
        shifts = [days for days in usual.values() if days is not None]
        if len(shifts) > 2:
            varied = len(set(shifts)) > len(shifts) // 2
            yield Verdict("dates", Action.ONE_SHIFT_EACH, varied, "all patients")


def _passed(file: FileKey, check: Check, data_set: Dataset | None, value: str | None) -> bool:
    match check.action:
        case Action.TEXT_REMOVED:
            return value is None or check.original.lower() not in value.lower()
        case Action.TEXT_RETAINED:
            return value is not None and _normal(value) == _normal(check.original)
        case Action.WORD_RETAINED:
            return value is not None and check.original.lower() in WORDS.findall(value.lower())
        case Action.TEXT_NOTNULL:
            return bool(value)
        case Action.TAG_RETAINED:
            return value is not None
        case Action.CLAIMED:
            return data_set is not None and _claimed(data_set, check, value)
        case Action.PIXELS_HIDDEN:
            return data_set is None or file.pattern not in frames_of(data_set)
        case Action.PIXELS_RETAINED:
            return data_set is not None and _same_frames(file.frames, frames_of(data_set))
    raise ValueError(f"no check of a file: {check.action}")


def _claimed(data_set: Dataset, check: Check, value: str | None) -> bool:
    items = data_set.get("DeidentificationMethodCodeSequence") or []
    return check.original in (value, *(str(item.get("CodeValue")) for item in items))


def _normal(text: str) -> tuple[object, ...]:
    """Numbers by what they are worth, texts without their padding."""
    return tuple(_number(part.strip(" \0")) for part in text.strip("[]").split("\\"))


def _number(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text


def _same_frames(ours: bytes, theirs: bytes) -> bool:
    return bool(ours) and ours.rstrip(b"\0") == theirs.rstrip(b"\0")


def _shares_a_day(value: str, original: str) -> bool:
    days = [part.replace(".", "")[:8] for part in original.split("\\")]
    return any(day in value.replace(".", "") for day in days)


def _undotted(date: str) -> str:
    """2024.03.11, the form of ACR-NEMA, is 20240311."""
    return date.replace(".", "", 2) if date[4:5] == "." else date


def _moved(before: str, after: str) -> int | None:
    days = []
    for text in (before, after):
        digits = _undotted(text)
        try:
            days.append(datetime.datetime.strptime(digits[:8], "%Y%m%d").toordinal())
        except ValueError:
            return None
    rest = before[8:] if before[4:5] != "." else ""
    return days[1] - days[0] if rest in (after[8:], "") else None


def _residues(
    key: AnswerKey, outputs: list[Output], found: dict[str, Output], options: frozenset[str]
) -> Iterator[Verdict]:
    """Each planted text, in each encoding, in all bytes that came out."""
    names = {output.path: name for name, output in found.items()}
    texts = {output.path: _without_uids(output) for output in outputs}
    everything = b"\0\0".join(texts.values())
    for token in key.tokens:
        if token.without & options or not token.text:
            continue
        passed = not _is_in(token.text, everything)
        where = "" if passed else _where(token.text, texts, names)
        yield Verdict(token.category, Action.RESIDUE, passed, where, token.text)


def _is_in(text: str, content: bytes) -> bool:
    return any(needle in content for needle in needles(text))


def _without_uids(output: Output) -> bytes:
    """In lower case; digits inside a UID of 39 digits are chance, UIDs have checks of their own."""
    return UIDS.sub(b"", output.plain).lower()


def needles(text: str) -> set[bytes]:
    if text.isascii():
        return {text.lower().encode(codec) for codec in ("ascii", "utf-16-le", "utf-16-be")}
    found = set()
    for cased in {text, text.lower(), text.upper()}:
        for codec in CODECS:
            try:
                needle = cased.encode(codec)
            except UnicodeEncodeError:
                continue
            for escape in ESCAPES:
                needle = needle.replace(escape, b"")
            found.add(needle.lower())
    return found


def _where(text: str, texts: dict[FilePath, bytes], names: dict[FilePath, str]) -> str:
    """The files whose outputs have it; the output's path if none is known."""
    return ", ".join(
        names.get(path, str(path)) for path, content in texts.items() if _is_in(text, content)
    )


def _uids(
    key: AnswerKey, in_folder: FilePath, outputs: list[Output], found: dict[str, Output]
) -> Iterator[Verdict]:
    """No original UID is left; one goes to one, and no two go to the same."""
    everything = b"\0\0".join(output.plain for output in outputs)
    forth: dict[str, set[str]] = defaultdict(set)
    back: dict[str, set[str]] = defaultdict(set)
    for name, output in found.items():
        before = read((in_folder / name).read_bytes())
        if before is None or output.data_set is None:
            continue
        for one, other in uid_pairs(before, output.data_set):
            if one in key.uids:
                forth[one].add(other)
                back[other].add(one)
    for uid, category in key.uids.items():
        yield Verdict(category, Action.UID_CHANGED, uid.encode() not in everything, uid)
        if uid in forth:
            (new, *others) = forth[uid]
            passed = not others and back[new] == {uid}
            yield Verdict("uids", Action.UID_CONSISTENT, passed, uid, f"{sorted(forth[uid])}")


def _patients(key: AnswerKey, found: dict[str, Output]) -> Iterator[Verdict]:
    given: dict[str, set[str]] = defaultdict(set)
    for file in key.files:
        output = found.get(file.name)
        if output is not None and output.data_set is not None and file.person is not None:
            new = str(output.data_set.get("PatientID", ""))
            given[file.person.patient_id.strip()].add(new)
    owners = Counter(new for news in given.values() for new in news)
    for patient_id, news in given.items():
        passed = len(news) == 1 and owners[min(news)] == 1
        yield Verdict("patients", Action.PATID_CONSISTENT, passed, patient_id, f"{sorted(news)}")


def _paths(key: AnswerKey, outputs: list[Output]) -> Iterator[Verdict]:
    paths = "\n".join(str(output.path) for output in outputs)
    everything = UIDS.sub(b"", paths.encode()).lower()
    for file in key.files:
        if file.person is not None:
            person = file.person
            texts = (*person.texts, person.birth_date, person.patient_id.strip())
            seen = [text for text in texts if len(text) > 4 and _is_in(text, everything)]
            yield Verdict("paths", Action.RESIDUE, not seen, file.name, f"{seen}")


def _outputs(outputs: list[Output]) -> Iterator[Verdict]:
    for output in outputs:
        where = str(output.path)
        yield Verdict("file meta", Action.READABLE, _in_step(output.data_set), where)
        if output.data_set is not None:
            meta = output.data_set.file_meta
            kept = [element for element in meta if element.tag.element > 0x0013]
            clean = not kept and output.content[:128] == b"\0" * 128
            yield Verdict("file meta", Action.FILE_META, clean, where, f"{kept}")


def _in_step(data_set: Dataset | None) -> bool:
    if data_set is None:
        return False
    meta = data_set.file_meta
    return bool(meta.get("MediaStorageSOPInstanceUID") == data_set.get("SOPInstanceUID"))


def _strangers(key: AnswerKey, in_folder: FilePath, outputs: list[Output]) -> Iterator[Verdict]:
    written = {hashlib.sha256(output.content).digest() for output in outputs}
    for name in key.strangers:
        content = (in_folder / name).read_bytes()
        passed = hashlib.sha256(content).digest() not in written
        yield Verdict("no instances", Action.NOT_PASSED_THROUGH, passed, name)
