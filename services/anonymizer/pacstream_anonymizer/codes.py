"""Coded concepts (PS3.3 section 8.8): a code of a public scheme stays, with its meaning if that is
made of known words, else with the dictionary's; a local code may say anything and is replaced."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from pydicom.sr.codedict import codes
from pydicom.sr.coding import snomed_mapping

from pacstream_anonymizer import descriptors

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
        "BI",
        "C4",
        "HL7V3",
        "ICDO3",
        "ISO3166_1",
        "ISO639_1",
        "ISO639_2",
        "ITIS_TSN",
        "NCDR",
        "NICIP",
        "PUBCHEM_CID",
        "RFC5646",
        "SCPECG",
        "UBERON",
        "UNS",
    )
)
"""Coding Scheme Designators of PS3.16 section 8."""

PLAIN_VALUE = re.compile(r"(?=.*\d)[A-Za-z0-9.:-]{1,18}|[A-Za-z]{2,3}", re.ASCII)
VERSION = re.compile(r"\d{1,8}|\d{1,4}(?:\.\d{1,4}){1,2}[a-z]?", re.ASCII)
UNIT = re.compile(r"[!-\[\]_-~]{1,16}", re.ASCII)


SEMANTIC_TAG = re.compile(r" \([a-z /]+\)$")
"""What SNOMED CT adds to a name to make it unique: `Brain structure (body structure)`."""


@dataclass(frozen=True)
class Concept:
    value: str
    scheme: str
    meaning: str
    version: str = ""


LOCAL = Concept("REMOVED", "99REMOVED", "REMOVED")
"""Stands for every code of a scheme that is not public."""


@functools.cache
def _meanings() -> dict[tuple[str, str], frozenset[str]]:
    """What the context groups call a code, by scheme and value."""
    found: dict[tuple[str, str], set[str]] = {}
    for scheme in codes.schemes():
        for concept in getattr(codes, scheme).concepts.values():
            meaning = SEMANTIC_TAG.sub("", concept.meaning)[:64]
            found.setdefault((concept.scheme_designator, concept.value), set()).add(meaning)
    for retired, current in snomed_mapping["SRT"].items():
        if ("SCT", current) in found:
            found["SRT", retired] = found["SCT", current]
    return {code: frozenset(meanings) for code, meanings in found.items()}


@functools.lru_cache(maxsize=4096)
def cleaned(value: str, scheme: str, meaning: str = "", version: str = "") -> Concept:
    """The concept to release. A meaning of known words stays; else it is the dictionary's, or, of
    a code that no dictionary here has, the value."""
    known = _meanings().get((scheme, value), frozenset())
    pattern = UNIT if scheme == "UCUM" else PLAIN_VALUE
    if not known and not (scheme in PUBLIC_SCHEMES and pattern.fullmatch(value)):
        return LOCAL
    if meaning not in known and not (meaning and descriptors.cleaned(meaning) == meaning):
        meaning = min(known, key=lambda text: (len(text), text), default=value)
    return Concept(value, scheme, meaning, version if VERSION.fullmatch(version) else "")
