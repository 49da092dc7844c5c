"""What is large, or pretends to be, passes through or is refused: it is never held in memory."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from pacstream.archive import Archive
from tests.fakes.sender import Sender
from tests.fakes.upper_layer import (
    ASSOCIATE_RQ,
    COMMAND,
    LAST,
    Context,
    Instance,
    associate_rq,
    command_set,
    p_data,
    pdu,
    pdv,
    store_elements,
)
from tests.unit.store_scp.child import MIB, Child, child
from tests.unit.store_scp.scp import order_for
from tests.unit.store_scp.watched import CT_CONTEXT, SERIES, STUDY, plain_instance

SUCCESS, CANNOT_UNDERSTAND = 0x0000, 0xC000
DEFLATED, JPEG_2000 = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.90"
MOST_MIB = 100
"""The goal for the whole process."""
GROWTH_MIB = 48
"""What one association may cost at its worst: a deflated data set, whose head is inflated."""
LISTENED_S = 10.0
"""How long a peer may be heard that has been refused."""
FRAGMENT = 131072 - 6
FRAME = 1 << 20


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    data = tmp_path_factory.mktemp("large") / "data"
    asked = Dataset()
    asked.StudyInstanceUID, asked.SeriesInstanceUID = STUDY, SERIES
    Archive(data).write_order(order_for(asked))
    with child(data) as process:
        yield process
    shutil.rmtree(data)


@pytest.fixture
def scp(started: Child) -> Child:
    """Warm: what is imported or allocated for the first instance is no cost of the next ones."""
    instance = plain_instance(1)
    with Sender(started.port).associate(CT_CONTEXT) as first:
        assert first.store(instance) == SUCCESS
        first.release()
    assert started.line() == instance.sop_instance
    started.forget_peak()
    return started


def frames(count: int) -> Iterator[bytes]:
    """A multi-frame pixel data element of `count` MiB (PS3.5 section A.4), frame by frame."""
    yield bytes.fromhex("e07f1000 4f420000 ffffffff feff00e0 00000000")
    for number in range(count):
        yield struct.pack("<HHI", 0xFFFE, 0xE000, FRAME) + number.to_bytes(8) * (FRAME // 8)
    yield bytes.fromhex("feffdde0 00000000")


def as_pdus(instance: Instance, content: Iterator[bytes]) -> Iterator[bytes]:
    """A C-STORE-RQ whose data set is cut into fragments while it is made."""
    yield p_data(pdv(1, command_set(store_elements(instance)), COMMAND | LAST))
    held = b""
    for piece in content:
        held += piece
        while len(held) > FRAGMENT:
            yield p_data(pdv(1, held[:FRAGMENT], 0))
            held = held[FRAGMENT:]
    yield p_data(pdv(1, held, LAST))


@pytest.mark.parametrize(
    "size", [300, pytest.param(4200, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
def test_a_large_object_passes_through(size: int, scp: Child) -> None:
    """MiB. The larger one is longer than 32 bits can tell."""
    plain = plain_instance(size, pixels=0)
    instance = plain._replace(syntax=JPEG_2000, data=plain.data[:-12])
    digest, length = hashlib.blake2b(), 0

    def content() -> Iterator[bytes]:
        nonlocal length
        for piece in itertools.chain([instance.data], frames(size)):
            digest.update(piece)
            length += len(piece)
            yield piece

    context = Context(1, instance.sop_class, [instance.syntax])
    with Sender(scp.port, patience_s=120.0).associate(context) as sender:
        for fragment in as_pdus(instance, content()):
            sender.send(fragment)
        assert sender.status() == SUCCESS
        sender.release()
    assert scp.line() == instance.sop_instance

    kept = scp.archive.instance_path(SERIES, instance.sop_instance)
    assert kept.stat().st_size == length + meta_size(kept)
    assert digest_of_data_set(kept) == digest.digest()
    assert scp.memory("VmHWM") < MOST_MIB


def meta_size(path: Path) -> int:
    """Bytes before the data set: preamble, prefix and group 0002 (PS3.10 section 7.1)."""
    with path.open("rb") as file:
        head = file.read(144)
    return 144 + int.from_bytes(head[140:144], "little")


def digest_of_data_set(path: Path) -> bytes:
    digest = hashlib.blake2b()
    with path.open("rb") as file:
        file.seek(meta_size(path))
        while block := file.read(MIB):
            digest.update(block)
    return digest.digest()


# ---- what pretends to be large


def endless_command() -> Iterator[bytes]:
    yield from associated()
    yield p_data(pdv(1, command_set({0x0002: "1.2"})[:4], COMMAND))
    while True:
        yield p_data(pdv(1, bytes(FRAGMENT), COMMAND))


def command_element_of_4_gib() -> Iterator[bytes]:
    yield from associated()
    yield p_data(pdv(1, struct.pack("<HHL", 0, 2, 0xFFFFFFFE), COMMAND))
    while True:
        yield p_data(pdv(1, bytes(FRAGMENT), COMMAND))


def endless_request() -> Iterator[bytes]:
    yield pdu(ASSOCIATE_RQ, associate_rq([CT_CONTEXT])[6:], 0xFFFFFFFF)
    while True:
        yield bytes(FRAGMENT)


def pdu_of_4_gib() -> Iterator[bytes]:
    yield from associated()
    yield p_data(length=0xFFFFFFFF) + pdv(1, bytes(10), COMMAND, length=0xFFFFFFF0)
    while True:
        yield bytes(FRAGMENT)


def endless_data_set_for_nobody() -> Iterator[bytes]:
    """A data set that no C-STORE announced."""
    yield from associated()
    while True:
        yield p_data(pdv(1, bytes(FRAGMENT), 0))


def associated() -> Iterator[bytes]:
    yield associate_rq([CT_CONTEXT])


ENDLESS = [
    endless_command,
    command_element_of_4_gib,
    endless_request,
    pdu_of_4_gib,
    endless_data_set_for_nobody,
]


@pytest.mark.parametrize("endless", ENDLESS)
def test_what_never_ends_is_refused_and_not_held(
    endless: Callable[[], Iterator[bytes]], scp: Child
) -> None:
    before, end = scp.memory("VmRSS"), time.monotonic() + LISTENED_S
    with Sender(scp.port) as bad:
        bad.sent_before_the_end(itertools.takewhile(lambda _: time.monotonic() < end, endless()))
        assert time.monotonic() < end
    assert scp.memory("VmHWM") < before + GROWTH_MIB


def deflated(content: Iterator[bytes]) -> Iterator[bytes]:
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    for piece in content:
        yield deflate.compress(piece)
    yield deflate.flush()


def private_element(length: int) -> Iterator[bytes]:
    """Before any UID."""
    yield struct.pack("<HH2sHL", 0x0009, 0x1010, b"OB", 0, length)
    yield from (bytes(MIB) for _ in range(length // MIB))


def deep_sequences() -> Iterator[bytes]:
    nested = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    nested += struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    yield nested * 100_000


def many_elements() -> Iterator[bytes]:
    for number in range(0x10, 0xFFFF):
        yield struct.pack("<HH2sH", 0x0009, number, b"LO", 0) * 4


UNREADABLE = {
    "a bomb": (DEFLATED, lambda: deflated(private_element(256 * MIB))),
    "a value of 200 MiB": (None, lambda: private_element(200 * MIB)),
    "deep sequences": (None, deep_sequences),
    "many elements": (None, many_elements),
}


@pytest.mark.parametrize(("syntax", "content"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_data_set_that_hides_its_uids_is_put_aside_unread(
    syntax: str | None, content: Callable[[], Iterator[bytes]], scp: Child
) -> None:
    instance = plain_instance(3)
    instance = instance._replace(syntax=syntax or instance.syntax)
    before = scp.memory("VmRSS")
    context = Context(1, instance.sop_class, [instance.syntax])
    with Sender(scp.port, patience_s=60.0).associate(context) as sender:
        for piece in as_pdus(instance, content()):
            sender.send(piece)
        assert sender.status() == CANNOT_UNDERSTAND
        sender.release()
    assert scp.memory("VmHWM") < before + GROWTH_MIB


def test_an_association_in_mid_data_set_costs_little(scp: Child) -> None:
    """50 senders, each with 8 MiB on the way."""
    before, handles = scp.memory("VmRSS"), scp.handles()
    senders = [Sender(scp.port).associate(CT_CONTEXT) for _ in range(50)]
    for number, sender in enumerate(senders):
        instance = plain_instance(100 + number, pixels=9 * MIB)
        pdus = list(as_pdus(instance, iter([instance.data])))
        for content in pdus[: 8 * MIB // FRAGMENT]:
            sender.send(content)
    grown = scp.memory("VmRSS") - before
    assert scp.handles() >= handles + 50
    for sender in senders:
        sender.socket.close()

    assert grown < MOST_MIB
