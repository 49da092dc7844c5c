"""The same pixels in other transfer syntaxes."""

from __future__ import annotations

import zlib
from pathlib import Path

import gdcm
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import UID

from tests.unit.anonymizer.instances import saved

DEFLATED_FRAMES = UID("1.2.840.10008.1.2.8.1")


def compressed(picture: Dataset, frames: int, transfer_syntax: str, path: Path) -> Path:
    """A Part 10 file of a native picture, by GDCM; it encodes frames one by one."""
    size = len(picture.PixelData) // frames
    whole = picture.PixelData
    parts = []
    if "NumberOfFrames" in picture:
        del picture.NumberOfFrames
    for number in range(frames):
        picture.PixelData = whole[number * size : (number + 1) * size]
        coded = _recoded(saved(picture, path), transfer_syntax)
        parts.append(get_frame(coded.PixelData, 0, number_of_frames=1))
    coded.PixelData = encapsulate(parts)
    if frames > 1:
        coded.NumberOfFrames = frames
    return saved(coded, path, transfer_syntax)


def _recoded(path: Path, transfer_syntax: str) -> Dataset:
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    number = gdcm.TransferSyntax.GetTSType(str(transfer_syntax))
    change.SetTransferSyntax(gdcm.TransferSyntax(number))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return dcmread(path)


def deflated(picture: Dataset, frames: int, path: Path) -> Path:
    """The same with frames of whole bytes in Deflated Image Frame Compression (PS3.5 A.4.13)."""
    size = len(picture.PixelData) // frames
    parts = []
    for number in range(frames):
        stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        frame = picture.PixelData[number * size : (number + 1) * size]
        content = stream.compress(frame) + stream.flush()
        parts.append(content + b"\0" * (len(content) % 2))
    picture.PixelData = encapsulate(parts)
    picture["PixelData"].VR, picture["PixelData"].is_undefined_length = "OB", True
    return saved(picture, path, DEFLATED_FRAMES)
