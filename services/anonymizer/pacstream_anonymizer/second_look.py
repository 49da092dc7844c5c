"""A second look at pixels: a text detector that can hold an instance back, and never let one out.

It is off unless PACSTREAM_OCR is set, and needs the extra `ocr`. Detector and decoders run in a
child process, so that what they crash on withholds one instance and ends nothing.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pacstream.errors import InputError
from pacstream_anonymizer.child import Child

TEXT, NOT_SEEN = "text_in_pixels", "pixels_not_seen"
NEEDED = ("rapidocr", "onnxruntime", "numpy", "PIL")
DETECTOR = (sys.executable, "-m", "pacstream_anonymizer.text_detector")

ANSWER_S = 300.0
"""For one instance. A frame takes about a second, a large radiograph ten, and there are eight."""


class SecondLook:
    """One detector, started at the first question."""

    def __init__(self, command: Sequence[str] = DETECTOR, *, answer_s: float = ANSWER_S) -> None:
        self._child = Child(command, name="text detector", answer_s=answer_s)

    def reason(self, path: Path) -> str:
        """Why the pixels of the instance `path` can't be let out: `text_in_pixels`, or
        `pixels_not_seen` if nobody could look; empty if no text was found."""
        answer = self._child.ask({"path": str(path.absolute())})
        # Only a plain "no box" is a no.
        if not isinstance(answer, dict) or type(answer.get("boxes")) is not int:
            return NOT_SEEN
        return TEXT if answer["boxes"] else ""

    def close(self) -> None:
        self._child.close()


DETECTOR_OF_PROCESS = SecondLook()
"""One for the process: a child with a model of its own is no small thing."""


def look_for(*, ocr: bool) -> Callable[[Path], str] | None:
    """The second look, if it is asked for. Raises InputError `ocr_missing` if it is not installed:
    without it nothing may be released then."""
    if not ocr:
        return None
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"PACSTREAM_OCR asks for a text detector, and {', '.join(missing)} is not installed:"
            " pip install 'pacstream[ocr]', or unset PACSTREAM_OCR",
            code="ocr_missing",
        )
    return DETECTOR_OF_PROCESS.reason
