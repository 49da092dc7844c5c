"""Files for the gate: an original as a site writes it, and a release of it made by hand."""

from __future__ import annotations

import io
from pathlib import Path

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pacstream import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION
from pacstream_anonymizer.gate import Claims, Gate
from pacstream_anonymizer.refusal import Echo, Refusal
from tests.unit.anonymizer.instances import an_instance, saved

NEW_UIDS = {
    "SOPInstanceUID": "2.25.11",
    "StudyInstanceUID": "2.25.12",
    "SeriesInstanceUID": "2.25.13",
    "FrameOfReferenceUID": "2.25.14",
}
IDENTIFYING = (
    "PatientBirthDate",
    "AccessionNumber",
    "ReferringPhysicianName",
    "SeriesDescription",
    "PixelData",
)
NO_OPTION = Claims()


def a_release(**attributes: object) -> Dataset:
    """What is left of `an_instance`, clean, and `attributes`."""
    data_set = an_instance(**NEW_UIDS, PatientName="P1", PatientID="P1")
    for keyword in IDENTIFYING:
        if keyword in data_set:
            del data_set[keyword]
    data_set.SpecificCharacterSet = "ISO_IR 192"
    data_set.PatientIdentityRemoved = "YES"
    for keyword, value in attributes.items():
        setattr(data_set, keyword, value)
    return data_set


def written(data_set: Dataset, *, implicit: bool = False) -> bytes:
    """The bytes up to pixel data, with the file meta of a release."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION
    data_set.file_meta = meta
    buffer = io.BytesIO()
    data_set.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def verdict(
    original: Dataset,
    released: Dataset | bytes,
    folder: Path,
    claims: Claims = NO_OPTION,
    gate: Gate | None = None,
) -> str:
    """`passed`, the reason, or `emptied` and the tags; the same with and without memory."""
    source = saved(original, folder / "original.dcm")
    content = released if isinstance(released, bytes) else written(released)
    one = gate or Gate()
    results = [_result(g, source, content, claims) for g in (one, one, Gate(), Gate(remembered=0))]
    assert len(set(results)) == 1, results
    return results[0]


def _result(gate: Gate, source: Path, released: bytes, claims: Claims) -> str:
    try:
        gate.check(source, source.read_bytes(), released, None, claims)
    except Echo as echo:
        return "emptied " + " ".join(sorted(".".join(f"{t:08X}" for t in p) for p in echo.paths))
    except Refusal as refusal:
        return refusal.reason
    return "passed"
