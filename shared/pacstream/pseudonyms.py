"""What stands in a release for a patient, a UID and a date: keyed, so nobody without the project's
key can tell or guess the original, and every process of a project comes to the same result.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import os
import re
import secrets
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from pacstream.archive import flush_folder
from pacstream.errors import InputError, RejectedError, ZoneError
from pacstream.messages import Order

KEY_BYTES = 32
LONGEST_SHIFT_WEEKS = 520

PROJECT = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
PSEUDONYM = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)
"""What a user may give: an LO value (PS3.5 section 6.2), and safe as a folder's name."""
OWN_PSEUDONYM = re.compile(r"P[A-Z2-7]{10}", re.ASCII)
DATE = re.compile(r"(\d{4})(\d{2})(\d{2})|(\d{4})\.(\d{2})\.(\d{2})", re.ASCII)


@dataclass(frozen=True)
class ProjectKey:
    """The secret of one project; everything below is a function of it and of the argument."""

    secret: bytes = field(repr=False)

    def pseudonym(self, patient_id: str, issuer: str = "") -> str:
        """`P` and ten characters A-Z, 2-7; spaces around the ID do not matter."""
        digest = self._digest("patient", patient_id.strip(), issuer.strip())
        return "P" + base64.b32encode(digest)[:10].decode("ascii")

    def uid(self, uid: str) -> str:
        """A UID below 2.25 (PS3.5 section B.2) made of a version 8 UUID; at most 44 characters."""
        digest = self._digest("uid", uid.strip(" \0"))
        number = int.from_bytes(digest[:16], "big")
        number = number & ~(0xF << 76) | (0x8 << 76)
        number = number & ~(0x3 << 62) | (0x2 << 62)
        return f"2.25.{number}"

    def shift_days(self, patient_id: str, issuer: str = "") -> int:
        """Whole weeks back, so weekdays stay: -7 to -3640 days, one shift for each patient."""
        digest = self._digest("shift", patient_id.strip(), issuer.strip())
        return -7 * (1 + int.from_bytes(digest[:8], "big") % LONGEST_SHIFT_WEEKS)

    def _digest(self, domain: str, *parts: str) -> bytes:
        mac = hmac.new(self.secret, f"pacstream.{domain}.1".encode(), hashlib.sha256)
        for part in parts:
            content = part.encode("utf-8", "surrogatepass")
            mac.update(len(content).to_bytes(8, "big") + content)
        return mac.digest()


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


def create_key(keys: Path, project: str) -> None:
    """Make the project's key file on first use; a key that is there is never touched.

    Raises InputError if the project's name is not 1 to 64 letters, digits, `_` or `-`.
    """
    if not PROJECT.fullmatch(project):
        raise InputError("a project's name has 1 to 64 letters, digits, _ or -", code="project")
    target = _key_path(keys, project)
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    if target.exists():
        return
    part = keys / f".{uuid.uuid4().hex}.part"
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        _link_once(part, target)
    finally:
        part.unlink(missing_ok=True)
    flush_folder(keys)


def _link_once(part: Path, target: Path) -> None:
    """A link appears with its whole content and never replaces: the first process wins."""
    try:
        target.hardlink_to(part)
    except FileExistsError:
        return


def load_key(keys: Path, project: str) -> ProjectKey:
    """The project's key; RejectedError with code project_key_missing or project_key_unreadable."""
    if not PROJECT.fullmatch(project):
        raise RejectedError("the order names no valid project", code="project_key_missing")
    try:
        secret = bytes.fromhex(_key_path(keys, project).read_text("ascii").strip())
    except FileNotFoundError:
        raise RejectedError("the project has no key", code="project_key_missing") from None
    except (OSError, ValueError):
        secret = b""
    if len(secret) != KEY_BYTES:
        raise RejectedError("the project's key can't be read", code="project_key_unreadable")
    return ProjectKey(secret)


def _key_path(keys: Path, project: str) -> Path:
    return keys / f"{project}.key"


def subject_of(order: Order) -> tuple[str, str]:
    """Patient ID and issuer that pseudonym (unless given) and date shift of a series are made of.

    Without a patient ID only one study is sure to be of one patient, so its UID stands in.
    """
    patient_id = order.series.patient_id.strip()
    return (patient_id, "") if patient_id else (order.series.study_uid, "study without patient ID")


def pseudonym_of(order: Order, key: ProjectKey) -> str:
    """What stands for the patient in the release: what the user gave, else what the key makes."""
    return order.pseudonym or key.pseudonym(*subject_of(order))


def release_time(time: str) -> str:
    """HHMMSS of a TM value, or what there is of it."""
    return re.sub(r"[^0-9]", "", time.partition(".")[0])[:6]


def release_series_folder(order: Order, key: ProjectKey) -> Path:
    """The series' folder in the release, relative to the batch's folder; ZoneError if unsafe."""
    folder = order.release_folder
    if not folder or folder == ".." or Path(folder).name != folder:
        raise ZoneError("a release folder is not one path component", code="path_outside_zone")
    subject = subject_of(order)
    date = shifted_date(order.series.study_date, key.shift_days(*subject))
    time = release_time(order.series.study_time)
    session = f"ses-{date}{time}" if date else "ses-unknown"
    return Path("release") / f"sub-{pseudonym_of(order, key)}" / session / folder
