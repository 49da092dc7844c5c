"""Where the products of a conversion lie, what they are called, and how they get there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from isal import isal_zlib

from pacstream.archive import Archive, inside, replacing, write_atomically
from pacstream.keys import load_key
from pacstream.messages import Order
from pacstream.pseudonyms import release_series_folder
from pacstream.results import originals_folder, output_errors
from pacstream_converter.cleaner import CleanImage
from pacstream_converter.dcm2niix import STEM
from pacstream_converter.record import Volume

BLOCK = 1 << 20

LEVEL = 2
"""ISA-L at level 2: the size of zlib's level 1 at four times its speed."""

GZIP_FORMAT = 31
"""The largest window (15) in a gzip container (+16), whose header then has no time and no name."""

FIXED_SUFFIX = re.compile(
    r"(_(ADC|MoCo|PS|ROI\d{1,2}|Raw|e\d{1,3}|fieldmaphz|i\d{1,5}|imaginary|ph|phMag|real|t\d{1,5}"
    r"|(Eq|Tilt)(_\d{1,3})?))+"
)
"""Suffixes of dcm2niix's own making. Coil names, which come from the data, are not among them."""

OVERLAY = re.compile(r"_ROI\d+")
RESLICED = re.compile(r"_(Eq|Tilt|ROI\d+)")
"""Copies of a volume in another geometry, and overlays: no slices of the series' own."""


def products_folder(order: Order, archive: Archive, issuer: str = "") -> Path:
    """The series folder, in the release or among the originals, beside which the products lie.
    `issuer` is that of the instances' patient ID.

    Raises ZoneError if it would not be below the batch's output folder.
    """
    out = Path(order.out)
    if order.actions.anonymize:
        key = load_key(archive.keys, order.project, order.key_id)
        return inside(out, release_series_folder(order, key, issuer))
    return originals_folder(order)


def volume_names(images: Iterable[Path]) -> dict[Path, str]:
    """For each of dcm2niix's files what to append to the folder's name: nothing, `-e1`, `-2` ...

    The hyphen keeps products of one series apart from those of its neighbour: `00000-MR_2` is a
    folder name that another series may have, `00000-MR-2` is none.
    """
    names: dict[Path, str] = {}
    number = 1
    for image in sorted(images):
        suffix = image.stem.removeprefix(STEM)
        if suffix == "":
            names[image] = ""
        elif FIXED_SUFFIX.fullmatch(suffix):
            names[image] = f"-{suffix[1:]}"
        else:
            number += 1
            names[image] = f"-{number}"
    return names


def is_overlay(image: Path) -> bool:
    """A drawing of 60xx overlays (PS3.3 section C.9.2): it may be writing."""
    return bool(OVERLAY.search(image.stem))


def slices_converted(images: Iterable[CleanImage]) -> int:
    """Slices of all volumes, without dcm2niix's resliced copies.

    `x_ADC` holds all volumes of a Philips diffusion series and `x` those without the derived one.
    """
    slices = {image.source.stem: image.slices for image in images}
    return sum(
        count
        for stem, count in slices.items()
        if not RESLICED.search(stem) and f"{stem}_ADC" not in slices
    )


def write_products(
    images: Iterable[CleanImage], names: dict[Path, str], stem: Path
) -> tuple[Volume, ...]:
    """Write each image and its companions as `stem` with its name and a suffix.

    Raises RejectedError `output_not_writable` or RetryLaterError `disk`.
    """
    with output_errors():
        return tuple(_write(image, f"{stem.name}{names[image.source]}", stem) for image in images)


def _write(image: CleanImage, name: str, beside: Path) -> Volume:
    files: dict[str, Path] = {}
    for suffix, content in sorted(image.companions.items()):
        files[suffix] = beside.with_name(f"{name}{suffix}")
        write_atomically(files[suffix], content)
    files[".nii.gz"] = beside.with_name(f"{name}.nii.gz")
    with replacing(files[".nii.gz"]) as part:
        _compress(image, part)
    return Volume(files, image.shape, bool(RESLICED.search(image.source.stem)))


def _compress(image: CleanImage, target: Path) -> None:
    """gzip (RFC 1952) of nothing but the image: no time, no file name."""
    compressor = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, GZIP_FORMAT)
    with target.open("wb") as sink, image.source.open("rb") as source:
        sink.write(compressor.compress(image.header))
        source.seek(image.voxels_at)
        while block := source.read(BLOCK):
            sink.write(compressor.compress(block))
        sink.write(compressor.flush())
