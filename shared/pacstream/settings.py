"""One frozen Settings object, read once from the environment (variables `PACSTREAM_*`).

`PACSTREAM_X_FILE` names a file that holds the value of `PACSTREAM_X`: what is secret, such as a URL
with a password, is then in no environment, where `docker inspect` would show it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pacstream.errors import InputError

PREFIX = "PACSTREAM_"
FILE_SUFFIX = "_FILE"
KEY_PREFIX = f"{PREFIX}KEY_"
"""Variables with project keys: `pacstream.keys`. They are no settings, and never become fields."""
SECRET_PREFIX = f"{PREFIX}SECRET_"
"""Variables with credentials of destinations: `pacstream_exporter.delivery.credentials`."""
MOST_MOVES = 32
"""C-MOVEs that one retrieve process can have under way. How many it has, the ledger decides."""

DEFAULT_AMQP_URL = "amqp://guest:guest@127.0.0.1:5672/%2F"


PLACE = re.compile(r"\s*([^\\=,]{1,16}?)\s*=\s*(\[[0-9A-Fa-f:.]+\]|[^\s\[\]:]+):(\d{1,5})\s*")
"""AET=host:port; an IPv6 address in brackets."""


class Settings(BaseModel):
    """What a process is told from outside. Field `x` is read from the variable `PACSTREAM_X`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path = Field(default=Path(".pacstream"), description="the trusted zone on disk")
    amqp_url: str = Field(default=DEFAULT_AMQP_URL, description="the broker")
    heartbeat_s: int = Field(default=60, ge=0, description="AMQP heartbeat")
    retry_delays_ms: str = Field(
        default="5000,30000,120000",
        pattern=r"^\d+(,\d+)*$",
        description="growing pauses before a message is tried again; the last one repeats",
    )
    max_attempts: int = Field(default=6, ge=1, description="attempts before a dead letter")
    workers: int = Field(default=1, ge=1, description="messages handled at once, per queue")
    http_host: str = Field(default="127.0.0.1", description="where /health listens")
    http_port: int = Field(default=0, ge=0, le=65535, description="0: any free port")
    log_level: str = Field(
        default="INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$", description="what is logged"
    )
    ledger_url: str = Field(default="", description="SQLAlchemy URL; empty: SQLite below data")
    ledger_http: str = Field(
        default="http://127.0.0.1:8090", description="where the CLI asks the ledger for status"
    )
    pacs_concurrency: int = Field(default=2, ge=1, le=MOST_MOVES, description="C-MOVEs at once")
    dimse_timeout_s: float = Field(default=60.0, gt=0, description="silence that ends a request")
    connection_timeout_s: float = Field(
        default=10.0, gt=0, description="longest wait for a connection, and for its association"
    )
    response_timeout_s: float = Field(
        default=120.0, gt=0, description="longest wait for the first response to a retrieval"
    )
    idle_timeout_s: float = Field(
        default=60.0, gt=0, description="longest silence between the responses to a retrieval"
    )
    move_deadline_s: float = Field(
        default=900.0, gt=0, le=1200, description="longest C-MOVE; what is missing is asked again"
    )
    rounds: int = Field(default=3, ge=0, le=10, description="further C-MOVEs for missing instances")
    round_pause_s: float = Field(
        default=5.0, ge=0, description="pause before round 1; then doubled"
    )
    untried_limit_s: float = Field(
        default=86400.0, gt=0, description="how long a series waits for a PACS that takes nothing"
    )
    disk_low_percent: float = Field(
        default=5.0,
        ge=0,
        le=100,
        description="free part of the disk below which nothing is asked for",
    )
    disk_low_bytes: int = Field(default=2_000_000_000, ge=0, description="the same, in bytes")
    disk_low_inodes: int = Field(default=20_000, ge=0, description="the same, in files")
    disk_full_bytes: int = Field(
        default=500_000_000, ge=0, description="free bytes below which no instance is taken"
    )
    disk_full_inodes: int = Field(default=2_000, ge=0, description="the same, in files")
    store_host: str = Field(default="0.0.0.0", description="where the store SCP listens")
    store_port: int = Field(default=11112, ge=1, le=65535, description="its port")
    store_aet: str = Field(
        default="PACSTREAM", min_length=1, max_length=16, description="its AE title"
    )
    store_calling_aets: str = Field(
        default="",
        description="calling AE titles that may associate, separated by commas; empty: all",
    )
    store_require_called_aet: bool = Field(
        default=False, description="refuse associations that call another AE title"
    )
    store_private_classes: bool = Field(
        default=True, description="accept storage of private SOP classes"
    )
    store_maximum_pdu: int = Field(
        default=131072, ge=0, le=1 << 31, description="longest P-DATA-TF PDU; 0: any"
    )
    store_associations: int = Field(
        default=100, ge=1, description="associations at once, in each process"
    )
    store_workers: str = Field(
        default="1",
        pattern=r"^(auto|[1-9]\d?)$",
        description="processes that share its port; auto: one for each core",
    )
    store_read_timeout_s: float = Field(
        default=30.0, gt=0, description="time for each 128 KiB of a message that has begun"
    )
    store_idle_timeout_s: float = Field(
        default=60.0, gt=0, description="longest silence between two messages"
    )
    store_commitment_peers: str = Field(
        default="",
        description="where storage commitment is reported to: AET=host:port, separated by commas",
    )
    durable_ack: bool = Field(
        default=False, description="answer a C-STORE when the instance is durable, not before"
    )
    commit_instances: int = Field(default=64, ge=1, description="largest group commit")
    commit_ms: int = Field(default=50, ge=1, description="longest wait before a group commit")
    ocr: bool = Field(
        default=False, description="look for text in pixels, and withhold what has any"
    )
    dcm2niix_timeout_s: float = Field(
        default=900.0, gt=0, le=1200, description="longest conversion of one series"
    )

    @property
    def retry_delays(self) -> tuple[int, ...]:
        """The pauses in milliseconds, shortest first."""
        return tuple(sorted(int(delay) for delay in self.retry_delays_ms.split(",")))

    @property
    def calling_aets(self) -> frozenset[str]:
        """The AE titles that may associate with the store SCP; none: all."""
        titles = (title.strip() for title in self.store_calling_aets.split(","))
        return frozenset(title for title in titles if title)

    @property
    def store_processes(self) -> int:
        """The store SCP's processes; `auto`: as many as there are cores that it may use."""
        if self.store_workers == "auto":
            return len(os.sched_getaffinity(0))
        return int(self.store_workers)

    @property
    def commitment_peers(self) -> dict[str, tuple[str, int]]:
        """Address and port of senders that wait for storage commitment, by AE title."""
        return _places(self.store_commitment_peers)

    @field_validator("store_commitment_peers")
    @classmethod
    def _are_places(cls, text: str) -> str:
        _places(text)
        return text

    @property
    def database_url(self) -> str:
        return self.ledger_url or f"sqlite:///{self.data.absolute() / 'state' / 'ledger.db'}"


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `environ` (default: the process's).

    Raises InputError naming each variable that is unknown, has no valid value, or names a file that
    can't be read.
    """
    environ = os.environ if environ is None else environ
    given = {
        name[len(PREFIX) :].lower(): value
        for name, value in with_files(environ).items()
        if name.startswith(PREFIX)
        and not name.startswith((KEY_PREFIX, SECRET_PREFIX))
        and value != ""
    }
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        problems = "; ".join(
            f"{PREFIX}{str(item['loc'][0]).upper()}: "
            + ("no such setting" if item["type"] == "extra_forbidden" else item["msg"])
            for item in error.errors()
        )
        raise InputError(f"wrong settings in the environment: {problems}") from None


def with_files(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` with `PACSTREAM_X_FILE` replaced by `PACSTREAM_X` and the file's content.

    Raises InputError for a file that can't be read, and for a setting that is given both ways.
    """
    resolved = dict(environ)
    for name, path in environ.items():
        if not (name.startswith(PREFIX) and name.endswith(FILE_SUFFIX)):
            continue
        if name.startswith((KEY_PREFIX, SECRET_PREFIX)):
            continue
        del resolved[name]
        setting = name.removesuffix(FILE_SUFFIX)
        if path == "":
            continue
        if environ.get(setting):
            raise InputError(f"{setting} and {name} are both set: give one of them")
        resolved[setting] = _content(name, Path(path))
    return resolved


def _content(name: str, path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: {path} can't be read ({type(error).__name__})") from None


def _places(text: str) -> dict[str, tuple[str, int]]:
    """Raises ValueError for what is no list of AET=host:port, or names a title twice."""
    places: dict[str, tuple[str, int]] = {}
    for entry in text.split(",") if text.strip() else ():
        place = PLACE.fullmatch(entry)
        if place is None or not 1 <= int(place[3]) <= 65535:
            raise ValueError("AET=host:port, separated by commas, is expected")
        if place[1] in places:
            raise ValueError("an AE title is named twice")
        places[place[1]] = (place[2].strip("[]"), int(place[3]))
    return places
