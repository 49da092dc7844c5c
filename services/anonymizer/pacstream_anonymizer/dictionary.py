"""The data dictionary (PS3.6) as VR by tag. Repeating groups are not in it: none is released."""

from __future__ import annotations

from pydicom.datadict import DicomDictionary

NEWER = {
    **dict.fromkeys((0x00100012, 0x00100013, 0x00100016, 0x00100042, 0x00100045), "LT"),
    **dict.fromkeys((0x00081301, 0x00081302, 0x00081303, 0x00081304, 0x00100011), "SQ"),
    **dict.fromkeys((0x00100014, 0x00100015, 0x00100041, 0x00100043, 0x00100044), "SQ"),
    **dict.fromkeys((0x0040A034, 0x0040A035, 0x0040B034, 0x0040B036), "DT"),
    **dict.fromkeys((0x0040B03B, 0x0040B03F, 0x3004007F), "LO"),
    **dict.fromkeys((0x00100047, 0x0040E012), "UR"),
    0x00100046: "SQ",
    0x00102162: "UC",
}
"""Attributes of Table E.1-1 that pydicom 3.0's dictionary lacks (PS3.6 2026d)."""

VR_BY_TAG: dict[int, str] = NEWER | {
    int(tag): str(entry[0])
    for tag, entry in DicomDictionary.items()
    if entry[0] not in ("NONE", "OB or NONE")
}

LONG_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
"""VRs with a 32 bit length in explicit VR encodings (PS3.5 section 7.1.2)."""

SHORT_VRS = frozenset(
    (
        "AE",
        "AS",
        "AT",
        "CS",
        "DA",
        "DS",
        "DT",
        "FD",
        "FL",
        "IS",
        "LO",
        "LT",
        "PN",
        "SH",
        "SL",
        "SS",
        "ST",
        "TM",
        "UI",
        "UL",
        "US",
    )
)

FREE_TEXT_VRS = frozenset({"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
STRING_VRS = FREE_TEXT_VRS | {"AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI"}
BULK_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW"})
NUMBER_SIZES = {
    "AT": 4,
    "FD": 8,
    "FL": 4,
    "SL": 4,
    "SS": 2,
    "SV": 8,
    "UL": 4,
    "US": 2,
    "UV": 8,
}


def family(vr: str) -> str:
    """`items`, `string`, `bytes` or `unknown`: no value of one can be a value of another."""
    if vr == "SQ":
        return "items"
    if vr in STRING_VRS:
        return "string"
    return "bytes" if vr[:2] in BULK_VRS or vr[:2] in NUMBER_SIZES else "unknown"
