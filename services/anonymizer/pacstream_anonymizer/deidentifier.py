"""One instance from the trusted zone to the release, or a reason why not.

Only the header is rewritten: pixel data is copied as it is, but for rectangles that the profile has
blacked out, and what follows it is dropped. Any doubt and any error withhold the instance.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import logging
import mmap
import os
import stat
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from pacstream.durable import FileGroup
from pacstream.errors import PacstreamError, RejectedError, RetryLaterError
from pacstream.logs import event, place_of, ref
from pacstream.memory import ROOM, Memory
from pacstream.messages import Order
from pacstream.pseudonyms import ProjectKey, Subject, release_series_folder
from pacstream.stretches import LastStretches, Stretches
from pacstream_anonymizer import attributes, echoes, markers, triage, values
from pacstream_anonymizer.actions import (
    CLEAN_DESCRIPTORS,
    CLEAN_PIXEL_DATA,
    FULL_DATES,
    RETAIN_UIDS,
)
from pacstream_anonymizer.blackout import Blackout, blackout_of
from pacstream_anonymizer.cleaner import Account, Cleaner, Told, Trail, Treatments, value_of
from pacstream_anonymizer.content import option_for, with_content
from pacstream_anonymizer.derived import derived
from pacstream_anonymizer.encoding import Encoding, encoding_of
from pacstream_anonymizer.file_meta import FileMeta, read_file_meta, uid_text, write_file_meta
from pacstream_anonymizer.frames import EXTENDED_OFFSETS, clean_frames
from pacstream_anonymizer.gate import Claims, Gate, Tail
from pacstream_anonymizer.iod import iod_of
from pacstream_anonymizer.parser import Content, Element, Parser, Run
from pacstream_anonymizer.pixels import Pixels, find_pixels
from pacstream_anonymizer.profile import DEFAULT, Profile
from pacstream_anonymizer.redaction import (
    PIXEL_DATA,
    REDACTOR,
    Redaction,
    Redactor,
    blacken_file,
    redaction_of,
)
from pacstream_anonymizer.refusal import Echo, Refusal, Waiver
from pacstream_anonymizer.serializer import serialize
from pacstream_anonymizer.triage import Identity, Wanted
from pacstream_anonymizer.values import Patient

LOG = logging.getLogger(__name__)

LARGEST_INFLATED = 2**31
COMPRESSION_LEVEL = 6

Look = Callable[[Path], str]
"""A second look at the pixels of a file: why they can't be let out, or an empty text."""

GATE = Gate()
"""One for the process: a series comes in several messages."""


class Parsed:
    """Elements of the last originals, by encoding, and what comes together in the last series."""

    def __init__(self, room: int = ROOM, series: int = 32) -> None:
        self._room = room
        self._memories: dict[Encoding, Memory[Element]] = {}
        self._stretches = LastStretches(Run, series if room else 0)

    def memory(self, encoding: Encoding) -> Memory[Element]:
        if encoding not in self._memories:
            self._memories[encoding] = Memory(self._room)
        return self._memories[encoding]

    def stretches(self, encoding: Encoding, series_uid: str) -> Stretches[Element, Run]:
        return self._stretches.of((encoding, series_uid))


PARSED = Parsed()


class Learnt:
    """What cleaners made of elements, for the last `kept` patients, encodings and IODs: a series
    comes in several messages, each with a release of its own."""

    def __init__(self, kept: int = 8) -> None:
        self._kept = kept
        self._memories: OrderedDict[object, dict[tuple[object, ...], Treatments]] = OrderedDict()

    def memories(self, key: object) -> dict[tuple[object, ...], Treatments]:
        """For the cleaners with that `key`: all that decides but the element and its scene."""
        found = self._memories.setdefault(key, {})
        self._memories.move_to_end(key)
        while len(self._memories) > self._kept:
            self._memories.popitem(last=False)
        return found


LEARNT = Learnt()


@dataclass(frozen=True)
class Released:
    """The file `path` is there once the group that it was written in is committed. `waived` are the
    reasons for which it would have been withheld without an operator's decision, `pixels` the
    SHA-256 of its pixel data if that was changed."""

    path: Path
    waived: frozenset[str] = frozenset()
    pixels: str = ""


@dataclass(frozen=True)
class Withheld:
    """`reason` is one of refusal.REASONS."""

    reason: str


@dataclass(frozen=True)
class Original:
    """A parsed instance: `content` holds its data set (inflated if it was deflated). `anew` is the
    pixel data element to write if that of the file can't be copied, `redaction` what is blacked
    out in it."""

    content: Content
    meta: FileMeta
    encoding: Encoding
    elements: list[Element]
    pixels: Pixels | None
    anew: Content | None = None
    redaction: Redaction | None = None

    @property
    def written(self) -> Encoding:
        """How the release lies in its bytes."""
        return self.redaction.encoding if self.redaction else self.encoding

    @property
    def tail(self) -> Tail | None:
        """The pixel data element to write."""
        if self.anew is not None:
            return Tail(self.anew, 0, len(self.anew))
        pixels = self.pixels
        return Tail(self.content, pixels.start, pixels.stop) if pixels else None


@dataclass(frozen=True)
class Release:
    """Where the instances of one series go, as a group, and by which rules.

    The bytes of an instance are a function of its content, the key, the profile and the pseudonym
    that the user has given; `folder` only says where they go.
    """

    series: Wanted
    key: ProjectKey
    folder: Callable[[Subject], Path]
    files: FileGroup
    pseudonym: str = ""
    profile: Profile = DEFAULT
    gate: Gate = GATE
    parsed: Parsed = PARSED
    look: Look | None = None
    trail: Trail | None = None
    redactor: Redactor = REDACTOR
    learnt: Learnt = LEARNT
    cleaners: dict[tuple[Subject, Encoding, str], Cleaner] = field(default_factory=dict, repr=False)
    folders: dict[Subject, Path] = field(default_factory=dict, repr=False)

    @functools.cached_property
    def claims(self) -> Claims:
        return Claims.of(self.profile)

    def add(
        self, source: Path, sop_instance_uid: str = "", waived: frozenset[str] = frozenset()
    ) -> Released | Withheld:
        """De-identify the file `source` into the release folder of its series.

        The same input always gives the same bytes at the same path, but not before `files` is
        committed. `sop_instance_uid` is what the instance must be, if the caller knows; `waived`
        are reasons that an operator has decided to let pass. Raises RejectedError
        `original_missing` if there is no such file and RetryLaterError `disk` if the disk fails;
        everything else ends in Withheld.
        """
        waiver = Waiver(waived)
        handle = -1
        try:
            handle = _opened(source)
            return self._add(handle, source, sop_instance_uid, waiver)
        except Refusal as refusal:
            return Withheld(refusal.reason)
        except OSError:
            raise disk_error() from None
        except PacstreamError:
            raise
        except Exception as error:  # noqa: BLE001 - fail closed: whatever it is, nothing is released
            event(
                LOG,
                "de-identification failed",
                logging.ERROR,
                series=ref(self.series.series_uid),
                error=type(error).__name__,
                place=place_of(error.__traceback__),
            )
            return Withheld("error")
        finally:
            if handle >= 0:
                os.close(handle)

    def _add(self, handle: int, source: Path, expected: str, waiver: Waiver) -> Released:
        with mmap.mmap(handle, 0, prot=mmap.PROT_READ) as content, contextlib.ExitStack() as held:
            original = read_original(content, self.parsed, self.series.series_uid)
            identity = triage.identity_of(original.elements)
            triage.check_identity(identity, self.series, expected)
            triage.check_admitted(self.profile, original.elements, identity.sop_class_uid)
            option = option_for(identity.sop_class_uid, self.profile)
            blackout = blackout_of(
                original.elements, original.encoding, self.profile, identity.sop_class_uid
            )
            waiver.cleaned = blackout is not None
            _check_kind(original, identity.sop_class_uid, waiver, cleanable=bool(option))
            subject = self._subject(identity)
            # Mapped, also where UIDs are retained: what a file says must not be part of a path.
            target = self._folder(subject) / f"{self.key.uid(identity.sop_instance_uid)}.dcm"
            if blackout is None:
                original = without_text(original)
            else:
                original = held.enter_context(self._blacked_out(original, blackout, source, target))
            cleaned = self._cleaned(original, subject, identity.sop_class_uid, option)
            mapped = released_uid(identity.sop_instance_uid, self.profile, self.key)
            head = write_file_meta(identity.sop_class_uid, mapped, original.written.uid)
            data_set = self._passed(original, head, cleaned, source, content)
            if original.redaction is None:
                self._look_at(source, original, waiver)
            with self.files.writing(target) as file:
                _write(file, head, data_set, original, handle)
                digest = self._checked(file, original, len(head) + len(data_set), waiver)
        return Released(target, frozenset(waiver.used), digest)

    @contextlib.contextmanager
    def _blacked_out(
        self, original: Original, blackout: Blackout, source: Path, target: Path
    ) -> Iterator[Original]:
        """The instance with what is to be blacked out, and compressed frames written anew beside
        `target` for as long as they are needed."""
        if original.pixels is None:
            raise Refusal("truncated")
        elements, pixels = original.elements, original.pixels
        redaction = redaction_of(original.content, pixels, original.encoding, elements, blackout)
        self._tell(tuple(Told((PIXEL_DATA,), rule, "black", b"") for rule, _ in blackout.rules))
        if original.encoding.deflated:
            anew = bytearray(memoryview(original.content)[pixels.start : pixels.stop])
            redaction.blacken(anew, 0)
            yield replace(original, anew=bytes(anew), redaction=redaction)
        elif not original.encoding.encapsulated:
            yield replace(original, redaction=redaction)
        else:
            with self.files.scratch(target.parent) as (path, file):
                redaction = self.redactor.compressed(source, pixels.start, redaction, path)
                kept = [one for one in elements if one.tag not in EXTENDED_OFFSETS]
                with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as anew_:
                    yield replace(original, elements=kept, anew=anew_, redaction=redaction)

    def _checked(self, file: BinaryIO, original: Original, end: int, waiver: Waiver) -> str:
        """The digest of pixel data that was changed, after a look at the file as it is to be
        released; `end` is where its header ends."""
        redaction = original.redaction
        if redaction is None:
            return ""
        file.flush()
        path = Path(file.name)
        self.redactor.check(path, redaction)
        self._look_at(path, original, waiver)
        if original.anew is not None:
            return hashlib.sha256(memoryview(original.anew)[redaction.value :]).hexdigest()
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as written:
            return hashlib.sha256(memoryview(written)[end + redaction.value :]).hexdigest()

    def _look_at(self, path: Path, original: Original, waiver: Waiver) -> None:
        if self.look is not None and original.pixels and (reason := self.look(path)):
            waiver.refuse(reason)

    def _tell(self, told: tuple[Told, ...]) -> None:
        if self.trail is not None:
            self.trail([Account(told)])

    def _passed(
        self,
        original: Original,
        head: bytes,
        cleaned: list[Element],
        source: Path,
        content: Content,
    ) -> bytes:
        """The data set as the gate lets it through: dispensable values that it objects to are
        emptied, or lose the names in them. Refusal if it does not."""
        claims, tail = self.claims, original.tail

        def checked(elements: list[Element]) -> bytes:
            data_set = serialize(elements, original.written)
            released = head + data_set
            self.gate.check(source, content, released, tail, claims, self.series.series_uid)
            return data_set

        try:
            return checked(cleaned)
        except Echo as found:
            echo = found
        repairs: list[echoes.Repair] = [echoes.emptied]
        if CLEAN_DESCRIPTORS in self.profile.options:
            repairs.insert(0, echoes.without_names(echo, self.profile.vocabulary))
        while True:
            done: dict[tuple[int, ...], str] = {}
            elements = echoes.repaired(cleaned, echo.paths, repairs.pop(0), _noting(done))
            try:
                data_set = checked(elements)
            except Echo:
                if not repairs:
                    raise
                continue  # what is left of a description echoes, too
            self._tell(tuple(Told(path, "gate:echo", what, b"") for path, what in done.items()))
            return data_set

    def _subject(self, identity: Identity) -> Subject:
        """Nobody tells us whose a series without a patient ID is, whatever its instances say."""
        series = self.series
        return Subject.of(series.patient_id, identity.issuer, series.study_uid, self.pseudonym)

    def _folder(self, subject: Subject) -> Path:
        """Worked out once for a subject: it takes several digests."""
        if subject not in self.folders:
            self.folders[subject] = self.folder(subject)
        return self.folders[subject]

    def _patient(self, subject: Subject) -> Patient:
        kept = FULL_DATES in self.profile.options
        days = 0 if kept else subject.shift_days(self.key)
        return Patient(self.key, subject.name(self.key), days)

    def _cleaned(
        self, original: Original, subject: Subject, sop_class_uid: str, option: str
    ) -> list[Element]:
        encoding = original.encoding
        cleaner = self.cleaners.get((subject, encoding, sop_class_uid))
        if cleaner is None:
            patient, iod = self._patient(subject), iod_of(sop_class_uid)
            key = (self.key, self.profile.digest, subject, encoding, sop_class_uid)
            memories = self.learnt.memories((*key, self.trail is None))
            cleaner = Cleaner(self.profile, patient, encoding, iod, self.trail, memories)
            self.cleaners[subject, encoding, sop_class_uid] = cleaner
        cleaned = with_content(original.elements, cleaner, option)
        ran = {option} - {""}
        if original.redaction is not None and original.pixels is not None:
            ran.add(CLEAN_PIXEL_DATA)
            cleaned = derived(cleaned, original.redaction, encoding.uid, original.pixels)
        before = markers.Before(
            uid_text(value_of(original.elements, attributes.TEMPORAL_INFORMATION)),
            (value_of(original.elements, attributes.METHOD) or b"").decode("latin-1").strip(),
        )
        pseudonym = cleaner.patient.pseudonym
        return markers.mark(cleaned, self.profile, pseudonym, frozenset(ran), before)


def released_uid(uid: str, profile: Profile, key: ProjectKey) -> str:
    """The UID of a released instance."""
    return values.kept_uid(uid, key) if RETAIN_UIDS in profile.options else key.uid(uid)


def release_of(
    order: Order,
    key: ProjectKey,
    out: Path,
    files: FileGroup,
    *,
    profile: Profile = DEFAULT,
    gate: Gate = GATE,
    look: Look | None = None,
    trail: Trail | None = None,
) -> Release:
    """The release of an order's series below `out`."""
    series = order.series
    return Release(
        Wanted(series.study_uid, series.series_uid, series.patient_id),
        key,
        lambda subject: out / release_series_folder(order, key, subject.issuer),
        files,
        order.pseudonym,
        profile,
        gate,
        look=look,
        trail=trail,
    )


def deidentify_instance(
    source: Path,
    order: Order,
    key: ProjectKey,
    out: Path,
    *,
    profile: Profile = DEFAULT,
    sop_instance_uid: str = "",
) -> Released | Withheld:
    """A release of one instance, which is there on return. Raises as `Release.add` does."""
    with FileGroup() as files:
        release = release_of(order, key, out, files, profile=profile)
        result = release.add(source, sop_instance_uid)
        if files.commit():
            raise disk_error()
    return result


def _noting(done: dict[tuple[int, ...], str]) -> Callable[[tuple[int, ...], Element], None]:
    """Notes what was done at each path: words are left in some item, or none is."""

    def note(path: tuple[int, ...], element: Element) -> None:
        if element.value or path not in done:
            done[path] = "words" if element.value else "empty"

    return note


def _opened(source: Path) -> int:
    """A handle of an original. Raises RejectedError `original_missing`, Refusal and OSError."""
    try:
        handle = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
            raise RejectedError("an original is not there", code="original_missing") from None
        raise
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise RejectedError("an original is not there", code="original_missing")
        if status.st_size == 0:
            raise Refusal("not_dicom")
    except BaseException:
        os.close(handle)
        raise
    return handle


def disk_error() -> RetryLaterError:
    return RetryLaterError("a file can't be read or written", code="disk")


def _check_kind(original: Original, sop_class_uid: str, waiver: Waiver, *, cleanable: bool) -> None:
    if not cleanable:
        triage.check_class(sop_class_uid, waiver)
    triage.check_content(original.elements, sop_class_uid, waiver)
    if original.pixels is None and not cleanable and triage.is_image(sop_class_uid):
        raise Refusal("truncated")


def without_text(original: Original) -> Original:
    """The instance without text in compressed frames. Raises Refusal as `clean_frames` does."""
    if original.pixels is None or not original.pixels.fragments:
        return original
    anew = clean_frames(original.content, original.pixels, original.encoding.uid)
    if anew is None:
        return original
    kept = [one for one in original.elements if one.tag not in EXTENDED_OFFSETS]
    return replace(original, elements=kept, anew=anew)


def read_original(content: Content, parsed: Parsed = PARSED, series_uid: str = "") -> Original:
    """Parse a whole Part 10 file; Refusal if it is not one or not whole.

    `series_uid` is the series that it is said to be of: files of one series are much alike.
    """
    size = len(content)
    meta = read_file_meta(content, size)
    encoding = encoding_of(meta.transfer_syntax)
    start, body = meta.end, content
    if encoding.deflated:
        start, body = 0, _inflated(bytes(content[meta.end :]))
        size = len(body)
    stretches = parsed.stretches(encoding, series_uid)
    parser = Parser(body, parsed.memory(encoding), stretches)
    elements, at = parser.data_set(start, size, encoding)
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


def _write(file: BinaryIO, head: bytes, data_set: bytes, original: Original, handle: int) -> None:
    file.write(head)
    tail = original.tail
    if original.encoding.deflated:
        copied = tail.content[tail.start : tail.stop] if tail else b""
        file.write(_deflated(data_set + copied))
        return
    file.write(data_set)
    if original.anew is not None:
        file.write(original.anew)
    elif tail:
        file.flush()
        _copy(handle, file.fileno(), tail.start, tail.stop)
        if original.redaction is not None:
            blacken_file(file, len(head) + len(data_set), original.redaction)


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
