"""Text in bit streams, in overlays and in pixels."""

from __future__ import annotations

import io
import struct

from PIL import Image
from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
)

from tests.answer_key.key import Action, Check, Fate, FileKey
from tests.answer_key.maker import Maker, Written
from tests.answer_key.naming import path_of

STREAM = "bit streams"


def add_pixel_data(maker: Maker) -> None:
    _add_jpeg(maker)
    _add_jpeg_2000(maker)
    _add_rle(maker)
    _add_graphics(maker)
    _add_burned_in(maker)


def coded(maker: Maker, name: str, frame: bytes, syntax: str, fate: Fate) -> FileKey:
    person = maker.cast.person()
    data_set = maker.instance(person, "CT")
    data_set.BitsAllocated = data_set.BitsStored = 8
    data_set.HighBit, data_set.Rows, data_set.Columns = 7, 16, 16
    data_set.add(DataElement(0x7FE00010, "OB", encapsulate([frame])))
    data_set["PixelData"].is_undefined_length = True
    file = maker.add(name, STREAM, data_set, person, fate, Written(syntax))
    file.frames = frame
    return file


def jpeg(number: int, comment: bytes = b"") -> bytes:
    image = Image.new("L", (16, 16))
    image.putdata([(number * 7 + at * at) % 256 for at in range(256)])
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=95, comment=comment)
    return stream.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">HH", marker, len(content) + 2) + content


def _add_jpeg(maker: Maker) -> None:
    clean = coded(maker, "streams/jpeg.dcm", jpeg(1), JPEGBaseline8Bit, Fate.RELEASED)
    clean.checks.append(Check(STREAM, Action.PIXELS_RETAINED))
    text = maker.hidden(maker.cast.word(), STREAM).encode()
    coded(maker, "streams/jpeg-com.dcm", jpeg(2, text), JPEGBaseline8Bit, Fate.EITHER)
    for at, (marker, start) in enumerate(((0xFFE1, b"Exif\0\0"), (0xFFED, b"Photoshop 3.0\0"))):
        text = maker.hidden(maker.cast.word(), STREAM).encode()
        plain = jpeg(3 + at)
        frame = plain[:2] + segment(marker, start + text) + plain[2:]
        coded(maker, f"streams/jpeg-app{at}.dcm", frame, JPEGBaseline8Bit, Fate.EITHER)
    text = maker.hidden(maker.cast.word(), STREAM).encode()
    coded(maker, "streams/jpeg-after-end.dcm", jpeg(5) + text, JPEGBaseline8Bit, Fate.EITHER)


def _add_jpeg_2000(maker: Maker) -> None:
    image = Image.new("L", (16, 16))
    image.putdata([at * 3 % 256 for at in range(256)])
    stream = io.BytesIO()
    image.save(stream, "JPEG2000", no_jp2=True)
    plain = stream.getvalue()
    clean = coded(maker, "streams/j2k.dcm", plain, JPEG2000Lossless, Fate.RELEASED)
    clean.checks.append(Check(STREAM, Action.PIXELS_RETAINED))
    text = maker.hidden(maker.cast.word(), STREAM).encode()
    at = plain.index(b"\xff\x52")
    frame = plain[:at] + segment(0xFF64, b"\0\1" + text) + plain[at:]
    coded(maker, "streams/j2k-com.dcm", frame, JPEG2000Lossless, Fate.EITHER)


def _add_rle(maker: Maker) -> None:
    packed = b"".join(bytes([127]) + bytes(range(at, at + 128)) for at in (0, 64))
    frame = struct.pack("<16L", 1, 64, *[0] * 14) + packed
    file = coded(maker, "streams/rle.dcm", frame, RLELossless, Fate.RELEASED)
    file.checks.append(Check(STREAM, Action.PIXELS_RETAINED))


def _add_graphics(maker: Maker) -> None:
    """Overlays, curves, icon, signatures, original attributes: copies of what the rules remove."""
    person, category = maker.cast.person(), "graphics"
    data_set = maker.instance(person)
    for group in (0x6000, 0x6002):
        pixels = maker.hidden(maker.cast.word()[:8], category).encode()
        data_set.add(DataElement((group, 0x0010), "US", 8))
        data_set.add(DataElement((group, 0x0011), "US", 8))
        data_set.add(DataElement((group, 0x0022), "LO", maker.hidden(maker.cast.word(), category)))
        data_set.add(DataElement((group, 0x0040), "CS", "G"))
        data_set.add(DataElement((group, 0x0050), "SS", [1, 1]))
        data_set.add(DataElement((group, 0x0100), "US", 1))
        data_set.add(DataElement((group, 0x0102), "US", 0))
        data_set.add(DataElement((group, 0x1500), "LO", maker.hidden(maker.cast.word(), category)))
        data_set.add(DataElement((group, 0x3000), "OW", pixels))
        data_set.add(DataElement((group, 0x4000), "LT", maker.hidden(maker.cast.word(), category)))
    for element in (0x0022, 0x2500, 0x3000):
        text = maker.hidden(maker.cast.word(), category)
        vr = "OW" if element == 0x3000 else "LO"
        value = text.encode() + b"\0" * (len(text) % 2) if vr == "OW" else text
        data_set.add(DataElement((0x5000, element), vr, value))
    icon = Dataset()
    icon.Rows, icon.Columns = 2, 8
    icon.add(DataElement(0x7FE00010, "OW", maker.hidden(maker.cast.word()[:8], category).encode()))
    icon.ImageComments = maker.hidden(maker.cast.word(), category)
    original, inner = Dataset(), Dataset()
    inner.PatientName = maker.hidden(maker.cast.word(), category)
    original.ModifiedAttributesSequence = [inner]
    original.ModifyingSystem = maker.hidden(maker.cast.word(), category)
    signed = Dataset()
    signed.Signature = maker.hidden(maker.cast.word(), category).encode().ljust(16, b"\0")
    data_set.IconImageSequence, data_set.OriginalAttributesSequence = [icon], [original]
    data_set.DigitalSignaturesSequence = [signed]
    encrypted = Dataset()
    encrypted.EncryptedContent = maker.hidden(maker.cast.word(), category).encode().ljust(16, b"\0")
    data_set.EncryptedAttributesSequence = [encrypted]
    nested = Dataset()
    nested.IconImageSequence, nested.OriginalAttributesSequence = [icon], [original]
    data_set.SharedFunctionalGroupsSequence = [nested]
    maker.add("graphics/all.dcm", category, data_set, person)


def _add_burned_in(maker: Maker) -> None:
    """Where text in the pixels is usual, or said to be there: none may come out as it is."""
    suspect: dict[str, dict[str, object]] = {
        "annotation": {"BurnedInAnnotation": "YES"},
        "face": {"RecognizableVisualFeatures": "YES"},
        "screen": {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]},
        "secondary-capture": {
            "SOPClassUID": SecondaryCaptureImageStorage, "ConversionType": "WSD", "Modality": "OT"
        },
        "ultrasound": {"SOPClassUID": UltrasoundImageStorage, "Modality": "US"},
        "private-class": {"SOPClassUID": "1.3.12.2.1107.5.9.1"},
    }  # fmt: skip
    for title, changes in suspect.items():
        person = maker.cast.person()
        data_set = maker.instance(person, "CT", **changes)
        pattern = maker.hidden(maker.cast.word() + maker.cast.word(), "pixels").encode()[:16]
        # Seen as an image it is a few odd pixels; what counts is that these bytes go nowhere.
        maker.key.tokens.pop()
        pixels = bytearray(data_set.PixelData)
        pixels[32:48] = pattern
        data_set["PixelData"].value = bytes(pixels)
        fate = Fate.EITHER
        file = maker.add(f"burned-in/{title}.dcm", "pixels", data_set, person, fate)
        file.pattern = pattern
        file.checks = [
            Check("pixels", Action.PIXELS_HIDDEN),
            *(check for check in file.checks if check.path != path_of("ImageType")),
        ]
