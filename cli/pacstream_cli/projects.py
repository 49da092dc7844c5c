"""The project of a batch: by which rules and with which of its keys it is released."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from pacstream.errors import InputError, RejectedError
from pacstream.keys import FIRST_ID, KeyRing, create_key, load_ring
from pacstream_anonymizer import shelf
from pacstream_anonymizer.profile import Profile
from pacstream_anonymizer.profile_file import ProfileError, parse_profile
from pacstream_anonymizer.shelf import Project, Shelf


@dataclass(frozen=True)
class Terms:
    """What holds for one batch: the profile, its text, and the id of the key."""

    profile: Profile
    text: str
    key_id: str


def terms_of(data: Path, project: str, named: str = "") -> Terms:
    """The profile that the user named, else the project's, else `research`; the key that it names,
    else the project's newest. Makes nothing. Raises InputError."""
    if named:
        source = f"--profile {named}"
        text = shelf.read_text(named, source)
    else:
        source = f"project {project}"
        known = Shelf(data).project(project)
        text = Shelf(data).text_of(project, known.profile if known else "")
    profile = _parsed(text, source)
    ring = ring_of(data, project)
    ids = ring.ids if ring else (FIRST_ID,)
    if profile.key_id and profile.key_id not in ids:
        raise InputError(f"{source}: key_id: the project has no key of that id")
    return Terms(profile, text, profile.key_id or ids[-1])


def _parsed(text: str, source: str) -> Profile:
    """Raises InputError; a file that was meant for `--pacs-profile` is told so."""
    try:
        return parse_profile(text, source)
    except ProfileError as error:
        if any(
            "called_aet" in problem or "unsupported_keys" in problem for problem in error.problems
        ):
            raise InputError(f"{source}: is the profile of a PACS: --pacs-profile") from None
        raise


def ring_of(data: Path, project: str) -> KeyRing | None:
    """The project's keys; None if it has none yet. Raises InputError if they can't be read."""
    try:
        return load_ring(data / "keys", project)
    except RejectedError as error:
        if error.code == "project_key_missing":
            return None
        raise InputError(f"project {project}: {error}") from None


def establish(data: Path, project: str, text: str) -> None:
    """Make what a batch of the project needs and is not there yet: key, profile, project.

    Raises InputError.
    """
    create_key(data / "keys", project)
    Shelf(data).put(project, text)
    if Shelf(data).project(project) is None:
        Shelf(data).write(Project(name=project, created_at=now()))


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
