"""What stands in a release for a patient, a UID and a date: keyed, so nobody without the project's
key can tell or guess the original, and every process of a project comes to the same result.
"""

from __future__ import annotations

import base64
import datetime
import functools
import hmac
import re
from dataclasses import dataclass, field
from pathlib import Path

from pacstream.errors import ZoneError
from pacstream.messages import Dates, Order

LONGEST_SHIFT_WEEKS = 520

PROJECT = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
PSEUDONYM = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)
"""What a user may give: an LO value (PS3.5 section 6.2), and safe as a folder's name."""
OWN_PSEUDONYM = re.compile(r"P[A-Z2-7]{10}", re.ASCII)
NO_PATIENT_ID = "study without patient ID"
"""Stands where the issuer of a patient ID would."""
DATE = re.compile(r"(\d{4})(\d{2})(\d{2})|(\d{4})\.(\d{2})\.(\d{2})", re.ASCII)


@dataclass(frozen=True)
class ProjectKey:
    """The secret of one project; everything below is a function of it and of the argument."""

    secret: bytes = field(repr=False)
    key_id: str = "1"

    def pseudonym(self, patient_id: str, issuer: str = "") -> str:
        """`P` and ten characters A-Z, 2-7; spaces around the ID do not matter."""
        digest = self._digest("patient", patient_id.strip(), issuer.strip())
        return "P" + base64.b32encode(digest)[:10].decode("ascii")

    def uid(self, uid: str) -> str:
        """A UID below 2.25 (PS3.5 section B.2) made of a version 8 UUID; at most 44 characters."""
        return _uid(self.secret, uid)

    def shift_days(self, patient_id: str, issuer: str = "") -> int:
        """Whole weeks back, so weekdays stay: -7 to -3640 days, one shift for each patient."""
        digest = self._digest("shift", patient_id.strip(), issuer.strip())
        return -7 * (1 + int.from_bytes(digest[:8], "big") % LONGEST_SHIFT_WEEKS)

    def value_hash(self, value: bytes) -> str:
        """What an audit says of a value: 32 hexadecimal digits, the same for the same bytes."""
        return hmac.digest(self._value_key, value, "sha256")[:16].hex()

    def check_value(self) -> str:
        """Tells keys apart and gives nothing away: for comparing a backup."""
        return self._digest("check").hex()[:12]

    @functools.cached_property
    def _value_key(self) -> bytes:
        return self._digest("value")

    def _digest(self, domain: str, *parts: str) -> bytes:
        return _digest(self.secret, domain, *parts)


def _digest(secret: bytes, domain: str, *parts: str) -> bytes:
    message = [f"pacstream.{domain}.1".encode()]
    for part in parts:
        content = part.encode("utf-8", "surrogatepass")
        message += len(content).to_bytes(8, "big"), content
    return hmac.digest(secret, b"".join(message), "sha256")


@functools.lru_cache(maxsize=1024)
def _uid(secret: bytes, uid: str) -> str:
    """Remembered: an instance's own UID is asked for several times, a series' by all of it."""
    number = int.from_bytes(_digest(secret, "uid", uid.strip(" \0"))[:16], "big")
    number = number & ~(0xF << 76) | (0x8 << 76)
    number = number & ~(0x3 << 62) | (0x2 << 62)
    return f"2.25.{number}"


def shifted_date(date: str, days: int) -> str:
    """A DA value (also the old YYYY.MM.DD) moved by `days`; empty if it is not a whole date."""
    match = DATE.fullmatch(date.strip(" \0"))
    if match is None:
        return ""
    year, month, day = (int(part) for part in match.groups() if part is not None)
    try:
        moved = datetime.date(year, month, day) + datetime.timedelta(days=days)
    except (ValueError, OverflowError):
        return ""
    return f"{moved.year:04d}{moved.month:02d}{moved.day:02d}"


@dataclass(frozen=True)
class Subject:
    """Whom a pseudonym and a date shift are made for.

    The issuer (0010,0021) is the one in the instance itself, and empty where it has none: two
    hospitals may give the same ID. `pseudonym` is what the user has given; empty: the key's.
    """

    patient_id: str = field(repr=False)
    issuer: str = field(default="", repr=False)
    pseudonym: str = ""

    @classmethod
    def of(cls, patient_id: str, issuer: str, study_uid: str, pseudonym: str = "") -> Subject:
        """Without a patient ID only one study is sure to be of one patient: its UID stands in."""
        patient_id = patient_id.strip(" \0")
        if not patient_id:
            return cls(study_uid, NO_PATIENT_ID, pseudonym)
        return cls(patient_id, issuer.strip(" \0"), pseudonym)

    def name(self, key: ProjectKey) -> str:
        """What stands for the patient in the release."""
        return self.pseudonym or key.pseudonym(self.patient_id, self.issuer)

    def shift_days(self, key: ProjectKey) -> int:
        return key.shift_days(self.patient_id, self.issuer)


def subject_of(order: Order, issuer: str = "") -> Subject:
    """The patient of an order's series; `issuer` is the one that its instances name."""
    series = order.series
    return Subject.of(series.patient_id, issuer, series.study_uid, order.pseudonym)


def release_time(time: str) -> str:
    """HHMMSS of a TM value, or what there is of it."""
    return re.sub(r"[^0-9]", "", time.partition(".")[0])[:6]


@dataclass(frozen=True)
class Visit:
    """A study, of which a session's folder in the release is named."""

    study_uid: str
    date: str = field(repr=False)
    time: str = field(repr=False)

    def session(self, key: ProjectKey, dates: Dates, shift_days: int) -> str:
        """`ses-<date><time>` as the release has them, `ses-unknown` if there is no whole date; the
        mapped study UID where the release has no dates."""
        if dates is Dates.REMOVED:
            return f"ses-{key.uid(self.study_uid)}"
        date = shifted_date(self.date, shift_days if dates is Dates.SHIFTED else 0)
        return f"ses-{date}{release_time(self.time)}" if date else "ses-unknown"


def release_series_folder(order: Order, key: ProjectKey, issuer: str = "") -> Path:
    """The series' folder in the release, relative to the batch's folder; ZoneError if unsafe.
    `issuer` as in `subject_of`."""
    folder = order.release_folder
    if not folder or folder == ".." or Path(folder).name != folder:
        raise ZoneError("a release folder is not one path component", code="path_outside_zone")
    subject = subject_of(order, issuer)
    series = order.series
    visit = Visit(series.study_uid, series.study_date, series.study_time)
    session = visit.session(key, order.dates, subject.shift_days(key))
    return Path("release") / f"sub-{subject.name(key)}" / session / folder
