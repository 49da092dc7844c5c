"""What is known of a converted series: values of its original headers, and of each product.

Facts are taken in the trusted zone. What a rule makes of them goes on, they themselves do not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import pydicom
from nibabel.filebasedimages import ImageFileError
from pydicom.dataset import Dataset

from pacstream.errors import RejectedError, RetryLaterError
from pacstream.skim import skim_file
from pacstream_converter.bids.consistency import Grid
from pacstream_converter.bids.rules import Json, Values
from pacstream_converter.originals import BAD_HEADER

DESCRIPTIONS = ("SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName")

MILLISECONDS = ("EchoTime", "InversionTime", "RepetitionTime")
"""Seconds in a sidecar, milliseconds in DICOM: rules speak DICOM's language."""

FROM_SIDECAR = (*("FlipAngle", "ImageType", "MRAcquisitionType", "PulseSequenceName"),)

NESTED = (
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "RadiopharmaceuticalInformationSequence",
)
"""Sequences with values that single-frame objects have at top level (PS3.3 section C.7.6.16), and
those of PET."""

LONGEST = 1024
"""Characters of a value that rules can look at."""

NO_TEXT = frozenset({"SQ", "OB", "OD", "OF", "OL", "OV", "OW", "UN", "UT"})

ACQUISITION_DATE, ACQUISITION_TIME = 0x00080022, 0x00080032

PARTS = (
    ("phase", re.compile(r"^(P|PHASE|PHASE MAP|PHASE_MAP)$")),
    ("real", re.compile(r"^(R|REAL)$")),
    ("imag", re.compile(r"^(I|IMAGINARY)$")),
    ("mag", re.compile(r"^(M|MAGNITUDE|M_FFE|M_SE|M_IR)$")),
)
SUFFIX_PARTS = {"ph": "phase", "real": "real", "imaginary": "imag"}

SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
"""Units of time in a NIfTI header."""

OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "S": "I", "I": "S"}


@dataclass(frozen=True)
class Header:
    """Of one series: `values` of its first image, and when its first image was acquired."""

    values: Values = field(repr=False)
    date: str = field(repr=False)
    time: str = field(repr=False)

    def first(self, keyword: str) -> str:
        return next(iter(self.values.get(keyword, ())), "")

    @property
    def order(self) -> tuple[str, float, str, str]:
        """Series of one session, as they were acquired."""
        number = self.first("SeriesNumber")
        return (
            self.first("StudyDate") + self.first("StudyTime"),
            float(number) if re.fullmatch(r"\d{1,9}", number) else float("inf"),
            f"{self.date} {self.time}",
            self.first("SeriesInstanceUID"),
        )


@dataclass(frozen=True)
class Product:
    """A NIfTI file, cleaned, with its sidecar. `suffix` is dcm2niix's: `e1`, `ph`, or empty."""

    image: Path = field(repr=False)
    suffix: str
    sidecar: Mapping[str, Json]
    values: Values = field(repr=False)
    grid: Grid

    @property
    def companions(self) -> list[Path]:
        """Gradient tables; the sidecar is written anew."""
        stem = str(self.image).removesuffix(".nii.gz")
        return [path for end in (".bval", ".bvec") if (path := Path(stem + end)).is_file()]


def read_header(originals: Sequence[Path]) -> Header:
    """Raises RejectedError `original_missing` or `unreadable`, RetryLaterError `disk`."""
    try:
        dataset = _first_readable(originals)
        moments = sorted(moment for path in originals if (moment := _moment(path)))
    except FileNotFoundError:
        raise RejectedError("an original is not there", code="original_missing") from None
    except OSError:
        raise RetryLaterError("an original can't be read", code="disk") from None
    values = dict(_values(dataset))
    date, time = moments[0] if moments else ("", "")
    own = Header(values, "", "")
    return Header(
        values,
        date or own.first("SeriesDate") or own.first("StudyDate"),
        time or own.first("SeriesTime") or own.first("StudyTime"),
    )


def _first_readable(originals: Sequence[Path]) -> Dataset:
    for path in originals:
        try:
            return pydicom.dcmread(path, stop_before_pixels=True)
        except BAD_HEADER:
            continue
    raise RejectedError("no original can be read", code="unreadable")


def _moment(path: Path) -> tuple[str, str] | None:
    """Date and time of an instance's acquisition, if they stand where they are quickly found."""
    skimmed = skim_file(path, {ACQUISITION_DATE, ACQUISITION_TIME})
    if skimmed is None:
        return None
    date, time = (
        skimmed.elements.get(tag, (b"", b""))[1].decode("ascii", "replace").strip(" \0")
        for tag in (ACQUISITION_DATE, ACQUISITION_TIME)
    )
    return (date, time) if date and time else None


def _values(dataset: Dataset) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What is nested first, so that what stands at top level replaces it."""
    for keyword in NESTED:
        for item in list(dataset.get(keyword, ()))[:1]:
            yield from _values_of_item(item)
    yield from _own_values(dataset)


def _values_of_item(item: Dataset) -> Iterator[tuple[str, tuple[str, ...]]]:
    for element in item:
        if element.VR == "SQ":
            for inner in list(element.value)[:1]:
                yield from _values_of_item(inner)
    yield from _own_values(item)


def _own_values(dataset: Dataset) -> Iterator[tuple[str, tuple[str, ...]]]:
    for tag in sorted(dataset.keys()):
        try:
            element = dataset[tag]
            if not element.keyword or element.VR in NO_TEXT or element.is_empty:
                continue
            values = tuple(_texts(element.value))
        except BAD_HEADER:
            continue
        if values:
            yield element.keyword, values


def _texts(value: Any) -> list[str]:
    several = value if isinstance(value, (list, pydicom.multival.MultiValue)) else [value]
    texts = [str(one).strip(" \0")[:LONGEST] for one in several]
    return [text for text in texts if text]


def read_products(images: Iterable[tuple[Path, str]], header: Header) -> list[Product]:
    """The products of one series, each with its suffix. Raises RejectedError `bad_nifti` or
    `bad_sidecar`, RetryLaterError `disk`."""
    try:
        read = [(image, suffix, _sidecar(image)) for image, suffix in images]
        times = sorted({_number(sidecar.get("EchoTime")) for _, _, sidecar in read} - {0.0})
        suffixes = tuple(suffix for _, suffix, _ in read if suffix)
        products = []
        for image, suffix, sidecar in read:
            grid, axes = geometry(image)
            found = _found(image, suffix, sidecar, times)
            values = _told(sidecar, header) | found | _sizes(grid, axes, sidecar)
            values["Part"] = tuple(filter(None, [part_of(suffix, values.get("ImageType", ()))]))
            values["Products"] = suffixes
            told = {name: value for name, value in values.items() if value}
            products.append(Product(image, suffix, sidecar, told, grid))
        return products
    except OSError:
        raise RetryLaterError("a product can't be read", code="disk") from None


def _sidecar(image: Path) -> dict[str, Json]:
    path = Path(str(image).removesuffix(".nii.gz") + ".json")
    try:
        sidecar = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        raise RejectedError("a sidecar is no JSON", code="bad_sidecar") from None
    if not isinstance(sidecar, dict):
        raise RejectedError("a sidecar is no JSON object", code="bad_sidecar")
    return sidecar


def _number(value: Json) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _told(sidecar: Mapping[str, Json], header: Header) -> dict[str, tuple[str, ...]]:
    """The header's values, or those of the sidecar, which is of this product alone."""
    values = dict(header.values)
    for keyword in MILLISECONDS:
        if keyword in sidecar:
            values[keyword] = (f"{_number(sidecar[keyword]) * 1000:.10g}",)
    for keyword in FROM_SIDECAR:
        if keyword in sidecar:
            values[keyword] = tuple(_texts(sidecar[keyword])) or values.get(keyword, ())
    values["Description"] = tuple(
        one for keyword in DESCRIPTIONS for one in values.get(keyword, ())
    )
    return values


def _found(
    image: Path, suffix: str, sidecar: Mapping[str, Json], echoes: Sequence[float]
) -> dict[str, tuple[str, ...]]:
    """What the files tell."""
    found = {
        "Gradients": "yes" if Path(str(image).removesuffix(".nii.gz") + ".bval").is_file() else "",
        "Product": suffix,
        "Echo": _echo(_number(sidecar.get("EchoTime")), echoes),
    }
    return {name: (value,) for name, value in found.items() if value}


def _sizes(
    grid: Grid, axes: Sequence[str | None], sidecar: Mapping[str, Json]
) -> dict[str, tuple[str, ...]]:
    way = phase_encoding(str(sidecar.get("PhaseEncodingDirection", "")), axes)
    return {
        "Volumes": (str(grid.volumes),),
        "Slices": (str(grid.shape[2] if len(grid.shape) > 2 else 1),),
        "PhaseEncoding": (way,) if way else (),
    }


def geometry(image: Path) -> tuple[Grid, Sequence[str | None]]:
    """Its grid, and where each axis points to (R, A, S and their opposites). Raises RejectedError
    `bad_nifti`, OSError."""
    try:
        nifti = nibabel.load(image)
        zooms, (_, unit) = nifti.header.get_zooms(), nifti.header.get_xyzt_units()
        step = float(zooms[3]) * SECONDS.get(unit, 1.0) if len(zooms) > 3 else 0.0
        return Grid(tuple(map(int, nifti.shape)), step), nibabel.aff2axcodes(nifti.affine)
    except (ImageFileError, EOFError, ValueError):
        raise RejectedError("a product is no NIfTI file", code="bad_nifti") from None


def phase_encoding(direction: str, axes: Sequence[str | None]) -> str:
    """`AP` for a polarity from anterior to posterior; empty if it is not known. `direction` is
    BIDS's PhaseEncodingDirection: an axis of the image, `-` against it."""
    position = "ijk".find(direction[:1]) if direction else -1
    to = axes[position] if 0 <= position < len(axes) else None
    if to is None:
        return ""
    return to + OPPOSITE[to] if direction.endswith("-") else OPPOSITE[to] + to


def _echo(time: float, echoes: Sequence[float]) -> str:
    return str(echoes.index(time) + 1) if len(echoes) > 1 and time in echoes else ""


def part_of(suffix: str, image_type: Sequence[str]) -> str:
    """What of the complex signal a product shows; empty if nothing tells."""
    for piece in suffix.split("_"):
        if piece in SUFFIX_PARTS:
            return SUFFIX_PARTS[piece]
    for part, pattern in PARTS:
        if any(pattern.match(value) for value in image_type[2:]):
            return part
    return ""
