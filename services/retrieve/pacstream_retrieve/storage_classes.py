"""What a C-GET proposes to store: an association has room for 128 presentation contexts.

Widely: each common SOP class once, with the common transfer syntaxes; the PACS chooses one for the
class, and fails what it can't send in it. Narrowly: the classes that a modality makes, each
transfer syntax in a context of its own (PS3.8 section 9.3.2.2), so that everything can be sent as
it is stored.
"""

from __future__ import annotations

from functools import cache

from pynetdicom import StoragePresentationContexts, build_context
from pynetdicom.presentation import PresentationContext

from pacstream.associations import Proposal

STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
CONTEXTS = 128

COMMON_SYNTAXES = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
)
"""Explicit and implicit little endian, JPEG lossless, JPEG 2000, JPEG, JPEG-LS, RLE, others."""

RARE_SYNTAXES = (
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.203",
    "1.2.840.10008.1.2.4.102",
    "1.2.840.10008.1.2.4.103",
    "1.2.840.10008.1.2.4.100",
    "1.2.840.10008.1.2.4.101",
    "1.2.840.10008.1.2.4.104",
    "1.2.840.10008.1.2.4.106",
    "1.2.840.10008.1.2.4.107",
    "1.2.840.10008.1.2.4.108",
    "1.2.840.10008.1.2.4.92",
    "1.2.840.10008.1.2.4.93",
    "1.2.840.10008.1.2.4.110",
    "1.2.840.10008.1.2.4.111",
    "1.2.840.10008.1.2.4.112",
    "1.2.840.10008.1.2.8.1",
    "1.2.840.10008.1.2.4.105",
)
"""HTJ2K, MPEG, HEVC, JPEG 2000 part 2, JPEG XL, deflated frames."""

FURTHER = (
    "1.2.840.10008.5.1.4.1.1.30",
    "1.2.840.10008.5.1.4.1.1.88.73",
    "1.2.840.10008.5.1.4.1.1.13.1.4",
    "1.3.12.2.1107.5.9.1",
    "1.3.46.670589.11.0.0.12.1",
    "1.3.46.670589.11.0.0.12.2",
    "1.3.46.670589.11.0.0.12.4",
)
"""Parametric maps, patient radiation dose, breast projections; and private ones that archives are
full of: Siemens non-images; Philips spectra, series data, exam cards."""

_CLASS = "1.2.840.10008.5.1.4.1.1"
SECONDARY_CAPTURE = f"{_CLASS}.7"
OF_MODALITY = {
    "CT": ("2", "2.1", "2.2"),
    "MR": ("4", "4.1", "4.3", "4.2"),
    "PT": ("128", "130", "128.1"),
    "US": ("6.1", "3.1", "6", "3"),
    "CR": ("1",),
    "DX": ("1.1", "1.1.1", "1"),
    "MG": ("1.2", "1.2.1", "13.1.3", "1.1"),
    "XA": ("12.1", "12.1.1", "13.1.1"),
    "RF": ("12.2", "12.2.1", "12.1"),
    "NM": ("20", "5"),
    "SR": ("88.11", "88.22", "88.33", "88.67"),
    "SEG": ("66.4", "66.5"),
    "ES": ("77.1.1", "77.1.1.1", "77.1.4", "77.1.4.1"),
    "RTSTRUCT": ("481.3",),
    "RTDOSE": ("481.2",),
    "RTPLAN": ("481.5", "481.8"),
}
"""SOP classes below _CLASS; Secondary Capture is always added."""
ANY_MODALITY = ("7.1", "7.2", "7.3", "7.4")


def _classes() -> list[str]:
    common = [str(context.abstract_syntax) for context in StoragePresentationContexts]
    return [*common, *FURTHER]


def _proposal(contexts: list[PresentationContext]) -> Proposal:
    """The first contexts that there is room for, each in the role of the storage SCP."""
    fitting = contexts[: CONTEXTS - 1]
    stored = dict.fromkeys(str(context.abstract_syntax) for context in fitting)
    return Proposal([build_context(STUDY_ROOT_GET), *fitting], list(stored))


WIDE = _proposal([build_context(one, list(COMMON_SYNTAXES)) for one in _classes()])


@cache
def narrow(modality: str) -> Proposal:
    """The proposal for what a modality (0008,0060) makes; room that is left is used widely."""
    own = OF_MODALITY.get(modality, ANY_MODALITY)
    classes = [*(f"{_CLASS}.{one}" for one in own), SECONDARY_CAPTURE]
    single = [
        build_context(sop_class, syntax)
        for syntax in (*COMMON_SYNTAXES, *RARE_SYNTAXES)
        for sop_class in classes
    ]
    others = [one for one in _classes() if one not in classes]
    return _proposal([*single, *(build_context(one, list(COMMON_SYNTAXES)) for one in others)])
