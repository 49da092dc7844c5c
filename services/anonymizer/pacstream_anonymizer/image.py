"""The Image Pixel module (PS3.3 section C.7.6.3) in numbers, and what black is in it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pacstream_anonymizer.cleaner import value_of
from pacstream_anonymizer.encoding import Encoding
from pacstream_anonymizer.parser import Element
from pacstream_anonymizer.pixels import (
    ALLOCATED,
    COLUMNS,
    PHOTOMETRIC,
    ROWS,
    SAMPLES,
    frames_of,
    number_of,
)
from pacstream_anonymizer.refusal import Refusal

STORED, HIGH_BIT, SIGNED, PLANAR = 0x00280101, 0x00280102, 0x00280103, 0x00280006
LUT_DESCRIPTOR, LUTS = 0x00281101, (0x00281201, 0x00281202, 0x00281203)

GREYS = frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"})
HALVED = "YBR_FULL_422"
"""Native pixels lie in pairs: two of Y, one of Cb, one of Cr."""
COLOURS = frozenset({"RGB", "YBR_FULL", HALVED})
FROM_RGB = frozenset({"YBR_ICT", "YBR_RCT"})
"""Of JPEG 2000 only: a decoder gives RGB."""
DEPTHS = frozenset({1, 8, 16, 32, 64})


@dataclass(frozen=True)
class Image:
    """`darkest` is the pixel value that a palette maps to the least light."""

    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    planar: int
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    darkest: int = 0

    @property
    def frame_bits(self) -> int:
        """Of a native frame, without padding (PS3.5 section 8.1.1)."""
        samples = 2 if self.photometric == HALVED else self.samples
        return self.rows * self.columns * samples * self.allocated

    @property
    def step(self) -> int:
        """Bits below a sample in its word."""
        return self.high_bit + 1 - self.stored

    def black(self, photometric: str = "") -> tuple[int, ...]:
        """The value of each sample of a black pixel, if need be of another interpretation."""
        photometric = photometric or self.photometric
        middle = 1 << (self.stored - 1)
        if photometric == "PALETTE COLOR":
            return (self.darkest,)
        if photometric == "MONOCHROME1":
            return ((middle if self.signed else 1 << self.stored) - 1,)
        if photometric == "MONOCHROME2":
            return (-middle if self.signed else 0,)
        return (0, middle, middle) if photometric.startswith("YBR") else (0, 0, 0)

    def word(self, value: int) -> int:
        """How a sample stands in its allocated bits, the unused ones included: those below it are
        zero, those above it repeat its sign."""
        return (value << self.step) & ((1 << self.allocated) - 1)


def image_of(elements: list[Element], encoding: Encoding) -> Image:
    """Refusal `regions_not_applied` if it is none whose pixels are understood here."""
    number = {
        tag: number_of(elements, tag, encoding)
        for tag in (ROWS, COLUMNS, SAMPLES, PLANAR, ALLOCATED, STORED, HIGH_BIT, SIGNED)
    }
    photometric = (value_of(elements, PHOTOMETRIC) or b"").decode("latin-1").strip(" \0")
    image = Image(
        rows=number[ROWS],
        columns=number[COLUMNS],
        frames=frames_of(elements),
        samples=number[SAMPLES],
        photometric=photometric,
        planar=number[PLANAR],
        allocated=number[ALLOCATED],
        stored=number[STORED],
        high_bit=number[HIGH_BIT],
        signed=number[SIGNED] == 1,
        darkest=_darkest(elements, encoding) if photometric == "PALETTE COLOR" else 0,
    )
    if not _is_understood(image):
        raise Refusal("regions_not_applied")
    return image


def _is_understood(image: Image) -> bool:
    colours = image.photometric in COLOURS | FROM_RGB
    return (
        image.samples == (3 if colours else 1)
        and (colours or image.photometric in GREYS)
        and image.allocated in DEPTHS
        and 0 < image.stored <= image.allocated
        and image.stored - 1 <= image.high_bit < image.allocated
        and image.planar in (0, 1)
        and not (image.photometric == HALVED and (image.columns % 2 or image.planar))
        and not (colours and (image.signed or image.stored < 8))
    )


def _darkest(elements: list[Element], encoding: Encoding) -> int:
    """The pixel value that the palette maps to the least light (PS3.3 section C.7.6.3.1.5). With a
    segmented palette, which is not unfolded here, the first one."""
    descriptor = value_of(elements, LUT_DESCRIPTOR) or b""
    tables = [value_of(elements, tag) or b"" for tag in LUTS]
    if len(descriptor) != 6:
        raise Refusal("regions_not_applied")
    count, first, bits = struct.unpack(encoding.order + "3H", descriptor)
    count = count or 1 << 16
    sizes = {len(table) for table in tables}
    if sizes == {count * 2}:
        lights = [struct.unpack(f"{encoding.order}{count}H", table) for table in tables]
    elif bits == 8 and sizes <= {count, count + count % 2}:
        lights = [struct.unpack(f"{count}B", table[:count]) for table in tables]
    else:
        return int(first)
    darkest = min(range(count), key=lambda entry: sum(light[entry] for light in lights))
    return int(first) + darkest
