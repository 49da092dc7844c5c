"""Transfer syntaxes (PS3.5 section 10 and Annex A): how a data set lies in its bytes."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from pacstream_anonymizer.refusal import Refusal

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED_LITTLE = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
JPEG_FAMILY = "1.2.840.10008.1.2.4."

VIDEO = frozenset(f"{JPEG_FAMILY}{number}" for number in range(100, 109))
REFERENCED = frozenset(f"{JPEG_FAMILY}{number}" for number in (94, 95, 204, 205))
"""JPIP: the pixels are elsewhere."""


@dataclass(frozen=True)
class Encoding:
    """`uid` is the transfer syntax; native pixel data has no fragments."""

    uid: str
    implicit: bool = False
    little: bool = True
    deflated: bool = False
    encapsulated: bool = False

    @property
    def order(self) -> str:
        """The byte order as struct writes it."""
        return "<" if self.little else ">"


IMPLICIT = Encoding(IMPLICIT_LITTLE, implicit=True)

NATIVE = {
    IMPLICIT_LITTLE: IMPLICIT,
    EXPLICIT_LITTLE: Encoding(EXPLICIT_LITTLE),
    DEFLATED_LITTLE: Encoding(DEFLATED_LITTLE, deflated=True),
    EXPLICIT_BIG: Encoding(EXPLICIT_BIG, little=False),
}


@functools.lru_cache(maxsize=256)
def encoding_of(transfer_syntax: str) -> Encoding:
    """The encoding of a transfer syntax; Refusal if it is none that this engine knows."""
    if transfer_syntax in NATIVE:
        return NATIVE[transfer_syntax]
    if transfer_syntax in VIDEO or transfer_syntax.rpartition(".")[0] in VIDEO:
        raise Refusal("video_or_photo")
    jpeg = re.fullmatch(re.escape(JPEG_FAMILY) + r"[0-9]{2,3}", transfer_syntax, re.ASCII)
    if transfer_syntax in (RLE, DEFLATED_FRAMES) or (jpeg and transfer_syntax not in REFERENCED):
        return Encoding(transfer_syntax, encapsulated=True)
    raise Refusal("unsupported_transfer_syntax")
