"""What opens a destination: from variables, or from a file that only its owner reads.

    PACSTREAM_SECRET_USER, _PASSWORD, _TOKEN       of the one destination of a command
    PACSTREAM_SECRET_FILE, or DATA/keys/credentials.toml:

        ["sftp://karl@archive.example"]
        password = "…"            # or key_file = "/…/id_ed25519", known_hosts = "/…/known_hosts"
        ["https://pacs.example/dicom-web"]
        token = "…"               # or user and password; ca_file = "/…/ca.pem"
        ["s3://bucket"]
        user = "access key"       # password = "secret key"; else as the AWS tools find them

A section is for all destinations that begin with its name, up to a `/`, `:` or `?`.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from pacstream.errors import InputError
from pacstream.settings import SECRET_PREFIX

FILE = "credentials.toml"


@dataclass(frozen=True)
class Credentials:
    """Empty: not given."""

    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    key_file: str = ""
    known_hosts: str = ""
    ca_file: str = ""


def find_credentials(
    name: str, data: Path, given: Path | None = None, environ: Mapping[str, str] = os.environ
) -> Credentials:
    """For the destination of that name. Raises InputError; no value gets into it."""
    variable = environ.get(f"{SECRET_PREFIX}FILE", "")
    path = given or (Path(variable) if variable else data / "keys" / FILE)
    found = _of_file(path, name) if given or variable or path.exists() else {}
    for key in ("user", "password", "token"):
        if value := environ.get(f"{SECRET_PREFIX}{key.upper()}", ""):
            found[key] = value
    return Credentials(**found)


def _of_file(path: Path, name: str) -> dict[str, str]:
    try:
        mode = path.stat().st_mode
        sections = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        problem = f"can't be read ({type(error).__name__})"
        raise InputError(f"the file of credentials {problem}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise InputError("the file of credentials is no TOML") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise InputError(f"the file of credentials can be read by others: chmod 600 {path}")
    _check(sections)
    matching = [section for section in sections if _is_for(section, name)]
    found: dict[str, str] = sections[max(matching, key=len)] if matching else {}
    return dict(found)


def _check(sections: Mapping[str, object]) -> None:
    known = {one.name for one in fields(Credentials)}
    for number, section in enumerate(sections.values(), start=1):
        if not isinstance(section, dict):
            raise InputError("the file of credentials: a section for each destination is expected")
        for key, value in section.items():
            if key not in known or not isinstance(value, str):
                raise InputError(
                    f"the file of credentials, section {number}: each line has to be one of "
                    f"{', '.join(sorted(known))}, and a text"
                )


def _is_for(section: str, name: str) -> bool:
    section = section.rstrip("/")
    return name == section or (name.startswith(section) and name[len(section)] in "/:?")
