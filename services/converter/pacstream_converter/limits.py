"""What a batch's project profile keeps out of a release, for NIfTI.

NIfTI is made from the originals. An image that the anonymizer would black out, or look at for text,
or not admit, has to stay out of the release here too: the profile's file is read for that alone.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from pacstream.errors import RejectedError, RetryLaterError
from pacstream.pseudonyms import PROJECT

DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True)
class Kind:
    """What of an image a profile's limits ask for."""

    modality: str = ""
    sop_class: str = ""
    device: tuple[str, int, int] = ("", 0, 0)
    """Manufacturer, rows, columns."""

    @classmethod
    def of(cls, header: Dataset) -> Kind:
        return cls(
            modality=str(header.get("Modality") or "").strip(" \0").upper(),
            sop_class=str(header.get("SOPClassUID") or ""),
            device=_device(header.get("Manufacturer"), header.get("Rows"), header.get("Columns")),
        )


NO_KIND = Kind()


@dataclass(frozen=True)
class Limits:
    """Empty sets admit everything."""

    modalities: frozenset[str] = frozenset()
    sop_classes: frozenset[str] = frozenset()
    devices: frozenset[tuple[str, int, int]] = frozenset()
    second_look: bool = False

    @classmethod
    def of(cls, profile: Mapping[str, Any]) -> Limits:
        """Of a profile's TOML, whose form was checked when it was taken in. Of `[[regions]]` the
        conditions that any table has are enough to keep an image out."""
        return cls(
            modalities=frozenset(profile.get("modalities", ())),
            sop_classes=frozenset(profile.get("sop_classes", ())),
            devices=frozenset(
                _device(one["manufacturer"], one["rows"], one["columns"])
                for one in profile.get("regions", ())
            ),
            second_look=bool(profile.get("second_look", False)),
        )

    def __str__(self) -> str:
        """The same in every process."""
        sets = (self.modalities, self.sop_classes, self.devices)
        return f"{[sorted(one) for one in sets]} {self.second_look}"

    def reason(self, kind: Kind) -> str:
        """Why such an image may not go out as NIfTI, or empty."""
        if self.sop_classes and kind.sop_class not in self.sop_classes:
            return "not_admitted"
        if self.modalities and kind.modality not in self.modalities:
            return "not_admitted"
        if kind.device in self.devices:
            return "regions_in_originals"
        return "originals_not_looked_at" if self.second_look else ""


NO_LIMITS = Limits()


def limits_of(data: Path, project: str, digest: str) -> Limits:
    """Of the profile with which a batch was submitted; without a digest, `research`: none.

    Raises RejectedError `project_profile_missing` or `project_profile_unreadable`, RetryLaterError
    `disk`: nothing may be released by other rules.
    """
    if not digest:
        return NO_LIMITS
    if not (PROJECT.fullmatch(project) and DIGEST.fullmatch(digest)):
        raise RejectedError("the batch names no profile", code="project_profile_unreadable")
    return _stored(data / "projects" / project / "profiles" / f"{digest}.toml")


@functools.lru_cache(maxsize=64)
def _stored(path: Path) -> Limits:
    """A file by its digest never changes."""
    try:
        return Limits.of(tomllib.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        raise RejectedError(
            "the batch's profile is not there", code="project_profile_missing"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RejectedError(
            "the batch's profile can't be read", code="project_profile_unreadable"
        ) from None
    except OSError:
        raise RetryLaterError("a profile can't be read", code="disk") from None


def _device(manufacturer: Any, rows: Any, columns: Any) -> tuple[str, int, int]:
    """As the anonymizer compares: capitals and spaces around a text do not count."""
    return " ".join(str(manufacturer or "").split()).casefold(), int(rows or 0), int(columns or 0)
