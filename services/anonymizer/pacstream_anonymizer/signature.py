"""What a device says of itself in its images, by which a profile tells what it writes into them."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pacstream_anonymizer import attributes, text
from pacstream_anonymizer.cleaner import value_of
from pacstream_anonymizer.encoding import Encoding
from pacstream_anonymizer.parser import Element
from pacstream_anonymizer.pixels import COLUMNS, ROWS, number_of
from pacstream_anonymizer.profile import DeviceRegions

MODEL, SOFTWARE, MODALITY, IMAGE_TYPE = 0x00081090, 0x00181020, 0x00080060, 0x00080008


@dataclass(frozen=True)
class Signature:
    """`software` with all of its values, a backslash between them; `image_type` value by value."""

    manufacturer: str
    model: str
    software: str
    rows: int
    columns: int
    modality: str
    image_type: tuple[str, ...]

    @classmethod
    def of(cls, elements: list[Element], encoding: Encoding) -> Signature:
        codecs = text.encodings_of(value_of(elements, attributes.CHARACTER_SET) or b"")

        def told(tag: int) -> str:
            return text.decode(value_of(elements, tag) or b"", codecs).strip(" \0")

        return cls(
            manufacturer=told(attributes.MANUFACTURER),
            model=told(MODEL),
            software=told(SOFTWARE),
            rows=number_of(elements, ROWS, encoding),
            columns=number_of(elements, COLUMNS, encoding),
            modality=told(MODALITY),
            image_type=tuple(part.strip() for part in told(IMAGE_TYPE).split("\\")),
        )

    @property
    def table(self) -> str:
        """A `[[regions]]` table for a profile, but for its rectangles."""
        texts = [
            f"{key} = {json.dumps(value, ensure_ascii=False)}"
            for key, value in vars(self).items()
            if value and key not in ("rows", "columns", "image_type")
        ]
        sizes = [f"rows = {self.rows}", f"columns = {self.columns}"]
        return "\n".join(["[[regions]]", *texts, *sizes])

    def fits(self, regions: DeviceRegions) -> bool:
        """Whether a profile means such images. Capitals and spaces around a text do not count."""
        texts = (
            (regions.manufacturer, self.manufacturer),
            (regions.model or self.model, self.model),
            (regions.software or self.software, self.software),
            (regions.modality or self.modality, self.modality),
        )
        return (
            (self.rows, self.columns) == (regions.rows, regions.columns)
            and all(_plain(wanted) == _plain(got) for wanted, got in texts)
            and set(map(_plain, regions.image_type)) <= set(map(_plain, self.image_type))
        )


def _plain(value: str) -> str:
    return " ".join(value.split()).casefold()
