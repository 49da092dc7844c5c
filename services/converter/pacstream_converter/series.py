"""From the complete originals of one series to clean products with a record. Knows neither the bus
nor the command line; may run twice, and in several threads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pacstream.messages import Series
from pacstream_converter.cleaner import clean_image
from pacstream_converter.dcm2niix import Dcm2niix, Verdict
from pacstream_converter.originals import Original
from pacstream_converter.products import slices_converted, volume_names, write_products
from pacstream_converter.record import Conversion, Counts, write_record
from pacstream_converter.workspace import workspace


@dataclass(frozen=True)
class SeriesFiles:
    """A series to convert, and where its products go.

    `originals` are all of its instances. Products are called like `stem` with a suffix. `series`
    holds what identifies it: that may not be in a `release`. `inputs` goes into the record.
    """

    originals: Sequence[Original]
    series: Series
    stem: Path
    release: bool = True
    inputs: str = ""


def convert(files: SeriesFiles, run: Path, converter: Dcm2niix) -> Conversion:
    """Convert, clean, write. `run` is a folder in the trusted zone for work in progress.

    Everything is clean before the first product is written; the record is written last. Raises
    RejectedError `nifti_echo`, `bad_nifti`, `bad_sidecar`, `output_not_writable`,
    `dcm2niix_missing`; RetryLaterError `disk`, `interrupted`.
    """
    images = [original for original in files.originals if original.slices]
    counts = _counts(files.originals, images)
    if not images:
        verdict = _verdict_without_images(files.originals)
        return Conversion(verdict.state, verdict.reason, counts)
    with workspace(run) as work:
        verdict, outputs = converter.convert(_linked(images, work / "in"), work)
        if not verdict.state.startswith("converted"):
            return Conversion(verdict.state, verdict.reason, counts)
        cleaned = [clean_image(output, files.series, release=files.release) for output in outputs]
        volumes = write_products(cleaned, volume_names(outputs), files.stem)
    counts = replace(counts, converted=len(images), slices_converted=slices_converted(cleaned))
    verdict = _reconciled(verdict, counts)
    conversion = Conversion(verdict.state, verdict.reason, counts, volumes)
    return replace(conversion, record=write_record(conversion, files.stem, files.inputs))


def _counts(originals: Sequence[Original], images: Sequence[Original]) -> Counts:
    excluded = Counter(original.reason for original in originals if not original.slices)
    return Counts(
        instances=len(originals),
        excluded=dict(sorted(excluded.items())),
        slices_expected=sum(image.slices for image in images),
    )


def _linked(images: Sequence[Original], folder: Path) -> Path:
    """A folder with links to these instances, so that no other file takes part."""
    folder.mkdir()
    for number, image in enumerate(images):
        (folder / f"{number:06}.dcm").symlink_to(image.path)
    return folder


def _verdict_without_images(originals: Sequence[Original]) -> Verdict:
    """The commonest reason; nothing readable at all is a failure, not a property of the series."""
    reasons = Counter(original.reason for original in originals if original.reason != "unreadable")
    if not reasons:
        return Verdict("failed", "unreadable" if originals else "no_instances")
    return Verdict("not_an_image", min(reasons, key=lambda reason: (-reasons[reason], reason)))


def _reconciled(verdict: Verdict, counts: Counts) -> Verdict:
    """Warn if slices are lost or invented, unless dcm2niix has warned already."""
    if verdict.state != "converted":
        return verdict
    if "unreadable" in counts.excluded:
        return Verdict("converted_with_warnings", "unreadable_instances")
    if counts.slices_converted != counts.slices_expected:
        return Verdict("converted_with_warnings", "slices_differ")
    return verdict
