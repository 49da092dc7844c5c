"""From the complete originals of a series to NIfTI products: the whole use case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pacstream.archive import Archive
from pacstream.messages import SeriesConverted, SeriesReceived
from pacstream_converter.cleaner import clean_image
from pacstream_converter.dcm2niix import Dcm2niix, Verdict
from pacstream_converter.originals import Original, read_originals
from pacstream_converter.products import (
    products_folder,
    slices_converted,
    volume_names,
    write_products,
)
from pacstream_converter.workspace import workspace


def convert_series(
    message: SeriesReceived, archive: Archive, converter: Dcm2niix
) -> SeriesConverted:
    """Convert the listed originals, clean the result, and put it beside the series folder.

    Originals, not the release: de-identified DICOM has lost what dcm2niix needs. Everything is
    clean before the first product is written. Raises RejectedError `original_missing`,
    `nifti_echo`, `output_not_writable` and others; RetryLaterError `disk`; ZoneError.
    """
    series = message.order.series
    originals = read_originals(
        archive.instance_path(series.series_uid, uid) for uid in sorted(message.instances)
    )
    issuer = originals[0].issuer if originals else ""
    folder = products_folder(message.order, archive, issuer)
    images = [original for original in originals if original.slices]
    if not images:
        return _converted(message, _verdict_without_images(originals))
    with workspace(archive.run) as work:
        verdict, outputs = converter.convert(_linked(images, work / "in"), work)
        if not verdict.state.startswith("converted"):
            return _converted(message, verdict)
        cleaned = [
            clean_image(output, series, release=message.order.actions.anonymize)
            for output in outputs
        ]
        products = write_products(cleaned, volume_names(outputs), folder, Path(message.order.out))
    expected = sum(image.slices for image in images)
    unreadable = any(original.reason == "unreadable" for original in originals)
    return _converted(
        message, _reconciled(verdict, expected, slices_converted(cleaned), unreadable), products
    )


def _linked(images: Sequence[Original], folder: Path) -> Path:
    """A folder with links to these instances, so that no other file takes part."""
    folder.mkdir()
    for image in images:
        (folder / image.path.name).symlink_to(image.path)
    return folder


def _verdict_without_images(originals: Sequence[Original]) -> Verdict:
    """The commonest reason; nothing readable at all is a failure, not a property of the series."""
    reasons = Counter(original.reason for original in originals if original.reason != "unreadable")
    if not reasons:
        return Verdict("failed", "unreadable" if originals else "no_instances")
    return Verdict("not_an_image", min(reasons, key=lambda reason: (-reasons[reason], reason)))


def _reconciled(verdict: Verdict, expected: int, converted: int, unreadable: bool) -> Verdict:
    """Warn if slices are lost or invented, unless dcm2niix has warned already."""
    if verdict.state != "converted":
        return verdict
    if unreadable:
        return Verdict("converted_with_warnings", "unreadable_instances")
    if converted != expected:
        return Verdict("converted_with_warnings", "slices_differ")
    return verdict


def _converted(
    message: SeriesReceived, verdict: Verdict, products: tuple[str, ...] = ()
) -> SeriesConverted:
    return SeriesConverted(
        batch_id=message.batch_id,
        series_uid=message.order.series.series_uid,
        state=verdict.state,
        reason=verdict.reason,
        products=products,
    )
