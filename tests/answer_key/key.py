"""The answer key: what of which file must be gone, and what must be there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from tests.answer_key.cast import Person

PATIENT_CHARACTERISTICS = "retain_patient_characteristics"
SAFE_PRIVATE = "retain_safe_private"
MODIFIED_DATES = "retain_longitudinal_modified_dates"
FULL_DATES = "retain_longitudinal_full_dates"
DESCRIPTORS = "clean_descriptors"

STRICT: frozenset[str] = frozenset()
RESEARCH = frozenset({PATIENT_CHARACTERISTICS, SAFE_PRIVATE, MODIFIED_DATES, DESCRIPTORS})
FULL = frozenset({PATIENT_CHARACTERISTICS, SAFE_PRIVATE, FULL_DATES, DESCRIPTORS})
PROFILES: Mapping[str, frozenset[str]] = {"none": STRICT, "default": RESEARCH, "full": FULL}

METHOD_CODES = {
    "113100": frozenset[str](),
    "113105": frozenset({DESCRIPTORS}),
    "113106": frozenset({FULL_DATES}),
    "113107": frozenset({MODIFIED_DATES}),
    "113108": frozenset({PATIENT_CHARACTERISTICS}),
    "113111": frozenset({SAFE_PRIVATE}),
}
"""CID 7050 codes, and the options that have to be claimed with them."""

Step = tuple[int, str, int]
"""Tag, private creator (empty if the tag is standard; then the element's low byte counts) and item
number; -1 in the last step, which is the element itself."""
Path = tuple[Step, ...]


class Action(Enum):
    """MIDI-B's ten actions, and what MIDI-B does not look at."""

    TAG_RETAINED = "tag_retained"
    TEXT_NOTNULL = "text_notnull"
    TEXT_RETAINED = "text_retained"
    TEXT_REMOVED = "text_removed"
    DATE_SHIFTED = "date_shifted"
    UID_CHANGED = "uid_changed"
    UID_CONSISTENT = "uid_consistent"
    PATID_CONSISTENT = "patid_consistent"
    PIXELS_HIDDEN = "pixels_hidden"
    PIXELS_RETAINED = "pixels_retained"
    RESIDUE = "residue"
    """A planted text is in no byte of any output, in no encoding and in no path."""
    WORD_RETAINED = "word_retained"
    """A word is in the text, whatever has become of the others."""
    INTERVAL_KEPT = "interval_kept"
    ONE_SHIFT_EACH = "one_shift_each"
    FILE_META = "file_meta"
    NOT_PASSED_THROUGH = "not_passed_through"
    NOT_RELEASED = "not_released"
    READABLE = "readable"
    CLAIMED = "claimed"


PRIVACY = frozenset(
    {
        Action.TEXT_REMOVED,
        Action.DATE_SHIFTED,
        Action.UID_CHANGED,
        Action.PIXELS_HIDDEN,
        Action.RESIDUE,
        Action.ONE_SHIFT_EACH,
        Action.FILE_META,
        Action.NOT_PASSED_THROUGH,
        Action.NOT_RELEASED,
    }
)


class Fate(Enum):
    RELEASED = "released"
    WITHHELD = "withheld"
    EITHER = "either"
    """May be withheld; nothing of its use is asked for then."""


@dataclass(frozen=True)
class Check:
    """One thing that is right or wrong with one element of one file.

    `original` is the value in the input. With `without` and `only`, a check counts only if none or
    one of these options is on.
    """

    category: str
    action: Action
    path: Path = ()
    original: str = ""
    only: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()

    def applies(self, options: frozenset[str]) -> bool:
        return not self.without & options and (not self.only or bool(self.only & options))


@dataclass(frozen=True)
class Token:
    """A text that may be in no output at all."""

    category: str
    text: str
    without: frozenset[str] = frozenset()


@dataclass
class FileKey:
    """`number` is the InstanceNumber: by it an output is found again, whatever its name."""

    name: str
    number: int
    category: str
    person: Person | None
    fate: Fate
    checks: list[Check] = field(default_factory=list)
    frames: bytes = b""
    """The pixel data's value, or all its fragments one after the other."""
    pattern: bytes = b""
    """Burned-in pixels."""


@dataclass
class AnswerKey:
    seed: int
    files: list[FileKey] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    """Names of what is no DICOM instance; nothing of it may come out."""
    tokens: list[Token] = field(default_factory=list)
    uids: dict[str, str] = field(default_factory=dict)
    """UIDs of instances, with their category."""
