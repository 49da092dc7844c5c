"""The images of the fake PACS that pacstream ships."""

from pacstream_cli.fake_pacs.datasets import (
    SECONDARY_CAPTURE,
    STORAGE,
    compressed,
    generated,
    make_series,
    uid_from,
    with_other_pixels,
)

__all__ = [
    "SECONDARY_CAPTURE",
    "STORAGE",
    "compressed",
    "generated",
    "make_series",
    "uid_from",
    "with_other_pixels",
]
