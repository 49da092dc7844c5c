"""`python -m pacstream_anonymizer.redactor FD`: black rectangles in compressed frames, and a look
whether they are in a written file, until FD ends.

A line of JSON with a question comes in, one with the answer goes out, or `failed` with a code. What
a decoder may do to a process it does to this one: memory and time are limited.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import resource
import signal
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.pixels import iter_pixels, pixel_array

from pacstream_anonymizer.codec import (
    CodecError,
    Samples,
    decoded,
    encoded,
    written_as,
)
from pacstream_anonymizer.encoding import DEFLATED_FRAMES, DEFLATED_LITTLE
from pacstream_anonymizer.frames import END, HEAD, ITEM, LARGEST_OFFSET
from pacstream_anonymizer.image import HALVED, Image
from pacstream_anonymizer.profile import Rectangle

MEMORY = 4 << 30
"""Bytes of address space: the largest frames in colour, a few times over, and the libraries."""
SECONDS = 330
"""A question after which nobody waits for the answer any more ends the process."""


def black_out(question: dict[str, Any]) -> dict[str, Any]:
    """Write the pixel data element of a file anew into another one, black where it is to be.

    The answer has the Photometric Interpretation of what was written, and a digest of its samples.
    """
    image = Image(**question["image"])
    transfer_syntax = question["transfer_syntax"]
    digest = hashlib.sha256()
    photometric = ""
    with Path(question["source"]).open("rb") as source, Path(question["target"]).open("r+b") as out:
        source.seek(question["offset"])
        writer = _Writer(out, image.frames)
        for frame in decoded(source, transfer_syntax, image):
            photometric = photometric or frame.photometric
            if frame.photometric != photometric:
                raise CodecError("photometric")
            black = [value << image.step for value in image.black(photometric)]
            for left, top, width, height in question["rectangles"]:
                area = frame.samples[top : top + height, left : left + width]
                area[...] = black if image.samples > 1 else black[0]
            digest.update(frame.samples.tobytes())
            writer.add(encoded(frame, written_as(transfer_syntax), image))
        writer.end()
    return {"photometric": photometric, "digest": digest.hexdigest()}


class _Writer:
    """Writes an encapsulated pixel data element, a fragment each frame (PS3.5 section A.4)."""

    def __init__(self, file: BinaryIO, frames: int) -> None:
        self._file = file
        self._frames = frames
        self._offsets: list[int] = []
        self._at = 0
        file.write(HEAD)
        file.write(ITEM.pack(0xFFFE, 0xE000, 4 * frames))
        self._table = file.tell()
        file.write(bytes(4 * frames))

    def add(self, frame: bytes) -> None:
        self._offsets.append(self._at)
        self._at += ITEM.size + len(frame)
        if self._at > LARGEST_OFFSET:
            raise CodecError("too_large")
        self._file.write(ITEM.pack(0xFFFE, 0xE000, len(frame)))
        self._file.write(frame)

    def end(self) -> None:
        if len(self._offsets) != self._frames:
            raise CodecError("frames")
        self._file.write(END)
        self._file.seek(self._table)
        self._file.write(struct.pack(f"<{self._frames}L", *self._offsets))


def look(question: dict[str, Any]) -> dict[str, Any]:
    """Whether a written file is black where it is to be, and holds the samples with that digest,
    if there is one: read from its own header, by a library that had no part in writing it."""
    path = Path(question["path"])
    head = dcmread(path, stop_before_pixels=True)
    wanted = question.get("digest", "")
    digest = hashlib.sha256()
    count = 0
    for samples in _written(path, head):
        count += 1
        if not all(_is_black(samples, head, one) for one in question["rectangles"]):
            return {"black": False}
        if wanted:
            digest.update(samples.tobytes())
    is_whole = count == int(head.get("NumberOfFrames") or 1)
    return {"black": is_whole and wanted in ("", digest.hexdigest())}


def _written(path: Path, head: Dataset) -> Iterator[Samples]:
    transfer_syntax = head.file_meta.TransferSyntaxUID
    if transfer_syntax == DEFLATED_FRAMES:
        yield from _inflated(path)
        return
    # Frame by frame from the file, but where all of it was deflated.
    source = dcmread(path) if transfer_syntax == DEFLATED_LITTLE else path
    frames = int(head.get("NumberOfFrames") or 1)
    if head.BitsAllocated == 1:
        # Frames of bits need not begin with a byte: pydicom reads all at once, or wrongly.
        whole = pixel_array(source, raw=True)
        yield from whole.reshape(frames, head.Rows, head.Columns)
    elif head.PhotometricInterpretation == HALVED:
        # pydicom forgets about them after the first frame.
        for index in range(frames):
            yield pixel_array(source, index=index, raw=True, correct_unused_bits=False)
    else:
        yield from iter_pixels(source, raw=True, correct_unused_bits=False)


def _inflated(path: Path) -> Iterator[Samples]:
    """pydicom has no decoder for deflated frames."""
    data_set = dcmread(path)
    image = Image(
        rows=data_set.Rows,
        columns=data_set.Columns,
        frames=int(data_set.get("NumberOfFrames") or 1),
        samples=data_set.SamplesPerPixel,
        photometric=data_set.PhotometricInterpretation,
        planar=int(data_set.get("PlanarConfiguration") or 0),
        allocated=data_set.BitsAllocated,
        stored=data_set.BitsStored,
        high_bit=data_set.HighBit,
        signed=data_set.PixelRepresentation == 1,
    )
    for frame in decoded(io.BytesIO(data_set.PixelData), DEFLATED_FRAMES, image):
        yield frame.samples


def _is_black(samples: Samples, head: Dataset, rectangle: Rectangle) -> bool:
    left, top, width, height = rectangle
    area = samples[top : top + height, left : left + width]
    if area.shape[:2] != (height, width):
        return False
    pixel = area[0, 0]
    if not (area == pixel).all():
        return False
    values = [int(value) for value in np.atleast_1d(pixel)]
    return head.PhotometricInterpretation == "PALETTE COLOR" or values == _darkest(head)


def _darkest(head: Dataset) -> list[int]:
    """Samples of a pixel without light."""
    bits, kind = int(head.BitsStored), str(head.PhotometricInterpretation)
    lowest = -(1 << (bits - 1)) if head.PixelRepresentation else 0
    if kind.startswith("MONOCHROME"):
        step = int(head.HighBit) + 1 - bits
        return [(lowest if kind.endswith("2") else lowest + (1 << bits) - 1) << step]
    if kind == "RGB":
        return [0, 0, 0]
    middle = 1 << (bits - 1)
    return [0, middle, middle]


def answer(request: bytes) -> dict[str, Any]:
    """What a line of JSON is answered with: no text of an exception, which may quote a value."""
    try:
        question = json.loads(request)
        return {"black_out": black_out, "look": look}[question["do"]](question)
    except CodecError as error:
        return {"failed": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever it is, nothing was done
        return {"failed": type(error).__name__}


def main(arguments: Sequence[str] = sys.argv) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with (
        contextlib.suppress(BrokenPipeError),
        socket.socket(fileno=int(arguments[1])) as line,
        line.makefile("rwb") as lines,
    ):
        for request in lines:
            signal.alarm(SECONDS)
            lines.write(json.dumps(answer(request)).encode() + b"\n")
            lines.flush()
            signal.alarm(0)


if __name__ == "__main__":
    main()
