"""A small picture of an instance, for an operator who decides about it: identified, like the
original. It belongs into the trusted zone."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from pacstream_anonymizer.rendering import frame_count, header, rendered

LARGEST_SIDE = 768
"""Pixels: burned-in text has to be legible."""


def thumbnail(path: Path) -> bytes:
    """A PNG of the middle frame, not enlarged. Raises rendering.NoPictureError."""
    head = header(path)
    picture = Image.fromarray(rendered(path, head, frame_count(head) // 2))
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()
