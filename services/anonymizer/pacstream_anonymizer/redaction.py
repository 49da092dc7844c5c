"""Rectangles of an instance blacked out: in native pixel data where it is written, in compressed
frames by a process of its own; and a look at what was written, before it counts."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

from pacstream_anonymizer.blackout import Blackout
from pacstream_anonymizer.child import Child
from pacstream_anonymizer.encoding import DEFLATED_FRAMES, RLE, Encoding, encoding_of
from pacstream_anonymizer.image import FROM_RGB, Image, image_of
from pacstream_anonymizer.native import black_out
from pacstream_anonymizer.parser import Content, Element, read_header
from pacstream_anonymizer.pixels import Pixels
from pacstream_anonymizer.refusal import Refusal

COMMAND = (sys.executable, "-m", "pacstream_anonymizer.redactor")

ANSWER_S = 300.0
"""For one instance: some 5 GB of samples."""

PIXEL_DATA = 0x7FE00010


@dataclass(frozen=True)
class Redaction:
    """What is done to the pixels of one instance. `value` is where the value starts in the pixel
    data element that is written; `encoding` is how that lies, `photometric` what its samples
    are; `digest` is of its decoded samples, if it was compressed."""

    blackout: Blackout
    image: Image
    encoding: Encoding
    value: int
    swapped: bool = False
    photometric: str = ""
    digest: str = ""

    def blacken(self, buffer: bytearray | mmap.mmap, start: int) -> None:
        """In the native pixel data element that is at `start`."""
        black_out(
            buffer,
            start + self.value,
            self.image,
            self.blackout.rectangles,
            little=self.encoding.little,
            swapped=self.swapped,
        )


def redaction_of(
    content: Content,
    pixels: Pixels,
    encoding: Encoding,
    elements: list[Element],
    blackout: Blackout,
) -> Redaction:
    """Refusal `regions_not_applied` if the pixels are of a kind that is not understood here."""
    image = image_of(elements, encoding)
    header = read_header(content, pixels.start, pixels.stop, encoding)
    is_native = not encoding.encapsulated
    if header.tag != PIXEL_DATA or (is_native and image.photometric in FROM_RGB):
        raise Refusal("regions_not_applied")
    # PS3.5 annex A.3: smaller samples lie in words there
    swapped = not encoding.little and header.vr == "OW" and image.allocated < 16
    value = header.value - pixels.start
    return Redaction(blackout, image, encoding, value, swapped, image.photometric)


class Redactor:
    """One process for the pixels of all instances, started at the first one."""

    def __init__(self, command: Sequence[str] = COMMAND, *, answer_s: float = ANSWER_S) -> None:
        self._child = Child(command, name="redactor", answer_s=answer_s)

    def compressed(self, source: Path, start: int, redaction: Redaction, target: Path) -> Redaction:
        """Write the encapsulated pixel data element that is at `start` of a file, blacked out and
        without further loss, into `target`, which is there and empty.

        Refusal `regions_not_applied` if it can't be decoded, or the process dies of it.
        """
        transfer_syntax = redaction.encoding.uid
        answer = self._child.ask(
            {
                "do": "black_out",
                "source": str(source.absolute()),
                "offset": start + redaction.value,
                "target": str(target.absolute()),
                "transfer_syntax": transfer_syntax,
                "image": asdict(redaction.image),
                "rectangles": redaction.blackout.rectangles,
            }
        )
        told = answer if isinstance(answer, dict) else {}
        photometric, digest = told.get("photometric"), told.get("digest")
        if not (isinstance(photometric, str) and isinstance(digest, str) and digest):
            raise Refusal("regions_not_applied")
        written = DEFLATED_FRAMES if transfer_syntax == DEFLATED_FRAMES else RLE
        return replace(
            redaction, encoding=encoding_of(written), photometric=photometric, digest=digest
        )

    def check(self, written: Path, redaction: Redaction) -> None:
        """Refusal `regions_not_applied` unless the file is black where it is to be, and has the
        frames that were decoded."""
        answer = self._child.ask(
            {
                "do": "look",
                "path": str(written.absolute()),
                "rectangles": redaction.blackout.rectangles,
                "digest": redaction.digest,
            }
        )
        if not isinstance(answer, dict) or answer.get("black") is not True:
            raise Refusal("regions_not_applied")

    def close(self) -> None:
        self._child.close()


REDACTOR = Redactor()
"""One for the process."""


def blacken_file(file: BinaryIO, start: int, redaction: Redaction) -> None:
    """In a file open for reading and writing whose native pixel data element is at `start`: only
    the pages with rectangles are touched."""
    file.flush()
    with mmap.mmap(file.fileno(), 0) as written:
        redaction.blacken(written, start)
