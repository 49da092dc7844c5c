"""What is accepted: every storage class, every transfer syntax, every way to propose them."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterator, Sequence
from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.uid import UID_dictionary
from pynetdicom import AllStoragePresentationContexts
from pynetdicom.dsutils import encode

from tests.fakes.upper_layer import (
    ASSOCIATE_AC,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    Context,
    Instance,
    Pdu,
    accepted,
    associate_rq,
    item,
    store_pdus,
    user_items,
)
from tests.unit.store_scp.files import distinct, real_files
from tests.unit.store_scp.scp import wait_for
from tests.unit.store_scp.watched import CT, CT_CONTEXT, WatchedScp, element

SUCCESS = 0x0000
VERIFICATION = "1.2.840.10008.1.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = ["1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"]
IMPLICIT = [IMPLICIT_LITTLE, "1.2.840.10008.1.20"]
JPEG_LOSSLESS, JPEG_2000, RLE = (
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.5",
)
PRIVATE_CLASS, PRIVATE_SYNTAX = "1.2.276.0.99.1", "1.2.276.0.99.7"

SYNTAXES = [uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"]
STORED_CLASSES = sorted(
    {str(context.abstract_syntax) for context in AllStoragePresentationContexts}
    | {
        uid
        for uid, (name, kind, *_) in UID_dictionary.items()
        if kind == "SOP Class"
        and "Storage" in name
        and "Commitment" not in name
        and "Media Storage Directory" not in name
    }
)
OTHER_CLASSES = sorted(
    uid
    for uid, (name, kind, _, retired, _) in UID_dictionary.items()
    if kind in ("SOP Class", "Meta SOP Class")
    and "Storage" not in name
    and not retired
    and uid != VERIFICATION
)


def batches(uids: Sequence[str]) -> Iterator[list[Context]]:
    """As many contexts as one association may have, each with one class."""
    for start in range(0, len(uids), 128):
        yield [Context(2 * n + 1, uid) for n, uid in enumerate(uids[start : start + 128])]


def answer_to(scp: WatchedScp, contexts: Sequence[Context], further: bytes = b"") -> Pdu:
    with scp.connect() as sender:
        sender.send(associate_rq(contexts, further=further))
        answer = sender.read()
        assert answer is not None and answer.kind == ASSOCIATE_AC
        sender.release()
        return answer


def recoded(instance: Instance, syntax: str) -> Instance:
    """The plain instance as its data set has to look in another transfer syntax."""
    data = instance.data
    if syntax in IMPLICIT or syntax == BIG_ENDIAN:
        dataset = dcmread(BytesIO(data), force=True)
        data = encode(dataset, syntax in IMPLICIT, syntax != BIG_ENDIAN) or b""
    elif syntax in DEFLATED:
        deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        data = deflate.compress(data) + deflate.flush()
        data += b"\0" * (len(data) % 2)
    elif syntax != EXPLICIT_LITTLE:
        header = data[: data.index(element(0x7FE00010, "OW", b"")[:6])]
        data = header + bytes.fromhex("e07f1000 4f420000 ffffffff")
        data += bytes.fromhex("feff00e0 00000000 feff00e0 08000000 ffd8 000000 00 ffd9")
        data += bytes.fromhex("feffdde0 00000000")
    return instance._replace(syntax=syntax, data=data)


# ---- classes


def test_every_storage_class_of_the_standard_is_accepted_and_stored(scp: WatchedScp) -> None:
    assert len(STORED_CLASSES) > 190
    sent = []
    for contexts in batches(STORED_CLASSES):
        with scp.connect() as sender:
            sender.send(associate_rq(contexts))
            answer = sender.read()
            assert answer is not None
            taken = accepted(answer)
            assert [c.abstract for c in contexts if c.context_id not in taken] == []
            for context in contexts:
                instance = scp.ordered(sop_class=context.abstract)
                assert sender.store(instance, context.context_id) == SUCCESS
                sent.append(instance)
            sender.release()
    wait_for(lambda: all(scp.holds(instance) for instance in sent))


def test_no_other_service_of_the_standard_is_taken_for_storage(scp: WatchedScp) -> None:
    """Nobody may believe that it can query us."""
    assert len(OTHER_CLASSES) > 60
    for contexts in batches(OTHER_CLASSES):
        taken = accepted(answer_to(scp, contexts))
        wrong = [context.abstract for context in contexts if context.context_id in taken]
        assert [UID_dictionary[uid][0] for uid in wrong if "Commitment" not in uid] == []


@pytest.mark.parametrize("sop_class", [PRIVATE_CLASS, "1.2.840.10008.5.1.4.1.1.501.99", "2.25.7"])
def test_private_and_unknown_classes_are_accepted_and_stored(
    sop_class: str, scp: WatchedScp
) -> None:
    instance = scp.ordered(sop_class=sop_class)
    with scp.associated(Context(1, sop_class)) as sender:
        assert sender.store(instance) == SUCCESS
    wait_for(lambda: scp.holds(instance))


# ---- transfer syntaxes


@pytest.mark.parametrize("syntax", [*SYNTAXES, PRIVATE_SYNTAX])
def test_every_transfer_syntax_is_accepted_alone_and_stored_as_it_comes(
    syntax: str, scp: WatchedScp
) -> None:
    instance = recoded(scp.ordered(), syntax)
    with scp.associated(Context(1, CT, [syntax])) as sender:
        assert sender.store(instance) == SUCCESS
    wait_for(lambda: scp.holds(instance))


def test_of_several_transfer_syntaxes_the_senders_first_is_accepted(scp: WatchedScp) -> None:
    orders = list(itertools.permutations([JPEG_2000, IMPLICIT_LITTLE, EXPLICIT_LITTLE, RLE], 3))
    orders += [(PRIVATE_SYNTAX, EXPLICIT_LITTLE, RLE), (BIG_ENDIAN, IMPLICIT_LITTLE, RLE)]
    contexts = [Context(2 * number + 1, CT, order) for number, order in enumerate(orders)]

    answer = answer_to(scp, contexts)

    assert accepted(answer) == {context.context_id: context.syntaxes[0] for context in contexts}


def test_contexts_of_one_class_keep_their_transfer_syntaxes_apart(scp: WatchedScp) -> None:
    contexts = [Context(2 * n + 1, CT, [syntax]) for n, syntax in enumerate(SYNTAXES[:6])]
    sent = [recoded(scp.ordered(), context.syntaxes[0]) for context in contexts * 2]
    with scp.associated(*contexts) as sender:
        for context, instance in zip(contexts * 2, sent, strict=True):
            assert sender.store(instance, context.context_id) == SUCCESS
    wait_for(lambda: all(scp.holds(instance) for instance in sent))


# ---- further negotiation, PS3.7 annex D.3.3


@pytest.mark.parametrize("roles", [(1, 0), (0, 1), (1, 1), (0, 0)])
def test_a_role_is_answered_without_granting_what_was_not_asked(
    roles: tuple[int, int], scp: WatchedScp
) -> None:
    asked = struct.pack(">H", len(CT)) + CT.encode() + bytes(roles)
    items = user_items(answer_to(scp, [CT_CONTEXT], item(0x54, asked)))

    for answer in items.get(0x54, []):
        assert answer[2 : 2 + len(CT)] == CT.encode()
        assert answer[-2] <= roles[0] and answer[-1] <= roles[1]
        # a sender stays one
        assert answer[-2] == roles[0]


def test_a_sender_with_a_role_can_store(scp: WatchedScp) -> None:
    asked = struct.pack(">H", len(CT)) + CT.encode() + b"\1\1"
    with scp.connect() as sender:
        sender.send(associate_rq([CT_CONTEXT], further=item(0x54, asked)))
        sender.read()
        scp.stays_usable(sender)


def test_no_role_is_answered_that_was_not_asked_for(scp: WatchedScp) -> None:
    assert 0x54 not in user_items(answer_to(scp, [CT_CONTEXT]))


@pytest.mark.parametrize("window", [(0, 0), (1, 1), (8, 8), (0xFFFF, 1)])
def test_the_window_of_asynchronous_operations_is_one_and_one(
    window: tuple[int, int], scp: WatchedScp
) -> None:
    """PS3.7 section D.3.3.3: left out means the same."""
    items = user_items(answer_to(scp, [CT_CONTEXT], item(0x53, struct.pack(">HH", *window))))

    assert items.get(0x53, [struct.pack(">HH", 1, 1)]) == [struct.pack(">HH", 1, 1)]


@pytest.mark.parametrize("asked", [b"\2\0\3\0\1\0", b"\0\0\0\0\0\0", b"\2", b""])
def test_extended_negotiation_of_storage_is_answered_for_its_class_or_not_at_all(
    asked: bytes, scp: WatchedScp
) -> None:
    sub_item = item(0x56, struct.pack(">H", len(CT)) + CT.encode() + asked)
    items = user_items(answer_to(scp, [CT_CONTEXT], sub_item))

    for answer in items.get(0x56, []):
        assert answer[2 : 2 + len(CT)] == CT.encode()
        # PS3.4 table B.3-1: level 2 keeps everything, byte 4 says that nothing is coerced
        assert (answer[2 + len(CT)], answer[2 + len(CT) + 4]) == (2, 0)


def test_common_extended_negotiation_has_no_answer(scp: WatchedScp) -> None:
    """PS3.7 section D.3.3.6."""
    service, general = b"1.2.840.10008.4.2", CT.encode()
    related = struct.pack(">H", len(general)) + general
    body = struct.pack(">H", len(PRIVATE_CLASS)) + PRIVATE_CLASS.encode()
    body += struct.pack(">H", len(service)) + service
    body += struct.pack(">H", len(related)) + related
    items = user_items(answer_to(scp, [Context(1, PRIVATE_CLASS)], item(0x57, body)))

    assert 0x57 not in items


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("response_wanted", [0, 1])
def test_a_user_identity_is_taken_and_never_confirmed(
    kind: int, response_wanted: int, scp: WatchedScp
) -> None:
    """PS3.7 section D.3.3.7: who does not verify identities accepts without a response item."""
    second = b"secret" if kind == 2 else b""
    identity = struct.pack(">BBH", kind, response_wanted, 4) + b"user"
    identity += struct.pack(">H", len(second)) + second
    with scp.connect() as sender:
        sender.send(associate_rq([CT_CONTEXT], further=item(0x58, identity)))
        answer = sender.read()

        assert answer is not None and answer.kind == ASSOCIATE_AC
        assert 0x59 not in user_items(answer)
        scp.stays_usable(sender)


@pytest.mark.parametrize("longest", [0, 32, 64, 128, 0xFFFFFFFF])
def test_answers_fit_into_the_pdus_that_the_sender_takes(longest: int, scp: WatchedScp) -> None:
    """PS3.8 section D.1: the length of P-DATA-TF PDUs that we send."""
    instance = scp.ordered()
    with scp.connect() as sender:
        sender.send(associate_rq([CT_CONTEXT], longest=longest))
        sender.read()
        sender.send(b"".join(store_pdus(instance)))
        command = b""
        while True:
            answer = sender.read()
            assert answer is not None and (not longest or len(answer.body) <= longest)
            command += answer.body[6:]
            if answer.body[5] & 2:
                break
        sender.release()
    assert command.endswith(b"\0") and struct.pack("<HHLH", 0, 0x0900, 2, SUCCESS) in command
    wait_for(lambda: scp.holds(instance))


# ---- real files


def test_real_files_are_stored_as_they_are(scp: WatchedScp) -> None:
    sent = []
    for _, series, instance in distinct(real_files()):
        with scp.associated(Context(1, instance.sop_class, [instance.syntax])) as sender:
            scp.order(*series)
            assert sender.store(instance) == SUCCESS, instance[:3]
            sender.release()
        sent.append((instance, series[1]))
    assert len(sent) > 60
    wait_for(lambda: all(scp.holds(*pair) for pair in sent))
