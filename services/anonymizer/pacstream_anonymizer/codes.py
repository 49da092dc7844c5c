"""Coded concepts (PS3.3 section 8.8): a code of a public scheme stays, its meaning is taken from
the dictionary; a local code may say anything and is replaced."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from pydicom.sr.codedict import codes
from pydicom.sr.coding import snomed_mapping

PUBLIC_SCHEMES = frozenset(
    (
        "DCM",
        "SCT",
        "SRT",
        "SNM3",
        "UCUM",
        "LN",
        "FMA",
        "RADLEX",
        "NCIt",
        "UMLS",
        "MDC",
        "IBSI",
        "NEU",
        "RXNORM",
        "MSH",
        "I9C",
        "I10",
        "I10P",
    )
)
"""Coding Scheme Designators of PS3.16 section 8."""

PLAIN_VALUE = re.compile(r"(?=.*\d)[A-Za-z0-9.-]{1,18}", re.ASCII)
UNIT = re.compile(r"[!-\[\]_-~]{1,16}", re.ASCII)


SEMANTIC_TAG = re.compile(r" \([a-z /]+\)$")
"""What SNOMED CT adds to a name to make it unique: `Brain structure (body structure)`."""


@dataclass(frozen=True)
class Concept:
    value: str
    scheme: str
    meaning: str


LOCAL = Concept("REMOVED", "99REMOVED", "REMOVED")
"""Stands for every code of a scheme that is not public."""


@functools.cache
def _meanings() -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for scheme in codes.schemes():
        for concept in getattr(codes, scheme).concepts.values():
            code = (concept.scheme_designator, concept.value)
            meaning = SEMANTIC_TAG.sub("", concept.meaning)[:64]
            found[code] = min(found.get(code, meaning), meaning, key=lambda text: (len(text), text))
    for retired, current in snomed_mapping["SRT"].items():
        if ("SCT", current) in found:
            found["SRT", retired] = found["SCT", current]
    return found


@functools.lru_cache(maxsize=4096)
def cleaned(value: str, scheme: str) -> Concept:
    """The concept to release; the meaning of a code that no dictionary here has is its value."""
    known = _meanings().get((scheme, value))
    if known is not None:
        return Concept(value, scheme, known)
    pattern = UNIT if scheme == "UCUM" else PLAIN_VALUE
    if scheme in PUBLIC_SCHEMES and pattern.fullmatch(value):
        return Concept(value, scheme, value)
    return LOCAL
