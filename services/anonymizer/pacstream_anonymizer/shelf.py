"""Where profiles are: shipped with pacstream, in a file, or in the trusted zone with a project.

    DATA/projects/<project>/project.json              the project's own profile, by its digest
    DATA/projects/<project>/profiles/<digest>.toml    profiles that its batches use, for good

A batch's order names a digest; every process reads that file, so all work by the same rules.
"""

from __future__ import annotations

import functools
import re
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pacstream.archive import write_atomically
from pacstream.errors import InputError, RejectedError, RetryLaterError
from pacstream.pseudonyms import PROJECT
from pacstream_anonymizer.profile import Profile
from pacstream_anonymizer.profile_file import parse_profile

SHIPPED = ("strict", "research", "pacsman")
DEFAULT_NAME = "research"
DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Project(BaseModel):
    """project.json. `profile` is a digest; empty: `research` as it is shipped."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    created_at: str = ""
    profile: str = ""


def shipped_text(name: str) -> str:
    """Raises InputError."""
    if name not in SHIPPED:
        raise InputError(f"no such profile: {name}; there are {', '.join(SHIPPED)}")
    file = resources.files(__package__).joinpath(f"profiles/{name}.toml")
    return file.read_text(encoding="utf-8")


@functools.cache
def shipped(name: str) -> Profile:
    return parse_profile(shipped_text(name), name)


def read_text(name: str, source: str = "") -> str:
    """The text of a shipped profile, else of a file, which messages call `source`, or `name`.

    Raises InputError.
    """
    if name in SHIPPED:
        return shipped_text(name)
    path, source = Path(name), source or name
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        said = f"is no file, and no profile of that name is shipped ({', '.join(SHIPPED)})"
        raise InputError(f"{source}: {said}") from None
    except OSError as error:
        raise InputError(f"{source}: can't be read ({type(error).__name__})") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{source}: is not UTF-8 text (byte {error.start + 1})") from None


def named(name: str, source: str = "") -> Profile:
    """As `read_text`, parsed. Raises ProfileError with all problems, too."""
    return parse_profile(read_text(name, source), source or name)


class Shelf:
    """The profiles of the projects of one trusted zone, `data`."""

    def __init__(self, data: Path) -> None:
        self._projects = data / "projects"

    def put(self, project: str, text: str) -> Profile:
        """Keep a profile's file with the project; durable on return. Raises InputError."""
        profile = parse_profile(text)
        target = self._path(project, profile.digest)
        if not target.exists():
            self._make_folder(target.parent)
            write_atomically(target, text.encode())
        return profile

    def get(self, project: str, digest: str) -> Profile:
        """The profile with that digest; an order without one, of an older sender, means `research`.

        Raises RejectedError `project_profile_missing` or `project_profile_unreadable`, and
        RetryLaterError `disk`: nothing may be released by other rules.
        """
        if not digest:
            return shipped(DEFAULT_NAME)
        try:
            return _stored(self._path(project, digest), digest)
        except FileNotFoundError:
            raise RejectedError(
                "the batch's profile is not there", code="project_profile_missing"
            ) from None
        except (InputError, UnicodeDecodeError):
            raise RejectedError(
                "the batch's profile is not what it was", code="project_profile_unreadable"
            ) from None
        except OSError:
            raise RetryLaterError("a profile can't be read", code="disk") from None

    def text_of(self, project: str, digest: str) -> str:
        """The file that `get` reads. Raises InputError if it is not there."""
        if not digest:
            return shipped_text(DEFAULT_NAME)
        try:
            return self._path(project, digest).read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            raise InputError("the project's profile can't be read") from None

    def project(self, name: str) -> Project | None:
        """None if nobody has created it: its key may still be there. Raises InputError."""
        try:
            return Project.model_validate_json(self._file(name).read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, ValidationError):
            raise InputError(f"project {name}: project.json can't be read") from None

    def write(self, project: Project) -> None:
        target = self._file(project.name)
        self._make_folder(target.parent)
        write_atomically(target, project.model_dump_json(indent=1).encode())

    def names(self) -> list[str]:
        return sorted(path.parent.name for path in self._projects.glob("*/project.json"))

    def _make_folder(self, folder: Path) -> None:
        self._projects.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)

    def _folder(self, project: str) -> Path:
        if not PROJECT.fullmatch(project):
            raise InputError("a project's name has 1 to 64 letters, digits, _ or -")
        return self._projects / project

    def _file(self, project: str) -> Path:
        return self._folder(project) / "project.json"

    def _path(self, project: str, digest: str) -> Path:
        if not DIGEST.fullmatch(digest):
            raise InputError("a profile's digest has 64 hexadecimal digits")
        return self._folder(project) / "profiles" / f"{digest}.toml"


@functools.lru_cache(maxsize=64)
def _parsed(path: Path, digest: str, mark: tuple[int, int, int]) -> Profile:
    """Parsed once for each state of the file: one is read for every message."""
    profile = parse_profile(path.read_text("utf-8"))
    if profile.digest != digest:
        raise InputError("another profile than its name says")
    return profile


def _stored(path: Path, digest: str) -> Profile:
    status = path.stat()
    return _parsed(path, digest, (status.st_ino, status.st_mtime_ns, status.st_size))
