"""What an operator allows on one PACS, and how much of it is used up."""

from __future__ import annotations

from datetime import date
from functools import cached_property
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pacstream.messages import PacsNode
from pacstream_ledger.windows import Windows, parse_hours

MAX_MOVES = 32


class Throttle(BaseModel):
    """The limits of one PACS. None: no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    moves: int = Field(default=2, ge=1, le=MAX_MOVES, description="C-MOVEs at once")
    series_per_minute: float | None = Field(default=None, gt=0)
    instances_per_second: float | None = Field(default=None, gt=0)
    bytes_per_second: float | None = Field(default=None, gt=0)
    window: str = Field(default="", description="weekly hours; empty: always")
    holidays: tuple[date, ...] = ()
    time_zone: str = Field(default="UTC", description="IANA name, of the hours and holidays")
    breaker_failures: int = Field(default=3, ge=1, description="in a row, then it opens")
    breaker_pause_s: float = Field(default=10.0, gt=0, description="first pause, then doubled")
    latency_factor: float = Field(
        default=5.0, ge=0, description="times the usual seconds an instance; 0: never mind"
    )

    @field_validator("window")
    @classmethod
    def _has_hours(cls, text: str) -> str:
        parse_hours(text)
        return text

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            raise ValueError("no time zone has this name, e.g. Europe/Zurich") from None
        return name

    @cached_property
    def windows(self) -> Windows:
        return Windows(parse_hours(self.window), frozenset(self.holidays), ZoneInfo(self.time_zone))


def pacs_key(node: PacsNode) -> str:
    """How the limits of a PACS are named: all replicas and batches agree on it."""
    return f"{node.called_aet}@{node.address}:{node.port}"


def debt_after(debt: float, seconds: float, rate: float) -> float:
    """What is left, after some time, of a debt that is paid off at `rate` per second."""
    return max(0.0, debt - max(0.0, seconds) * rate)


def release_cost(priority: int) -> float:
    """The virtual time that one release costs a batch: with each step of priority, half."""
    return float(2.0**-priority)
