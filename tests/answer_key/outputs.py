"""What an engine has written: bytes, paths and data sets, read with pydicom and nothing of ours."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path as FilePath

from pydicom import Dataset, dcmread
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.encaps import generate_frames
from pydicom.uid import DeflatedExplicitVRLittleEndian

from tests.answer_key.key import AnswerKey, FileKey, Path
from tests.answer_key.maker import text_of_value
from tests.answer_key.safe_rows import safe_vrs


@dataclass(frozen=True)
class Output:
    path: FilePath
    content: bytes
    data_set: Dataset | None
    """None if pydicom finds no DICOM instance in it."""

    @property
    def plain(self) -> bytes:
        """The bytes with a deflated data set inflated: a scan could not see through it."""
        if self.data_set is None or not self.data_set.file_meta:
            return self.content
        if self.data_set.file_meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return self.content
        start = 144 + self.data_set.file_meta.FileMetaInformationGroupLength
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        return self.content[:start] + stream.decompress(self.content[start:])


def outputs_below(folder: FilePath) -> list[Output]:
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            found.append(Output(path.relative_to(folder), content, read(content)))
    return found


def read(content: bytes) -> Dataset | None:
    """All elements of an instance, already decoded; None if it is none, or is broken."""
    try:
        data_set = dcmread(BytesIO(content))
        list(data_set.iterall())
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is no instance then
        return None
    return data_set if "SOPClassUID" in data_set or len(data_set) else None


def matched(key: AnswerKey, outputs: list[Output]) -> dict[str, Output]:
    """Outputs by the name of the input: by InstanceNumber, else AcquisitionNumber, else pixels."""
    by_number = {file.number: file for file in key.files}
    by_pixels = {file.frames: file for file in key.files if file.frames}
    found: dict[str, Output] = {}
    for output in outputs:
        if output.data_set is not None:
            file = _file_of(output.data_set, by_number, by_pixels)
            if file is not None:
                found.setdefault(file.name, output)
    return found


def _file_of(
    data_set: Dataset, by_number: dict[int, FileKey], by_pixels: dict[bytes, FileKey]
) -> FileKey | None:
    for keyword in ("InstanceNumber", "AcquisitionNumber"):
        number = str(data_set.get(keyword) or "")
        if number.isdecimal() and int(number) in by_number:
            return by_number[int(number)]
    return by_pixels.get(frames_of(data_set))


def frames_of(data_set: Dataset) -> bytes:
    pixels = bytes(data_set.get("PixelData") or b"")
    syntax = data_set.file_meta.get("TransferSyntaxUID")
    if not pixels or syntax is None or not syntax.is_encapsulated:
        return pixels
    try:
        return b"".join(generate_frames(pixels, number_of_frames=1))
    except ValueError:
        return b""


def element_at(data_set: Dataset, path: Path) -> DataElement | None:
    for tag, creator, item in path:
        if creator:
            tag = _private_tag(data_set, tag, creator)
        if tag not in data_set:
            return None
        element = data_set[tag]
        if item < 0:
            return _typed(element, creator)
        if element.VR != "SQ" or len(element.value) <= item:
            return None
        data_set = element.value[item]
    return None


def _typed(element: DataElement, creator: str) -> DataElement:
    """With the VR that Table E.3.10-1 gives it: implicit VR tells none, and pydicom knows few."""
    vr = safe_vrs().get((element.tag.group, creator, element.tag.element & 0xFF))
    if vr is None or element.VR != "UN":
        return element
    raw = RawDataElement(element.tag, vr, len(element.value), element.value, 0, True, True)
    return convert_raw_data_element(raw)


def _private_tag(data_set: Dataset, tag: int, creator: str) -> int:
    """The tag in the block that `creator` has reserved here; 0 if it has none."""
    group, low = tag >> 16, tag & 0xFF
    for block in range(0x10, 0x100):
        reserved = data_set.get((group, block))
        if reserved is not None and str(reserved.value).strip() == creator:
            return (group << 16) + (block << 8) + low
    return 0


def value_at(data_set: Dataset, path: Path) -> str | None:
    """The value as text, without padding; None if the element is not there."""
    element = element_at(data_set, path)
    return None if element is None else text_of_value(element).strip(" \0")


def uid_pairs(before: Dataset, after: Dataset) -> Iterator[tuple[str, str]]:
    """UIDs at the same place in input and output, at any depth."""
    for element in before:
        if element.tag not in after:
            continue
        other = after[element.tag]
        if element.VR == "SQ" and other.VR == "SQ":
            for one, two in zip(element.value, other.value, strict=False):
                yield from uid_pairs(one, two)
        elif element.VR == "UI" and other.VR == "UI":
            ours, theirs = text_of_value(element).split("\\"), text_of_value(other).split("\\")
            if len(ours) == len(theirs):
                yield from (pair for pair in zip(ours, theirs, strict=True) if pair[1])
