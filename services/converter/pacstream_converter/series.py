"""From the complete originals of one series to clean products with a record. Knows neither the bus
nor the command line; may run twice, and in several threads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pacstream.errors import RetryLaterError
from pacstream.messages import Series
from pacstream.results import output_errors
from pacstream_converter.cleaner import CleanImage, clean_image
from pacstream_converter.contact_sheet import contact_sheet
from pacstream_converter.dcm2niix import Dcm2niix, Verdict
from pacstream_converter.deface.face import deface, marked
from pacstream_converter.deface.registration import FaceError
from pacstream_converter.identifiers import Identifiers, identifiers_of
from pacstream_converter.limits import NO_LIMITS, Limits
from pacstream_converter.originals import Original
from pacstream_converter.products import (
    is_overlay,
    slices_converted,
    volume_names,
    write_products,
)
from pacstream_converter.record import Conversion, Counts, remove_former, write_record
from pacstream_converter.workspace import workspace


@dataclass(frozen=True)
class SeriesFiles:
    """A series to convert, and where its products go.

    `originals` are all of its instances. Products are called like `stem` with a suffix. `series`
    holds what identifies it: that may not be in a `release`. `limits` are those of its profile;
    `inputs` goes into the record. `deface`: no volume goes out with a face.
    """

    originals: Sequence[Original]
    series: Series
    stem: Path
    release: bool = True
    limits: Limits = NO_LIMITS
    inputs: str = ""
    deface: bool = False


def convert(files: SeriesFiles, run: Path, converter: Dcm2niix) -> Conversion:
    """Convert, clean, write. `run` is a folder in the trusted zone for work in progress.

    Everything is clean before the first product is written; the record is written last. Raises
    RejectedError `nifti_echo`, `bad_nifti`, `bad_sidecar`, `output_not_writable`,
    `dcm2niix_missing`; RetryLaterError `disk`, `interrupted`.
    """
    images = [one for one in files.originals if one.slices and not _kept_out(one, files)]
    counts = _counts(files, images)
    if not images:
        return _withdrawn(_without_images(files, counts), files.stem)
    with workspace(run) as work:
        verdict, outputs = converter.convert(_linked(images, work / "in"), work)
        counts = replace(counts, slices_missing=verdict.missing)
        if not verdict.has_volumes:
            return Conversion(verdict.state, verdict.reason, counts)
        outputs = [one for one in outputs if not (files.release and is_overlay(one))]
        identifiers = _identifiers(files)
        try:
            cleaned = [_clean(output, identifiers, files.deface) for output in outputs]
        except FaceError as error:
            return _withdrawn(Conversion("withheld", error.code, counts), files.stem)
        volumes = write_products(cleaned, volume_names(outputs), files.stem)
    counts = replace(counts, converted=len(images), slices_converted=slices_converted(cleaned))
    verdict = _reconciled(verdict, counts)
    conversion = Conversion(verdict.state, verdict.reason, counts, volumes)
    with output_errors():
        remove_former(conversion, files.stem)
        return replace(conversion, record=write_record(conversion, files.stem, files.inputs))


def _identifiers(files: SeriesFiles) -> Identifiers | None:
    if not files.release:
        return None
    try:
        return identifiers_of(files.series, (one.path for one in files.originals))
    except OSError:
        raise RetryLaterError("an original can't be read", code="disk") from None


def _clean(output: Path, identifiers: Identifiers | None, is_defaced: bool) -> CleanImage:
    """With pictures of it: what is told and shown is told of and shown after the face is off."""
    found = deface(output) if is_defaced else None
    image = clean_image(output, identifiers)
    companions = {**image.companions, ".png": contact_sheet(output)}
    if found:
        companions[".json"] = marked(image.companions.get(".json", b"{}"))
        companions[".deface.png"] = found.picture
    return replace(image, companions=companions)


def _withdrawn(conversion: Conversion, stem: Path) -> Conversion:
    """What an earlier conversion has given away and this one withholds is taken back."""
    if conversion.state == "withheld":
        with output_errors():
            remove_former(conversion, stem)
    return conversion


def left_out(files: SeriesFiles) -> dict[Path, str]:
    """The instances without a part in the products, and why."""
    reasons = {one.path: one.reason or _kept_out(one, files) for one in files.originals}
    return {path: reason for path, reason in reasons.items() if reason}


def _kept_out(original: Original, files: SeriesFiles) -> str:
    return original.kept_out or files.limits.reason(original.kind) if files.release else ""


def _counts(files: SeriesFiles, images: Sequence[Original]) -> Counts:
    excluded = Counter(left_out(files).values())
    return Counts(
        instances=len(files.originals),
        excluded=dict(sorted(excluded.items())),
        slices_expected=sum(image.slices for image in images),
    )


def _linked(images: Sequence[Original], folder: Path) -> Path:
    """A folder with links to these instances, so that no other file takes part."""
    folder.mkdir()
    for number, image in enumerate(images):
        (folder / f"{number:06}.dcm").symlink_to(image.path)
    return folder


def _without_images(files: SeriesFiles, counts: Counts) -> Conversion:
    """The commonest reason; nothing readable at all is a failure, not a property of the series."""
    withheld = Counter(_kept_out(one, files) for one in files.originals if one.slices)
    others = Counter(one.reason for one in files.originals if one.reason not in ("", "unreadable"))
    if withheld:
        return Conversion("withheld", _commonest(withheld), counts)
    if others:
        return Conversion("not_an_image", _commonest(others), counts)
    return Conversion("failed", "unreadable" if files.originals else "no_instances", counts)


def _commonest(reasons: Counter[str]) -> str:
    return min(reasons, key=lambda reason: (-reasons[reason], reason))


def _reconciled(verdict: Verdict, counts: Counts) -> Verdict:
    """Slices that are lost or invented, unless dcm2niix has told of them already."""
    if verdict.state == "incomplete" or verdict.reason == "duplicates_removed":
        return verdict
    if "unreadable" in counts.excluded:
        return Verdict("incomplete", "unreadable_instances")
    if counts.slices_converted < counts.slices_expected:
        return Verdict("incomplete", "slices_differ")
    if counts.slices_converted > counts.slices_expected and verdict.state == "converted":
        return Verdict("converted_with_warnings", "slices_differ")
    return verdict
