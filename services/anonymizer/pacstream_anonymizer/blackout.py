"""Which rectangles of an image are to be black, and by which rule of the profile."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pacstream_anonymizer import triage
from pacstream_anonymizer.cleaner import value_of
from pacstream_anonymizer.encoding import IMPLICIT, Encoding
from pacstream_anonymizer.parser import Element
from pacstream_anonymizer.profile import Profile, Rectangle
from pacstream_anonymizer.refusal import Refusal
from pacstream_anonymizer.signature import Signature

REGIONS, SPATIAL_FORMAT = 0x00186011, 0x00186012
CORNERS = (0x00186018, 0x0018601A, 0x0018601C, 0x0018601E)
"""Region Location Min X0, Min Y0, Max X1, Max Y1 (PS3.3 section C.8.5.5), all inside."""

SHOWN = frozenset({1, 2, 3, 4})
"""Region Spatial Formats of what was measured: 2D, M-mode, spectrum, curve. The others are graphics
and nothing at all, which may be text."""

Box = tuple[int, int, int, int]
"""Left, top, right and bottom; right and bottom are behind the last pixel."""


@dataclass(frozen=True)
class Blackout:
    """`rules` have the rectangles of each rule that applies, as the profile or the image gives
    them."""

    rules: tuple[tuple[str, tuple[Rectangle, ...]], ...]

    @property
    def rectangles(self) -> tuple[Rectangle, ...]:
        return tuple(one for _, rectangles in self.rules for one in rectangles)


def blackout_of(
    elements: list[Element], encoding: Encoding, profile: Profile, sop_class_uid: str
) -> Blackout | None:
    """None if the profile says nothing of such an image.

    Refusal `regions_unfit` if the regions of an ultrasound image are none of it, or leave nothing
    to black out.
    """
    if not profile.regions and not profile.keep_ultrasound_regions:
        return None
    signature = Signature.of(elements, encoding)
    rules = [
        (f"regions:{number}", regions.rectangles)
        for number, regions in enumerate(profile.regions, 1)
        if signature.fits(regions)
    ]
    if profile.keep_ultrasound_regions and triage.is_ultrasound(sop_class_uid):
        kept = list(_regions(elements, encoding, signature))
        if kept:
            rules.append(("regions:ultrasound", _around(kept, signature)))
    return Blackout(tuple(rules)) if rules else None


def _around(kept: Sequence[Box], image: Signature) -> tuple[Rectangle, ...]:
    rectangles = tuple(outside(kept, image.columns, image.rows))
    if not rectangles:
        raise Refusal("regions_unfit")
    return rectangles


def _regions(elements: list[Element], encoding: Encoding, image: Signature) -> Iterator[Box]:
    """The regions that show what was measured."""
    for sequence in elements:
        if sequence.tag != REGIONS:
            continue
        # PS3.5 section 6.2.2: an UN sequence is implicit VR little endian inside
        inside = IMPLICIT if sequence.vr == "UN" else encoding
        for item in sequence.items or []:
            form = value_of(item, SPATIAL_FORMAT) or b""
            if len(form) != 2 or struct.unpack(inside.order + "H", form)[0] not in SHOWN:
                continue
            left, top, last_x, last_y = (_place(item, tag, inside) for tag in CORNERS)
            # Some count to the width instead of the last column.
            right, bottom = min(last_x + 1, image.columns), min(last_y + 1, image.rows)
            if last_x > image.columns or last_y > image.rows or left >= right or top >= bottom:
                raise Refusal("regions_unfit")
            yield left, top, right, bottom


def _place(item: list[Element], tag: int, encoding: Encoding) -> int:
    value = value_of(item, tag) or b""
    if len(value) != 4:
        raise Refusal("regions_unfit")
    number: int = struct.unpack(encoding.order + "L", value)[0]
    return number


def outside(kept: Sequence[Box], columns: int, rows: int) -> Iterator[Rectangle]:
    """Rectangles that do not overlap and cover all of an image but the boxes `kept`."""
    edges = sorted({0, rows, *(top for _, top, _, _ in kept), *(low for *_, low in kept)})
    for top, bottom in pairwise(edges):
        left = 0
        for start, stop in sorted((a, c) for a, b, c, d in kept if b <= top and bottom <= d):
            if start > left:
                yield left, top, start - left, bottom - top
            left = max(left, stop)
        if left < columns:
            yield left, top, columns - left, bottom - top
