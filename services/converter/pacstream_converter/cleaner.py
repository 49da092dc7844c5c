"""Clean what dcm2niix writes: a kind of object of its own, with its own places for identifiers.

`-ba y` still writes institution, address, station, serial number, descriptions, comments and the
time of day into the sidecar, the time into `descrip`, and a comment into `aux_file`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pacstream.errors import RejectedError
from pacstream.messages import Series
from pacstream_converter.nifti import TEXT_FIELDS, NiftiHeader, read_header
from pacstream_converter.sidecar_keys import CODES, PERSONAL, QUANTITIES, TECHNICAL_NAMES

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

PERSONAL_FIELDS = frozenset({"aux_file", "db_name"})
"""Header fields for which dcm2niix takes text from the data set; the others it composes."""

CODE = re.compile(r"[0-9A-Za-z_ .,:;/\\()<>+-]{0,64}")
PRINTABLE = re.compile(r"[ -~]{0,64}")

SHORTEST_ECHO = 3
"""Shorter identifiers occur by chance."""

GRADIENTS = (".bval", ".bvec")


@dataclass(frozen=True)
class CleanImage:
    """One NIfTI file with its companions, ready to be written.

    `header` is to be followed by the bytes of `source` from `voxels_at` on; `companions` are the
    contents by suffix (.json, .bval, .bvec).
    """

    source: Path
    header: bytes
    voxels_at: int
    shape: tuple[int, ...]
    companions: Mapping[str, bytes]

    @property
    def slices(self) -> int:
        """Slices of all volumes together."""
        return math.prod(self.shape[2:])


def clean_image(source: Path, series: Series, *, release: bool) -> CleanImage:
    """Clean the NIfTI file `source` and its companions, for the release or for a plain conversion.

    Raises RejectedError `nifti_echo` if an identifier of the series would be in the release,
    `bad_nifti` or `bad_sidecar` if dcm2niix wrote what can't be understood.
    """
    header = read_header(source)
    clean = header.without(TEXT_FIELDS if release else PERSONAL_FIELDS)
    sidecar = _read_sidecar(source.with_suffix(".json"))
    if sidecar is not None:
        sidecar = release_sidecar(sidecar, series) if release else plain_sidecar(sidecar)
    if release:
        refuse_echoes(clean, sidecar or {}, series)
    return _assemble(source, header, clean, sidecar)


def _assemble(
    source: Path, header: NiftiHeader, clean: bytes, sidecar: Mapping[str, Json] | None
) -> CleanImage:
    companions = {
        suffix: _read_gradients(source.with_suffix(suffix))
        for suffix in GRADIENTS
        if source.with_suffix(suffix).is_file()
    }
    if sidecar is not None:
        text = json.dumps(sidecar, indent=1, ensure_ascii=False)
        companions[".json"] = f"{text}\n".encode()
    return CleanImage(source, clean, header.voxels_at, header.shape, companions)


def _read_sidecar(path: Path) -> dict[str, Json] | None:
    if not path.is_file():
        return None
    try:
        sidecar = json.loads(path.read_text("utf-8", "replace"), strict=False)
    except ValueError:
        raise RejectedError("dcm2niix's sidecar is no JSON", code="bad_sidecar") from None
    if not isinstance(sidecar, dict):
        raise RejectedError("dcm2niix's sidecar is no JSON object", code="bad_sidecar")
    return sidecar


def _read_gradients(path: Path) -> bytes:
    """Diffusion weights and directions: nothing but numbers."""
    content = path.read_bytes()
    try:
        for number in content.split():
            float(number)
    except ValueError:
        raise RejectedError("a gradient table holds text", code="bad_sidecar") from None
    return content


def plain_sidecar(sidecar: Mapping[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in sidecar.items() if key not in PERSONAL}


def release_sidecar(sidecar: Mapping[str, Json], series: Series) -> dict[str, Json]:
    """The keys that are allowed and whose values have the shape that is allowed for them.

    A technical name that repeats the series description is dropped: it may have been typed in.
    """
    clean: dict[str, Json] = {}
    for key, value in sidecar.items():
        if (
            (key in QUANTITIES and _all_leaves(value, _is_quantity))
            or (key in CODES and _all_leaves(value, _is_code))
            or (key in TECHNICAL_NAMES and _is_technical_name(value, series.description))
        ):
            clean[key] = value
    return clean


def _is_quantity(value: Json) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _is_code(value: Json) -> bool:
    return isinstance(value, str) and CODE.fullmatch(value) is not None


def _is_technical_name(value: Json, description: str) -> bool:
    return (
        isinstance(value, str)
        and PRINTABLE.fullmatch(value) is not None
        and not _echoes(value, [description])
    )


def _all_leaves(value: Json, allowed: Callable[[Json], bool]) -> bool:
    if isinstance(value, list):
        return all(_all_leaves(item, allowed) for item in value)
    return allowed(value)


def refuse_echoes(header: bytes, sidecar: Mapping[str, Json], series: Series) -> None:
    """Look once more, independently of the rules above, for identifiers of this series.

    Codes such as AXIAL may be the whole description, so descriptions are not looked for in them.
    Raises RejectedError `nifti_echo`.
    """
    identifiers = [series.patient_id, series.study_uid, series.series_uid]
    everything = [*identifiers, series.description]
    raw = header.decode("latin-1")
    found = any(token in raw for token in _tokens(everything)) or any(
        _echoes(text, identifiers if key in CODES else everything)
        for key, value in sidecar.items()
        for text in _texts(value)
    )
    if found:
        raise RejectedError("an identifier is left in a cleaned NIfTI", code="nifti_echo")


def _texts(value: Json) -> list[str]:
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []


def _tokens(values: list[str]) -> list[str]:
    """The values without padding, and IDs without leading zeros too."""
    stripped = {form for value in values for form in (value.strip(), value.strip().lstrip("0"))}
    return sorted(token for token in stripped if len(token) >= SHORTEST_ECHO)


def _echoes(text: str, values: list[str]) -> bool:
    """Whether one of the values is in the text as a whole word, in any case of letters."""
    return any(
        re.search(rf"(?<![^\W_]){re.escape(token)}(?![^\W_])", text, re.IGNORECASE)
        for token in _tokens(values)
    )
