"""One instance from the trusted zone to the release, or a reason why not.

Only the header is rewritten: pixel data is copied as it is, and what follows it is dropped. Any
doubt and any error withhold the instance.
"""

from __future__ import annotations

import logging
import mmap
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

from pacstream.archive import replacing
from pacstream.errors import PacstreamError, RejectedError, RetryLaterError
from pacstream.logs import event, place_of, ref
from pacstream.messages import Order
from pacstream.pseudonyms import ProjectKey, pseudonym_of, release_series_folder, subject_of
from pacstream_anonymizer import gate, markers, triage
from pacstream_anonymizer.cleaner import Cleaner
from pacstream_anonymizer.codestream import check_fragments
from pacstream_anonymizer.encoding import Encoding, encoding_of
from pacstream_anonymizer.file_meta import FileMeta, read_file_meta, write_file_meta
from pacstream_anonymizer.parser import Content, Element, Parser
from pacstream_anonymizer.pixels import Pixels, find_pixels
from pacstream_anonymizer.profile import DEFAULT, Profile
from pacstream_anonymizer.refusal import Refusal
from pacstream_anonymizer.serializer import serialize
from pacstream_anonymizer.values import Patient

LOG = logging.getLogger(__name__)

LARGEST_INFLATED = 2**31
COMPRESSION_LEVEL = 6


@dataclass(frozen=True)
class Released:
    path: Path


@dataclass(frozen=True)
class Withheld:
    """`reason` is one of refusal.REASONS."""

    reason: str


@dataclass(frozen=True)
class Original:
    """A parsed instance: `content` holds its data set (inflated if it was deflated)."""

    content: Content
    meta: FileMeta
    encoding: Encoding
    elements: list[Element]
    pixels: Pixels | None


def deidentify_instance(
    source: Path,
    order: Order,
    key: ProjectKey,
    out: Path,
    *,
    sop_instance_uid: str = "",
    profile: Profile = DEFAULT,
) -> Released | Withheld:
    """De-identify the file `source` into the release folder of its series below `out`.

    The same input always gives the same bytes at the same path. `sop_instance_uid` is what the
    instance must be, if the caller knows. Raises RejectedError `original_missing` if there is no
    such file and RetryLaterError `disk` if the disk fails; everything else ends in Withheld.
    """
    if not source.is_file():
        raise RejectedError("an original is not there", code="original_missing")
    folder = out / release_series_folder(order, key)
    try:
        with source.open("rb") as file:
            return _release(file.fileno(), source, order, key, folder, sop_instance_uid, profile)
    except Refusal as refusal:
        return Withheld(refusal.reason)
    except OSError:
        raise RetryLaterError("a file can't be read or written", code="disk") from None
    except PacstreamError:
        raise
    except Exception as error:  # noqa: BLE001 - fail closed: whatever it is, nothing is released
        event(
            LOG,
            "de-identification failed",
            logging.ERROR,
            series=ref(order.series.series_uid),
            error=type(error).__name__,
            place=place_of(error.__traceback__),
        )
        return Withheld("error")


def _release(
    handle: int,
    source: Path,
    order: Order,
    key: ProjectKey,
    folder: Path,
    expected: str,
    profile: Profile,
) -> Released:
    if os.fstat(handle).st_size == 0:
        raise Refusal("not_dicom")
    with mmap.mmap(handle, 0, prot=mmap.PROT_READ) as content:
        original = read_original(content)
        identity = triage.identity_of(original.elements)
        triage.check_identity(identity, order, expected, original.meta.sop_instance_uid)
        triage.check_class(identity.sop_class_uid)
        triage.check_content(original.elements)
        if original.pixels is None and triage.is_image(identity.sop_class_uid):
            raise Refusal("truncated")
        if original.pixels:
            check_fragments(original.content, original.pixels.fragments)
        subject = subject_of(order)
        patient = Patient(key, pseudonym_of(order, key), key.shift_days(*subject))
        cleaned = Cleaner(profile, patient, original.encoding).data_set(original.elements)
        data_set = serialize(markers.mark(cleaned, profile, patient.pseudonym), original.encoding)
        released_uid = key.uid(identity.sop_instance_uid)
        head = write_file_meta(identity.sop_class_uid, released_uid, original.encoding.uid)
        _check_echo(source, head, data_set, original.encoding)
        target = folder / f"{released_uid}.dcm"
        with replacing(target) as part:
            _write(part, head, data_set, original, handle)
    return Released(target)


def read_original(content: Content) -> Original:
    """Parse a whole Part 10 file; Refusal if it is not one or not whole."""
    size = len(content)
    meta = read_file_meta(content, size)
    encoding = encoding_of(meta.transfer_syntax)
    start, body = meta.end, content
    if encoding.deflated:
        start, body = 0, _inflated(bytes(content[meta.end :]))
        size = len(body)
    elements, at = Parser(body).data_set(start, size, encoding)
    pixels = find_pixels(body, at, size, encoding, elements)
    return Original(body, meta, encoding, elements, pixels)


def _inflated(content: bytes) -> bytes:
    """PS3.5 section A.5: a bare deflate stream (RFC 1951)."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        body = stream.decompress(content, LARGEST_INFLATED)
    except zlib.error:
        raise Refusal("unreadable") from None
    if not stream.eof:
        raise Refusal("truncated")
    return body


def _check_echo(source: Path, head: bytes, data_set: bytes, encoding: Encoding) -> None:
    identifiers = gate.identifiers_of(source)
    if gate.has_echo(
        identifiers, head, data_set, implicit=encoding.implicit, little=encoding.little
    ):
        raise Refusal("echo")


def _write(part: Path, head: bytes, data_set: bytes, original: Original, handle: int) -> None:
    pixels = original.pixels
    with part.open("wb") as file:
        file.write(head)
        if original.encoding.deflated:
            copied = original.content[pixels.start : pixels.stop] if pixels else b""
            file.write(_deflated(data_set + copied))
            return
        file.write(data_set)
        file.flush()
        if pixels:
            _copy(handle, file.fileno(), pixels.start, pixels.stop)


def _deflated(body: bytes) -> bytes:
    stream = zlib.compressobj(COMPRESSION_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    content = stream.compress(body) + stream.flush()
    return content + b"\0" * (len(content) % 2)


def _copy(source: int, target: int, start: int, stop: int) -> None:
    """Bytes from file to file inside the kernel."""
    while start < stop:
        copied = os.sendfile(target, source, start, stop - start)
        if copied == 0:
            raise Refusal("truncated")
        start += copied
