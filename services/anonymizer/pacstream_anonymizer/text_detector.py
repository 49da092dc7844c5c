"""`python -m pacstream_anonymizer.text_detector FD`: looks for text in pixels, until FD ends.

A line of JSON with a path comes in, one with the number of boxes goes out, or `failed` with a code.
The detector of rapidocr alone: whether there is text, not what it says. Its model lies in the
wheel; nothing is fetched.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pacstream_anonymizer.rendering import (
    NoPictureError,
    Picture,
    frame_count,
    header,
    rendered,
)

MODEL = "PP-OCRv6_det_small.onnx"

CONFIDENCE = 0.5
"""Of a box, 0 to 1. Burned-in names that are 8 pixels high reach 0.55, larger ones 0.6 to 0.9."""
TALLEST = 96
"""Pixels, or a third of a small picture: what is larger in both directions is no line of text. The
outline of a body is taken for one with confidence 0.8."""
ENLARGED = 2
"""How much a frame that fits into one tile is: small letters are found better then."""
TILE, OVERLAP = 960, TALLEST
"""Pixels of the frame: what the detector is given at once, and what neighbours share. It shrinks
larger pictures, and small text with them."""
FRAMES = 8
"""Of a multi-frame image: the first, the last, and others between at equal distances."""

Detect = Callable[[NDArray[np.uint8]], Sequence[tuple[float, float]]]
"""Width and height of each box in rows x columns x 3 of 8 bits."""


def sampled(frames: int) -> list[int]:
    """The frames to look at, counted from 0."""
    if frames <= FRAMES:
        return list(range(frames))
    return sorted({round(step * (frames - 1) / (FRAMES - 1)) for step in range(FRAMES)})


def tiles(picture: Picture) -> Iterator[Picture]:
    """Overlapping parts that cover the picture."""
    step = TILE - OVERLAP
    for top in range(0, max(1, picture.shape[0] - OVERLAP), step):
        for left in range(0, max(1, picture.shape[1] - OVERLAP), step):
            yield picture[top : top + TILE, left : left + TILE]


def boxes_in(path: Path, detect: Detect) -> int:
    """Boxes in the first sampled frame that has any. Raises NoPictureError."""
    head = header(path)
    for index in sampled(frame_count(head)):
        picture = rendered(path, head, index)
        factor = ENLARGED if max(picture.shape[:2]) <= TILE else 1
        found = sum(_lines_in(tile, factor, detect) for tile in tiles(picture))
        if found:
            return found
    return 0


def _lines_in(tile: Picture, factor: int, detect: Detect) -> int:
    """The boxes that have the shape of a line of text."""
    tallest = min(TALLEST, min(tile.shape[:2]) / 3) * factor
    image = Image.fromarray(tile).convert("RGB")
    size = (image.width * factor, image.height * factor)
    boxes = detect(np.asarray(image.resize(size, Image.Resampling.BICUBIC)))
    return sum(min(box) <= tallest for box in boxes)


def rapidocr_detector() -> Detect:
    """Raises FileNotFoundError if the wheel has another model."""
    import rapidocr

    model = Path(rapidocr.__file__).parent / "models" / MODEL
    if not model.is_file():
        raise FileNotFoundError(MODEL)
    engine = rapidocr.RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.use_cls": False,
            "Global.use_rec": False,
            "Det.model_path": str(model),
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
        }
    )

    def detect(picture: NDArray[np.uint8]) -> list[tuple[float, float]]:
        result = engine(picture, use_det=True, use_cls=False, use_rec=False, box_thresh=CONFIDENCE)
        boxes = getattr(result, "boxes", None)
        corners = [] if boxes is None else [np.asarray(box) for box in boxes]
        return [(float(np.ptp(one[:, 0])), float(np.ptp(one[:, 1]))) for one in corners]

    return detect


def answer(request: bytes, detect: Detect) -> dict[str, Any]:
    """What a line of JSON is answered with: no text of an exception, which may quote a value."""
    try:
        return {"boxes": boxes_in(Path(json.loads(request)["path"]), detect)}
    except NoPictureError as error:
        return {"failed": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever it is, nobody has looked
        return {"failed": type(error).__name__}


def main() -> None:
    detect = rapidocr_detector()
    with socket.socket(fileno=int(sys.argv[1])) as line, line.makefile("rwb") as lines:
        for request in lines:
            lines.write(json.dumps(answer(request, detect)).encode() + b"\n")
            lines.flush()


if __name__ == "__main__":
    main()
