"""Take the face off a NIfTI file, or say that it has none, or refuse.

What the template's mask covers becomes background: eyes, nose, mouth and chin, and all in front of
and below them to the edge of the image. The mask keeps clear of the brain. Nothing is said of ears
and of the shape of the skull, by which somebody with a second image may still know the person.
"""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from PIL import Image

from pacstream import __version__
from pacstream_converter.deface.registration import (
    BODY,
    FaceError,
    body_of,
    place,
    resampled,
    sitk,
    template,
)

MODALITIES = frozenset({"MR", "CT", "PT"})
"""Whose volumes may show a face, unless they show another part of the body."""

OTHER_PARTS = re.compile(
    r"ABDOMEN|ANKLE|ARM|BREAST|CALF|CHEST|COLON|ELBOW|FEMUR|FOOT|FOREARM|HAND|HEART|HIP|HUMERUS"
    r"|KIDNEY|KNEE|LEG|LIVER|LSPINE|LUNG|PANCREAS|PELVIS|PROSTATE|SHOULDER|THIGH|THORAX|THUMB|TOE"
    r"|UTERUS|WRIST|[LT]SSPINE|TSPINE|CARDIAC"
)
"""Values of Body Part Examined (PS3.16 annex L) that are no part of a head."""

HEAD = re.compile(
    r"head|brain|skull|face|facial|neuro|crani|cran|cerebr|orbit|sinus|neck|h.?n(?![a-z])|kopf"
    r"|sch[aä]e?del|hirn|t[eê]te|cerveau|whole.?body|ganzk[oö]rper",
    re.IGNORECASE,
)
DESCRIPTIONS = ("BodyPart", "SeriesDescription", "ProtocolName", "StudyDescription")

FEWEST_SLICES = 16
SHORTEST_MM = 80.0

PANEL = 192

TEMPLATE = "pydeface 2.1.0"


@dataclass(frozen=True)
class Defaced:
    """`removed` voxels of `voxels`; `picture` is a PNG of what is left."""

    removed: int
    voxels: int
    picture: bytes


def deface(image: Path) -> Defaced | None:
    """Change the uncompressed NIfTI file `image`, with dcm2niix's own sidecar beside it, in place.

    None: it shows no head, and is as it was. Raises FaceError `deface_no_fit` or `deface_small` for
    what may be a head and is not whole enough to find its face; RejectedError `deface_missing`
    without the extra; OSError.
    """
    told = _told(image)
    if told.get("Modality") not in MODALITIES:
        return None
    try:
        volume = _first_volume(image)
        transform = place(volume).transform
    except FaceError:
        if _shows_another_part(told):
            return None
        raise
    mask = _mask(volume, transform)
    _blank(image, mask)
    picture = _picture(_first_volume(image), mask)
    return Defaced(int(np.count_nonzero(mask)), int(mask.size), picture)


def marked(sidecar: bytes) -> bytes:
    """The sidecar of a defaced image, which says so."""
    told = json.loads(sidecar)
    told["Defaced"] = True
    told["DefacingMethod"] = f"pacstream {__version__}, affine registration, mask of {TEMPLATE}"
    return f"{json.dumps(told, indent=1, ensure_ascii=False)}\n".encode()


def _told(image: Path) -> dict[str, Any]:
    """Without a sidecar nothing is known of the image but that it may be a head."""
    try:
        told = json.loads(image.with_suffix(".json").read_text("utf-8", "replace"), strict=False)
    except (FileNotFoundError, ValueError):
        return {"Modality": "MR"}
    return told if isinstance(told, dict) else {"Modality": "MR"}


def _shows_another_part(told: dict[str, Any]) -> bool:
    """By what the header says; it is asked only if the template does not fit."""
    words = " ".join(str(told.get(key, "")) for key in DESCRIPTIONS)
    return bool(OTHER_PARTS.fullmatch(str(told.get("BodyPart", "")).upper())) and not HEAD.search(
        words
    )


def _first_volume(image: Path) -> Any:
    """Raises FaceError `deface_small`, `deface_no_fit`."""
    lib = sitk()
    try:
        volume = lib.ReadImage(str(image))
    except RuntimeError:
        raise FaceError("no image of numbers", code="deface_no_fit") from None
    while volume.GetDimension() > 3:
        size = list(volume.GetSize())
        size[-1] = 0
        volume = lib.Extract(volume, size, [0] * len(size))
    if volume.GetDimension() < 3 or volume.GetNumberOfComponentsPerPixel() > 1:
        raise FaceError("no volume of numbers", code="deface_no_fit")
    lengths = [n * mm for n, mm in zip(volume.GetSize(), volume.GetSpacing(), strict=True)]
    if min(volume.GetSize()) < FEWEST_SLICES or min(lengths) < SHORTEST_MM:
        raise FaceError("a part of a head, or a few slices", code="deface_small")
    return lib.Cast(volume, lib.sitkFloat32)


def _mask(volume: Any, transform: Any) -> Any:
    """Where the face is (slices, rows, columns). Beyond the template, its edge goes on."""
    lib = sitk()
    filter_ = lib.ResampleImageFilter()
    filter_.SetReferenceImage(volume)
    filter_.SetTransform(transform)
    filter_.SetInterpolator(lib.sitkNearestNeighbor)
    filter_.UseNearestNeighborExtrapolatorOn()
    return lib.GetArrayFromImage(filter_.Execute(template("face"))) > 0.5


def _blank(image: Path, mask: Any) -> None:
    """In all volumes, with the least value that is there."""
    nifti = nibabel.load(image)
    voxels = np.memmap(
        image,
        dtype=nifti.header.get_data_dtype(),
        mode="r+",
        offset=nifti.dataobj.offset,
        shape=tuple(reversed(nifti.shape)),
    )
    for one in voxels.reshape(-1, *mask.shape):
        one[mask] = np.nanmin(one)
    voxels.flush()


def _picture(volume: Any, mask: Any) -> bytes:
    """What a person looks at to see that there is no face and that the brain is whole: the head
    from its front and its side, the nearer the brighter, and a slice through its middle."""
    lib = sitk()
    small = resampled(volume, 2.0)
    turned = lib.DICOMOrient(small, "LPS")
    body = lib.GetArrayFromImage(body_of(turned)) == BODY
    values = lib.GetArrayFromImage(turned)
    low, high = np.percentile(values, (1, 99))
    middle = np.clip((values[:, :, values.shape[2] // 2] - low) / max(high - low, 1e-6), 0, 1)
    panels = (_depth(body, 1), _depth(body.transpose(0, 2, 1), 1), middle)
    sheet = Image.new("L", (PANEL * len(panels), PANEL))
    up, along = turned.GetSpacing()[2], turned.GetSpacing()[1]
    for number, panel in enumerate(panels):
        height, width = panel.shape[0] * up, panel.shape[1] * along
        scale = PANEL / max(height, width)
        shown = Image.fromarray((panel[::-1] * 255).astype(np.uint8)).resize(
            (max(round(width * scale), 1), max(round(height * scale), 1))
        )
        sheet.paste(shown, (number * PANEL, 0))
    content = io.BytesIO()
    sheet.save(content, "PNG")
    return content.getvalue()


def _depth(body: Any, axis: int) -> Any:
    """The first of `body` along the axis, the nearer the brighter; 0 where there is nothing."""
    length = body.shape[axis]
    first = np.argmax(body, axis=axis)
    return np.where(body.any(axis=axis), 1 - first / length, 0.0)
