"""What a data set says of pixels that were blacked out and, if they were compressed, written anew
(PS3.3 sections C.7.6.1, C.7.6.3)."""

from __future__ import annotations

import struct

from pacstream_anonymizer.cleaner import value_of
from pacstream_anonymizer.encoding import JPEG_FAMILY, RLE
from pacstream_anonymizer.parser import Element
from pacstream_anonymizer.pixels import PHOTOMETRIC, Pixels
from pacstream_anonymizer.redaction import Redaction
from pacstream_anonymizer.triage import BURNED_IN, IMAGE_TYPE

FUNCTIONAL_GROUPS = (0x52009229, 0x52009230)
DERIVATION = 0x00082111
PLANAR = 0x00280006
LOSSY, LOSSY_RATIO, LOSSY_METHOD = 0x00282110, 0x00282112, 0x00282114
EXTREMES = frozenset({0x00280106, 0x00280107, 0x00280108, 0x00280109, 0x00280110, 0x00280111})
"""Smallest and Largest Pixel Value of image, series and plane."""

SAID = "Burned-in annotation blacked out"
LONGEST = 1024

METHODS = {
    "50": "ISO_10918_1",
    "51": "ISO_10918_1",
    "81": "ISO_14495_1",
    "91": "ISO_15444_1",
    "93": "ISO_15444_2",
    "203": "ISO_15444_15",
}
"""Lossy Image Compression Method (PS3.3 section C.7.6.1.1.5.1), by transfer syntax."""
ALWAYS = frozenset({"50", "51", "81"})
"""These are never without loss; the others may be."""


def derived(
    elements: list[Element], redaction: Redaction, before: str, pixels: Pixels
) -> list[Element]:
    """The cleaned data set, true to its new pixels. `before` is the original's transfer syntax,
    `pixels` its pixel data."""
    anew = {
        BURNED_IN: Element(BURNED_IN, "CS", b"NO"),
        DERIVATION: Element(DERIVATION, "ST", _description(value_of(elements, DERIVATION))),
        **_image_type(elements),
    }
    if redaction.digest:
        anew[PHOTOMETRIC] = Element(PHOTOMETRIC, "CS", redaction.photometric.encode("ascii"))
        if redaction.image.samples > 1 and redaction.encoding.uid == RLE:
            # RLE segments are planes
            anew[PLANAR] = Element(PLANAR, "US", struct.pack("<H", 1))
        anew |= _loss(elements, redaction, before, pixels)
    kept = [one for one in elements if one.tag not in EXTREMES and one.tag not in anew]
    return kept + list(anew.values())


def _description(known: bytes | None) -> bytes:
    said = (known or b"").decode("utf-8").strip(" \0")
    if SAID in said:
        return said.encode()
    return (f"{said[: LONGEST - len(SAID) - 2]}; {SAID}" if said else SAID).encode()


def _image_type(elements: list[Element]) -> dict[int, Element]:
    """With DERIVED as its first value; not of images with functional groups: their acquisition
    attributes may be there for original ones only (as PS3.3 section C.8.13.4)."""
    known = value_of(elements, IMAGE_TYPE) or b""
    if not known.strip(b" \0") or any(one.tag in FUNCTIONAL_GROUPS for one in elements):
        return {}
    _, mark, rest = known.partition(b"\\")
    return {IMAGE_TYPE: Element(IMAGE_TYPE, "CS", b"DERIVED" + mark + rest)}


def _loss(
    elements: list[Element], redaction: Redaction, before: str, pixels: Pixels
) -> dict[int, Element]:
    """That the pixels were compressed with loss once, where only the transfer syntax has told."""
    family, _, number = before.rpartition(".")
    if family + "." != JPEG_FAMILY or number not in METHODS:
        return {}
    told = (value_of(elements, LOSSY) or b"").strip(b" \0")
    if told == b"01" or (told == b"00" and number not in ALWAYS):
        return {}
    image = redaction.image
    size = sum(stop - start for start, stop in pixels.fragments)
    samples = image.rows * image.columns * image.samples * image.frames
    ratio = samples * image.allocated / 8 / max(1, size)
    return {
        LOSSY: Element(LOSSY, "CS", b"01"),
        LOSSY_RATIO: Element(LOSSY_RATIO, "DS", f"{ratio:.4g}".encode()),
        LOSSY_METHOD: Element(LOSSY_METHOD, "CS", METHODS[number].encode()),
    }
