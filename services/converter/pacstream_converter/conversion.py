"""What an order asks for: its series converted, from the originals in the archive."""

from __future__ import annotations

from pathlib import Path

from pacstream.archive import Archive, inside
from pacstream.messages import SeriesConverted, SeriesReceived
from pacstream_converter.dcm2niix import Dcm2niix
from pacstream_converter.limits import limits_of
from pacstream_converter.originals import read_originals
from pacstream_converter.products import products_folder
from pacstream_converter.series import SeriesFiles, convert


def convert_series(
    message: SeriesReceived, archive: Archive, converter: Dcm2niix
) -> SeriesConverted:
    """Convert the listed originals, clean the result, and put it beside the series folder.

    Originals, not the release: de-identified DICOM has lost what dcm2niix needs. Raises
    RejectedError `original_missing` and what `convert` raises; RetryLaterError; ZoneError.
    """
    order = message.order
    originals = read_originals(
        archive.instance_path(order.series.series_uid, uid) for uid in sorted(message.instances)
    )
    issuer = originals[0].issuer if originals else ""
    files = SeriesFiles(
        originals,
        order.series,
        products_folder(order, archive, issuer),
        release=order.actions.anonymize,
        limits=limits_of(archive.root, order.project, order.profile),
    )
    conversion = convert(files, archive.run, converter)
    root, counts = inside(Path(order.out), ""), conversion.counts
    return SeriesConverted(
        batch_id=message.batch_id,
        series_uid=order.series.series_uid,
        state=conversion.state,
        reason=conversion.reason,
        products=tuple(str(product.relative_to(root)) for product in conversion.products),
        slices_expected=counts.slices_expected,
        slices_converted=counts.slices_converted,
        slices_missing=counts.slices_missing,
        excluded=dict(counts.excluded),
    )
