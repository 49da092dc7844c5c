"""Frames of encapsulated pixel data (PS3.5 section A.4), decoded to be changed, and encoded without
loss: RLE, or deflate where the frames were deflated. For the redactor's process only."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder, get_encoder
from pydicom.uid import JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes

from pacstream_anonymizer.encoding import DEFLATED_FRAMES, RLE
from pacstream_anonymizer.image import HALVED, Image

Samples = NDArray[Any]
"""Rows x columns, or rows x columns x samples."""

EXTENDING = frozenset({*JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes})
"""Their decoders leave the bits above a negative sample empty."""

LEVEL = 6


class CodecError(Exception):
    """The frames can't be decoded or encoded; the text is a code."""


@dataclass(frozen=True)
class Frame:
    """Samples, and the Photometric Interpretation that they have by now."""

    samples: Samples
    photometric: str


def decoded(content: BinaryIO, transfer_syntax: str, image: Image) -> Iterator[Frame]:
    """Each frame of the pixel data at the file's position. Raises CodecError, and whatever
    decoders raise."""
    if transfer_syntax == DEFLATED_FRAMES:
        for frame in generate_frames(content, number_of_frames=image.frames):
            yield Frame(unfolded(_inflated(frame, image), image), image.photometric)
        return
    decoder = get_decoder(transfer_syntax)
    for samples, told in decoder.iter_array(
        content,
        raw=True,
        allow_excess_frames=False,
        correct_unused_bits=False,
        apply_jls_sign_correction=False,
        apply_j2k_sign_correction=False,
        **_description(image, image.photometric),
    ):
        yield Frame(_fitted(samples, transfer_syntax, image), _plain(told))


def _description(image: Image, photometric: str) -> dict[str, Any]:
    given = asdict(image)
    names = {"rows": "rows", "columns": "columns", "samples": "samples_per_pixel"}
    names |= {"allocated": "bits_allocated", "stored": "bits_stored"}
    return {
        **{pydicoms: given[ours] for ours, pydicoms in names.items()},
        "number_of_frames": image.frames,
        "photometric_interpretation": photometric,
        "pixel_representation": int(image.signed),
        "planar_configuration": image.planar,
        "pixel_keyword": "PixelData",
    }


def _plain(told: dict[str, Any]) -> str:
    """A decoder gives each pixel all of its samples."""
    photometric = str(told["photometric_interpretation"])
    return "YBR_FULL" if photometric == HALVED else photometric


def container(image: Image) -> np.dtype[Any]:
    """What holds the allocated bits; a bit is held by a byte."""
    size = max(1, image.allocated // 8)
    return np.dtype(f"<{'i' if image.signed else 'u'}{size}")


def _fitted(samples: Samples, transfer_syntax: str, image: Image) -> Samples:
    """In the container of the header: codecs choose one by the precision of their stream."""
    wanted = container(image)
    if samples.dtype.itemsize > wanted.itemsize:
        raise CodecError("depth")
    if image.signed and transfer_syntax in EXTENDING:
        unused = 8 * samples.dtype.itemsize - image.stored
        if unused > 0:
            samples = samples << unused >> unused
    return samples.astype(wanted)


def encoded(frame: Frame, transfer_syntax: str, image: Image) -> bytes:
    """A frame of even length, in the transfer syntax that `written_as` says."""
    if transfer_syntax == DEFLATED_FRAMES:
        stream = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        content = stream.compress(_folded(frame.samples, image)) + stream.flush()
    else:
        given = _description(image, frame.photometric) | {"planar_configuration": 0}
        given["number_of_frames"] = 1
        content = get_encoder(RLE).encode(frame.samples, **given)
    return content + b"\0" * (len(content) % 2)


def written_as(transfer_syntax: str) -> str:
    return DEFLATED_FRAMES if transfer_syntax == DEFLATED_FRAMES else RLE


def _inflated(frame: bytes, image: Image) -> bytes:
    size = -(-image.frame_bits // 8)
    content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(frame, size + 1)
    if not size <= len(content) <= size + size % 2:
        raise CodecError("length")
    return content[:size]


def unfolded(content: bytes, image: Image) -> Samples:
    """The samples of a native frame in little endian. Pixels that share colours are not known."""
    if image.photometric == HALVED:
        raise CodecError("subsampled")
    shape: tuple[int, ...] = (image.rows, image.columns)
    if image.allocated == 1:
        bits = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")
        return bits[: image.rows * image.columns].reshape(shape)
    samples = np.frombuffer(content, container(image))
    if image.samples == 1:
        return samples.reshape(shape).copy()
    if image.planar:
        return samples.reshape(image.samples, *shape).transpose(1, 2, 0).copy()
    return samples.reshape(*shape, image.samples).copy()


def _folded(samples: Samples, image: Image) -> bytes:
    """What `unfolded` was made of."""
    if image.allocated == 1:
        return np.packbits(samples.ravel(), bitorder="little").tobytes()
    if image.samples > 1 and image.planar:
        samples = samples.transpose(2, 0, 1)
    return samples.tobytes()
