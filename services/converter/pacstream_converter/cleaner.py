"""Clean what dcm2niix writes: a kind of object of its own, with its own places for identifiers.

`-ba y` still writes institution, address, station, serial number, descriptions, comments and the
time of day into the sidecar, the time into `descrip`, and a comment into `aux_file`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pacstream.errors import RejectedError
from pacstream_converter.identifiers import Identifiers
from pacstream_converter.nifti import TEXT_FIELDS, NiftiHeader, read_header
from pacstream_converter.sidecar_keys import CODES, PERSONAL, QUANTITIES, TECHNICAL_NAMES

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

PERSONAL_FIELDS = frozenset({"aux_file", "db_name"})
"""Header fields for which dcm2niix takes text from the data set; the others it composes."""

CODE = re.compile(r"[0-9A-Za-z_ .,:;/\\()<>+-]{0,64}")
PRINTABLE = re.compile(r"[ -~]{0,64}")

NUMBER = re.compile(rb"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)

SHORTEST_NUMBER = 6
"""Digits of a quantity that may be an identifier and no measure."""

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


def clean_image(source: Path, identifiers: Identifiers | None) -> CleanImage:
    """Clean the NIfTI file `source` and its companions: for a release if there are identifiers that
    may not be in it, else for a plain conversion.

    Raises RejectedError `nifti_echo` if one of them would be in the release, `bad_nifti` or
    `bad_sidecar` if dcm2niix wrote what can't be understood.
    """
    header = read_header(source)
    sidecar = _read_sidecar(source.with_suffix(".json"))
    if identifiers is None:
        clean = header.without(PERSONAL_FIELDS)
        sidecar = None if sidecar is None else plain_sidecar(sidecar)
    else:
        clean = header.without(TEXT_FIELDS)
        sidecar = None if sidecar is None else release_sidecar(sidecar, identifiers)
        refuse_echoes(clean, sidecar or {}, identifiers)
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
    if not all(NUMBER.fullmatch(number) for number in content.split()):
        raise RejectedError("a gradient table holds text", code="bad_sidecar")
    return content


def plain_sidecar(sidecar: Mapping[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in sidecar.items() if key not in PERSONAL}


def release_sidecar(sidecar: Mapping[str, Json], identifiers: Identifiers) -> dict[str, Json]:
    """The keys that are allowed and whose values have the shape that is allowed for them.

    A technical name that repeats a name or a description is dropped: it may have been typed in. So
    is a code that is also somebody's name, and a quantity with the digits of an identifier.
    """
    echoes, names = Echoes(identifiers.names | identifiers.texts), Echoes(identifiers.names)
    clean: dict[str, Json] = {}
    for key, value in sidecar.items():
        if (
            (key in QUANTITIES and _all_leaves(value, lambda one: _is_quantity(one, identifiers)))
            or (key in CODES and _all_leaves(value, lambda one: _is_code(one, names)))
            or (key in TECHNICAL_NAMES and _is_technical_name(value, echoes))
        ):
            clean[key] = value
    return clean


def _is_quantity(value: Json, identifiers: Identifiers) -> bool:
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return False
    digits = f"{value:.0f}" if float(value).is_integer() else ""
    return len(digits) < SHORTEST_NUMBER or digits not in identifiers.ids


def _is_code(value: Json, names: Echoes) -> bool:
    return isinstance(value, str) and bool(CODE.fullmatch(value)) and not names.are_in(value)


def _is_technical_name(value: Json, echoes: Echoes) -> bool:
    return isinstance(value, str) and bool(PRINTABLE.fullmatch(value)) and not echoes.are_in(value)


def _all_leaves(value: Json, allowed: Callable[[Json], bool]) -> bool:
    if isinstance(value, list):
        return all(_all_leaves(item, allowed) for item in value)
    return allowed(value)


def refuse_echoes(header: bytes, sidecar: Mapping[str, Json], identifiers: Identifiers) -> None:
    """Look once more, independently of the rules above, for identifiers of this series.

    Codes such as AXIAL may be the whole description, so descriptions are not looked for in them.
    Raises RejectedError `nifti_echo`.
    """
    persons = Echoes(identifiers.ids | identifiers.names)
    echoes = Echoes(identifiers.ids | identifiers.names | identifiers.texts)
    raw = header.decode("latin-1").casefold()
    found = any(token.casefold() in raw for token in echoes.tokens) or any(
        (persons if key in CODES else echoes).are_in(text)
        for key, value in sidecar.items()
        for text in _texts(value)
    )
    if found:
        raise RejectedError("an identifier is left in a cleaned NIfTI", code="nifti_echo")


def _texts(value: Json) -> list[str]:
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []


class Echoes:
    """Looks for values as whole words, in any case of letters; for numbers also beside letters."""

    def __init__(self, tokens: Iterable[str]) -> None:
        self.tokens = sorted(tokens)
        numbers = [one for one in self.tokens if (one[0] + one[-1]).isdecimal()]
        words = [one for one in self.tokens if not (one[0] + one[-1]).isdecimal()]
        parts = [rf"(?<!\d)(?:{_any_of(numbers)})(?!\d)"] if numbers else []
        parts += [rf"(?<![^\W_])(?:{_any_of(words)})(?![^\W_])"] if words else []
        self._pattern = re.compile("|".join(parts), re.IGNORECASE)

    def are_in(self, text: str) -> bool:
        return bool(self.tokens) and self._pattern.search(text) is not None


def _any_of(tokens: Iterable[str]) -> str:
    return "|".join(map(re.escape, tokens))
