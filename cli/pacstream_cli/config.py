"""The PACS configuration: JSON with the keys of PACSMAN or PACSIFIER, and what we add to them:
`profile`, where the destination of a --move answers C-FIND, and where `export` delivers to."""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pacstream.errors import InputError
from pacstream.messages import PacsNode
from pacstream_exporter.delivery.destination import parse_destination

ADDRESS_KEYS = ("server_ip", "server_address")
OTHER_KEYS = (
    "port",
    "server_AET",
    "AET",
    "move_AET",
    "move_port",
    "batch_size",
    "batch_wait_time",
)
DESTINATION_KEYS = ("move_query_address", "move_query_port")
"""Both or none. `move_port` can't be one of them: PACSMAN's own receiver listens there."""
OPTIONAL_KEYS = ("profile", *DESTINATION_KEYS, "move_query_AET", "destinations")
HOST_LABEL = re.compile(r"[0-9A-Za-z_]([0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?")


class ConfigError(InputError):
    """`problems` has one line for each key that is wrong."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        super().__init__(f"{path.name}: " + "; ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class PacsConfig:
    """A PACS, our own AE titles, and PACSMAN's pauses."""

    address: str
    port: int
    server_aet: str
    aet: str
    move_aet: str
    move_port: int
    batch_size: int
    batch_wait_time: float
    """Seconds."""
    profile: Path | None = None
    """The PACS profile that the file names."""
    move_query_address: str | None = None
    move_query_port: int | None = None
    move_query_aet: str | None = None
    """None: the destination answers C-FIND by the title that it has as a C-MOVE destination."""
    destinations: Mapping[str, str] = field(default_factory=dict)
    """Names for addresses of `pacstream export`."""

    def node(self) -> PacsNode:
        return PacsNode(
            address=self.address,
            port=self.port,
            called_aet=self.server_aet,
            calling_aet=self.aet,
        )

    def destination_node(self) -> PacsNode | None:
        """Where move_AET answers C-FIND; None if the file does not say it."""
        if self.move_query_address is None or self.move_query_port is None:
            return None
        return PacsNode(
            address=self.move_query_address,
            port=self.move_query_port,
            called_aet=self.move_query_aet or self.move_aet,
            calling_aet=self.aet,
        )


def read_config(path: Path) -> PacsConfig:
    """Raises InputError (ConfigError with all problems, once the file is a JSON object)."""
    content = _json_object(path)
    problems = _key_problems(content)
    read = _Reader(content, problems)
    address_key = next((key for key in ADDRESS_KEYS if key in content), ADDRESS_KEYS[0])
    config = {
        "address": read.value(address_key, host),
        "port": read.value("port", port_number),
        "server_aet": read.value("server_AET", ae_title),
        "aet": read.value("AET", ae_title),
        "move_aet": read.value("move_AET", ae_title),
        "move_port": read.value("move_port", port_number),
        "batch_size": read.value("batch_size", batch_size),
        "batch_wait_time": read.value("batch_wait_time", seconds),
        "profile": read.value("profile", lambda value: profile_path(value, path.parent)),
        "move_query_address": read.value("move_query_address", host),
        "move_query_port": read.value("move_query_port", port_number),
        "move_query_aet": read.value("move_query_AET", ae_title),
        "destinations": read.value("destinations", addresses) or {},
    }
    if problems:
        raise ConfigError(path, problems)
    return PacsConfig(**config)


def _json_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=_unique)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such configuration file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, not a configuration file") from None
    except OSError as error:
        raise InputError(f"{path}: can't be read ({type(error).__name__})") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text (byte {error.start + 1})") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}: is not JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        ) from None
    except RecursionError:
        raise InputError(f"{path}: is not a JSON object of settings") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: must hold one JSON object, {{...}}")
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InputError(f"the configuration has a key twice: {', '.join(twice)}")
    return content


def _key_problems(content: dict[str, Any]) -> list[str]:
    problems = [
        f"{key}: unknown key, remove it"
        for key in content
        if key not in (*ADDRESS_KEYS, *OTHER_KEYS, *OPTIONAL_KEYS)
    ]
    addresses = [key for key in ADDRESS_KEYS if key in content]
    if not addresses:
        problems.append("server_address: missing (server_ip is accepted too)")
    if len(addresses) > 1:
        problems.append("server_ip and server_address: give only one of them")
    problems += [f"{key}: missing" for key in OTHER_KEYS if key not in content]
    if any(key in content for key in (*DESTINATION_KEYS, "move_query_AET")):
        problems += [
            f"{key}: missing, needed to ask the destination of --move"
            for key in DESTINATION_KEYS
            if key not in content
        ]
    return problems


class _Reader:
    """Reads values by their checks and collects what the checks say."""

    def __init__(self, content: dict[str, Any], problems: list[str]) -> None:
        self._content = content
        self._problems = problems

    def value(self, key: str, check: Callable[[object], object]) -> Any:
        if key not in self._content:
            return None
        try:
            return check(self._content[key])
        except ValueError as error:
            self._problems.append(f"{key}: {error}")
            return None


def _integer(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,12}", value.strip()):
        return int(value)
    raise ValueError("must be a whole number")


def port_number(value: object) -> int:
    number = _integer(value)
    if not 1 <= number <= 65535:
        raise ValueError("must be between 1 and 65535")
    return number


def addresses(value: object) -> dict[str, str]:
    """Where `pacstream export` delivers to, by name."""
    if not isinstance(value, dict):
        raise ValueError(
            'must be an object of names and addresses, such as {"karnak": "dicom://…"}'
        )
    for name, address in value.items():
        if not isinstance(address, str) or not re.fullmatch(r"[0-9A-Za-z_-]{1,64}", name):
            raise ValueError("a name has letters, digits, `_` and `-`, an address is a text")
        try:
            parse_destination(address)
        except InputError as error:
            raise ValueError(f"{name}: {error}") from None
    return value


def batch_size(value: object) -> int:
    number = _integer(value)
    if number < 1:
        raise ValueError("must be at least 1")
    return number


def seconds(value: object) -> float:
    """A number of seconds >= 0, as a number or as text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("must be a number of seconds")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise ValueError("must be a number of seconds") from None
    if not math.isfinite(number) or number < 0:
        raise ValueError("must be a number of seconds, 0 or more")
    return number


def profile_path(value: object, folder: Path) -> Path:
    """The path of a profile file; a relative one starts at the configuration's folder."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be the path of a PACS profile (TOML)")
    return folder / value.strip()


def ae_title(value: object) -> str:
    """PS3.5 table 6.2-1, AE: 1 to 16 characters, no backslash, no control characters."""
    title = value.strip(" ") if isinstance(value, str) else ""
    if not 1 <= len(title) <= 16:
        raise ValueError("must be an AE title of 1 to 16 characters")
    if not (title.isascii() and title.isprintable()) or "\\" in title:
        raise ValueError("must be ASCII without backslash or control characters")
    return title


def host(value: object) -> str:
    """A host name or an IP address; what only looks like an IPv4 address is refused."""
    name = value.strip() if isinstance(value, str) else ""
    if ":" in name:
        return _ip_address(name)
    labels = name.split(".")
    numeric = sum(label.isdecimal() for label in labels)
    if labels[-1][:1].isdecimal() and (len(labels) > 1 or numeric):
        return _ip_address(name)
    if len(labels) == 4 and numeric >= 2:
        return _ip_address(name)
    if len(name) > 253 or not all(HOST_LABEL.fullmatch(label) for label in labels):
        raise ValueError("must be a host name or an IP address")
    return name


def _ip_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("is not a valid IP address") from None
