"""The keys of a project: made, found, rotated.

    DATA/keys/<project>.key       64 hexadecimal digits a line; the line's number is the key's id
    PACSTREAM_KEY_<PROJECT>       the same text, or the path of such a file; goes before DATA/keys

A key is never taken out of a ring: what an earlier batch was released with has to be found again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pacstream.archive import flush_folder
from pacstream.errors import InputError, RejectedError
from pacstream.pseudonyms import PROJECT, ProjectKey
from pacstream.settings import KEY_PREFIX

KEY_BYTES = 32
FIRST_ID = "1"
KEY_ID = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)


@dataclass(frozen=True)
class KeyRing:
    """All keys of a project, oldest first; `source` is `file` or the variable that gave them."""

    secrets: tuple[bytes, ...] = field(repr=False)
    source: str = "file"

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(str(number) for number in range(1, len(self.secrets) + 1))

    @property
    def current_id(self) -> str:
        """The key of new batches: the newest."""
        return self.ids[-1]

    def key(self, key_id: str = "") -> ProjectKey:
        """The key of that id; the first one for a batch that is older than ids.

        Raises RejectedError project_key_missing.
        """
        wanted = key_id or FIRST_ID
        if wanted not in self.ids:
            raise RejectedError("the project has no key of that id", code="project_key_missing")
        return ProjectKey(self.secrets[int(wanted) - 1], wanted)


def load_key(keys: Path, project: str, key_id: str = "") -> ProjectKey:
    """A key of the project, as `KeyRing.key`; raises as `load_ring`, too."""
    return load_ring(keys, project).key(key_id)


def load_ring(keys: Path, project: str, environ: Mapping[str, str] = os.environ) -> KeyRing:
    """Raises RejectedError project_key_missing or project_key_unreadable."""
    if not PROJECT.fullmatch(project):
        raise RejectedError("the order names no valid project", code="project_key_missing")
    variable = variable_of(project)
    given = environ.get(variable, "").strip()
    is_path = given.startswith(("/", "."))
    try:
        if given and not is_path:
            text = given
        else:
            text = (Path(given) if is_path else key_path(keys, project)).read_text("ascii")
    except FileNotFoundError:
        raise RejectedError("the project has no key", code="project_key_missing") from None
    except (OSError, ValueError):
        text = ""
    return KeyRing(_secrets(text), variable if given else "file")


def _secrets(text: str) -> tuple[bytes, ...]:
    """The keys that `text` holds. No part of it may get into an error."""
    try:
        found = tuple(bytes.fromhex(word) for word in text.split())
    except ValueError:
        found = ()
    if not found or any(len(secret) != KEY_BYTES for secret in found):
        raise RejectedError("the project's key can't be read", code="project_key_unreadable")
    return found


def create_key(keys: Path, project: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Make the project's first key, unless it has one; whether it was made.

    A key that is there is never touched. Raises InputError if the project's name is not 1 to 64
    letters, digits, `_` or `-`.
    """
    if not PROJECT.fullmatch(project):
        raise InputError("a project's name has 1 to 64 letters, digits, _ or -", code="project")
    target = key_path(keys, project)
    if target.exists() or environ.get(variable_of(project)):
        return False
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _written(keys, _new_line()) as part:
        try:
            # A link appears with its whole content and never replaces: the first process wins.
            target.hardlink_to(part)
        except FileExistsError:
            return False
    flush_folder(keys)
    return True


def rotate_key(keys: Path, project: str, environ: Mapping[str, str] = os.environ) -> str:
    """Add a key to the project's ring; its id. The others stay.

    Raises InputError if the keys come from the environment, RejectedError as `load_ring`.
    """
    if environ.get(variable_of(project)):
        raise InputError(
            f"the keys of this project come from {variable_of(project)}: add one there, "
            "after a space or in a new line"
        )
    with _alone(keys):
        ring = load_ring(keys, project, environ)
        lines = "".join(f"{secret.hex()}\n" for secret in ring.secrets)
        with _written(keys, lines + _new_line()) as part:
            part.replace(key_path(keys, project))
        flush_folder(keys)
    return str(len(ring.secrets) + 1)


def key_path(keys: Path, project: str) -> Path:
    return keys / f"{project}.key"


def variable_of(project: str) -> str:
    """The environment variable that may hold the project's keys."""
    return KEY_PREFIX + project.upper().replace("-", "_")


def _new_line() -> str:
    return secrets.token_hex(KEY_BYTES) + "\n"


@contextlib.contextmanager
def _written(keys: Path, text: str) -> Iterator[Path]:
    """A durable temporary file with `text` that only its owner can read."""
    part = keys / f".{uuid.uuid4().hex}.part"
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        yield part
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(keys: Path) -> Iterator[None]:
    """One process at a time adds keys. Raises RejectedError project_key_missing without folder."""
    try:
        handle = os.open(keys, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        raise RejectedError("the project has no key", code="project_key_missing") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
