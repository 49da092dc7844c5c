"""Peers that speak no DICOM, or propose associations that no one should."""

from __future__ import annotations

import socket
import ssl
import struct

import pytest

from tests.fakes.upper_layer import (
    ABORT,
    APPLICATION_CONTEXT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    ASSOCIATE_RQ,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    P_DATA_TF,
    RELEASE_RP,
    RELEASE_RQ,
    Context,
    Pdu,
    accepted,
    associate_rq,
    item,
    pdu,
)
from tests.unit.store_scp.scp import wait_for
from tests.unit.store_scp.watched import CT, CT_CONTEXT, PLANTED, WatchedScp

PERMANENT, TRANSIENT = 1, 2
USER, ACSE, PRESENTATION = 1, 2, 3
"""Results and sources of an A-ASSOCIATE-RJ, PS3.8 table 9-21."""

RQ = associate_rq([CT_CONTEXT])
MANY = 1000


def tls_hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="pacs")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


NO_DICOM = {
    "text": PLANTED.encode() * 100,
    "one byte": b"\xff",
    "HTTP": f"GET /{PLANTED} HTTP/1.1\r\nHost: pacs\r\n\r\n".encode(),
    "TLS": tls_hello(),
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "zeros": bytes(1000),
    "megabyte": b"\xff" * (1 << 20),
}


def rejected(answer: Pdu | None) -> tuple[int, int, int]:
    """Result, source and reason."""
    assert answer is not None and answer.kind == ASSOCIATE_RJ, answer
    return answer.body[1], answer.body[2], answer.body[3]


def turned_away(answers: list[Pdu]) -> bool:
    """A-ABORTs and nothing else (PS3.8 table 9-10: AA-1 in state 2, AA-7 in state 13)."""
    return bool(answers) and {answer.kind for answer in answers} == {ABORT}


@pytest.mark.parametrize("content", NO_DICOM.values(), ids=NO_DICOM)
def test_what_is_no_dicom_is_answered_with_an_abort(content: bytes, scp: WatchedScp) -> None:
    with scp.connect() as bad:
        bad.sent_before_the_end([content])
        bad.half_close()
        answers = bad.rest()

    # six bytes make a PDU header; less is a connection that ended
    assert turned_away(answers) or (len(content) < 6 and answers == [])


def test_a_tls_client_on_the_plain_port_is_told_at_once(scp: WatchedScp) -> None:
    with scp.connect() as bad, pytest.raises((ssl.SSLError, ConnectionError)):
        ssl.create_default_context().wrap_socket(bad.socket, server_hostname="pacs")


@pytest.mark.parametrize("kind", [ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA_TF, RELEASE_RQ, RELEASE_RP])
def test_a_pdu_before_any_association_is_answered_with_an_abort(kind: int, scp: WatchedScp) -> None:
    with scp.connect() as bad:
        bad.send(pdu(kind, bytes(4) if kind != ASSOCIATE_AC else RQ[6:]))

        assert turned_away(bad.rest())


def test_an_abort_before_any_association_closes_the_connection(scp: WatchedScp) -> None:
    with scp.connect() as bad:
        bad.send(pdu(ABORT, bytes(4)))

        assert bad.rest() == []


@pytest.mark.parametrize("length", [0, 1, 10, 67])
def test_a_request_too_short_for_its_fixed_fields_is_refused(length: int, scp: WatchedScp) -> None:
    with scp.connect() as bad:
        bad.send(pdu(ASSOCIATE_RQ, RQ[6 : 6 + length]))
        [answer] = bad.rest()

    assert answer.kind in (ASSOCIATE_RJ, ABORT)


@pytest.mark.parametrize("length", [1 << 28, 0xFFFFFFFF])
def test_a_request_of_impossible_length_is_refused_without_waiting_for_it(
    length: int, scp: WatchedScp
) -> None:
    with scp.connect(patience_s=3.0) as bad:
        bad.send(pdu(ASSOCIATE_RQ, RQ[6:], length))

        assert turned_away(bad.rest())


def test_a_request_cut_anywhere_is_answered_or_refused(scp: WatchedScp) -> None:
    for length in range(68, len(RQ) - 6, 5):
        with scp.connect() as bad:
            bad.send(pdu(ASSOCIATE_RQ, RQ[6 : 6 + length]))
            bad.half_close()
            kinds = {answer.kind for answer in bad.rest()}

        assert kinds and kinds <= {ASSOCIATE_AC, ASSOCIATE_RJ, ABORT}, length


def test_a_request_with_any_length_of_an_item_wrong_is_answered_or_refused(
    scp: WatchedScp,
) -> None:
    starts = [
        at for at in range(74, len(RQ) - 4) if RQ[at] in range(0x10, 0x60) and RQ[at + 1] == 0
    ]
    for at in starts:
        for length in (0, 1, 3, 0x7FFF, 0xFFFF):
            with scp.connect() as bad:
                bad.send(RQ[: at + 2] + struct.pack(">H", length) + RQ[at + 4 :])
                bad.half_close()
                kinds = {answer.kind for answer in bad.rest()}

            assert kinds and kinds <= {ASSOCIATE_AC, ASSOCIATE_RJ, ABORT}, (at, length)


def test_a_request_in_pieces_of_one_byte_is_accepted(scp: WatchedScp) -> None:
    with scp.connect() as slow:
        slow.send(RQ, piece=1)
        answer = slow.read()

        assert answer is not None and accepted(answer) == {1: EXPLICIT_LITTLE}
        scp.stays_usable(slow)


@pytest.mark.parametrize(
    ("kept", "answers"),
    [
        ("nothing but the user item", {ASSOCIATE_AC, ASSOCIATE_RJ, ABORT}),
        ("no user item", {ASSOCIATE_AC, ASSOCIATE_RJ, ABORT}),
        ("no items", {ASSOCIATE_RJ, ABORT}),
    ],
)
def test_a_request_that_lacks_items_is_answered_or_refused(
    kept: str, answers: set[int], scp: WatchedScp
) -> None:
    user = RQ.index(b"\x50\x00", 74)
    items = {
        "nothing but the user item": RQ[user:],
        "no user item": RQ[74:user],
        "no items": b"",
    }[kept]
    with scp.connect() as bad:
        bad.send(pdu(ASSOCIATE_RQ, RQ[6:74] + items))
        bad.half_close()
        kinds = {answer.kind for answer in bad.rest()}

    assert kinds and kinds <= answers


@pytest.mark.parametrize("version", [0, 2, 0xFFFE])
def test_another_protocol_version_is_rejected(version: int, scp: WatchedScp) -> None:
    with scp.connect() as bad:
        bad.send(associate_rq([CT_CONTEXT], version=version))

        assert rejected(bad.read()) == (PERMANENT, ACSE, 2)


def test_of_the_protocol_version_only_bit_0_counts(scp: WatchedScp) -> None:
    """PS3.8 table 9-11."""
    with scp.connect() as newer:
        newer.send(associate_rq([CT_CONTEXT], version=3))
        answer = newer.read()

        assert answer is not None and answer.kind == ASSOCIATE_AC
        scp.stays_usable(newer)


@pytest.mark.parametrize("name", ["1.2.3", "", "9" * 64, "not a UID"])
def test_another_application_context_is_accepted_or_rejected_as_such(
    name: str, scp: WatchedScp
) -> None:
    with scp.connect() as bad:
        bad.send(associate_rq([CT_CONTEXT], application_context=name))
        answer = bad.read()

        assert answer is not None
        if answer.kind == ASSOCIATE_AC:
            assert APPLICATION_CONTEXT.encode() in answer.body
            scp.stays_usable(bad)
        else:
            assert answer.kind == ABORT or rejected(answer) == (PERMANENT, USER, 2)


@pytest.mark.parametrize("title", [b"", b" " * 16, b"\xff" * 16, b"\0" * 16, b"A\\B\nC\x1b"])
def test_an_odd_ae_title_is_accepted_or_rejected_as_such(title: bytes, scp: WatchedScp) -> None:
    for request in (
        associate_rq([CT_CONTEXT], calling=title),
        associate_rq([CT_CONTEXT], called=title),
    ):
        with scp.connect() as odd:
            odd.send(request)
            answer = odd.read()

            assert answer is not None
            if answer.kind == ASSOCIATE_AC:
                scp.stays_usable(odd)
            else:
                assert answer.kind == ABORT or rejected(answer)[:2] == (PERMANENT, USER)


def test_128_contexts_are_all_accepted(scp: WatchedScp) -> None:
    contexts = [Context(number, CT, [EXPLICIT_LITTLE]) for number in range(1, 256, 2)]
    instance = scp.ordered()
    with scp.connect() as sender:
        sender.send(associate_rq(contexts))
        answer = sender.read()

        assert answer is not None and len(accepted(answer)) == 128
        assert sender.store(instance, context_id=255) == 0x0000
        scp.stays_usable(sender)
    assert scp.holds(instance)


def test_no_context_at_all_is_answered_or_refused(scp: WatchedScp) -> None:
    with scp.connect() as bad:
        bad.send(associate_rq([]))
        bad.half_close()
        kinds = {answer.kind for answer in bad.rest()}

    assert kinds and kinds <= {ASSOCIATE_AC, ASSOCIATE_RJ, ABORT}


def test_of_5000_transfer_syntaxes_the_first_of_each_context_is_accepted(scp: WatchedScp) -> None:
    syntaxes = [f"1.2.276.0.99.{number}" for number in range(5000)]
    contexts = [
        Context(2 * number + 1, CT, syntaxes[40 * number : 40 * (number + 1)])
        for number in range(125)
    ]
    with scp.connect() as sender:
        sender.send(associate_rq(contexts))
        answer = sender.read()

    assert answer is not None
    assert accepted(answer) == {context.context_id: context.syntaxes[0] for context in contexts}


def test_a_context_with_2500_transfer_syntaxes_is_accepted_with_its_first(
    scp: WatchedScp,
) -> None:
    syntaxes = [EXPLICIT_LITTLE] + [f"1.2.276.0.99.{number}" for number in range(2500)]
    with scp.associated(Context(1, CT, syntaxes)) as sender:
        scp.stays_usable(sender)


@pytest.mark.parametrize(
    "contexts",
    [
        [Context(0, CT), Context(1, CT)],
        [Context(2, CT), Context(1, CT)],
        [Context(1, CT), Context(1, CT, [IMPLICIT_LITTLE])],
        [Context(1, CT, [])],
        [Context(1, "")],
        [Context(1, "not a UID")],
        [Context(1, "1" * 300)],
        [Context(1, CT, ["not a UID"])],
        [Context(1, CT, ["1" * 300])],
        [Context(1, CT, [""])],
    ],
    ids=str,
)
def test_a_context_that_is_none_is_answered_or_refused(
    contexts: list[Context], scp: WatchedScp
) -> None:
    with scp.connect() as bad:
        bad.send(associate_rq(contexts))
        bad.half_close()
        kinds = {answer.kind for answer in bad.rest()}

    assert kinds and kinds <= {ASSOCIATE_AC, ASSOCIATE_RJ, ABORT}


def test_a_context_without_an_abstract_syntax_is_answered(scp: WatchedScp) -> None:
    syntax = b"1.2.840.10008.1.2.4.90.11"
    request = associate_rq([CT_CONTEXT]).replace(item(0x30, CT.encode()), item(0x40, syntax))
    assert item(0x30, CT.encode()) not in request
    with scp.connect() as bad:
        bad.send(request)
        bad.half_close()
        kinds = {answer.kind for answer in bad.rest()}

    assert kinds and kinds <= {ASSOCIATE_AC, ASSOCIATE_RJ, ABORT}


USER_ITEMS = {
    "unknown": item(0x5F, PLANTED.encode()),
    "empty identity": item(0x58, b""),
    "identity of type 0": item(0x58, struct.pack(">BBHH", 0, 1, 0, 0)),
    "identity beyond its item": item(0x58, struct.pack(">BBH", 2, 1, 500) + b"x"),
    "role of nothing": item(0x54, struct.pack(">HBB", 0, 1, 1)),
    "role beyond its item": item(0x54, struct.pack(">H", 900) + CT.encode()),
    "window of one byte": item(0x53, b"\1"),
    "second maximum length": item(0x51, struct.pack(">L", 1 << 20)),
    "maximum length of one byte": item(0x51, b"\1"),
    "extended negotiation beyond": item(0x56, struct.pack(">H", 900) + CT.encode()),
    "common extended negotiation beyond": item(0x57, struct.pack(">H", 900) + CT.encode()),
    "version of 60000 bytes": item(0x55, b"V" * 60000),
    "10000 unknown": item(0x5F, b"") * 10000,
}


@pytest.mark.parametrize("further", USER_ITEMS.values(), ids=USER_ITEMS)
def test_an_odd_user_item_is_answered_or_refused(further: bytes, scp: WatchedScp) -> None:
    with scp.connect() as bad:
        bad.send(associate_rq([CT_CONTEXT], further=further))
        answer = bad.read()

        assert answer is not None
        if answer.kind == ASSOCIATE_AC:
            scp.stays_usable(bad)
        else:
            assert answer.kind in (ASSOCIATE_RJ, ABORT)


def is_admitted(scp: WatchedScp) -> bool:
    with scp.connect() as sender:
        sender.send(RQ)
        answer = sender.read()
        return answer is not None and answer.kind == ASSOCIATE_AC


def test_one_association_too_many_is_rejected_for_now(scp: WatchedScp) -> None:
    held = []
    try:
        for _ in range(MANY):
            sender = scp.connect()
            held.append(sender)
            sender.send(RQ)
            answer = sender.read()
            assert answer is not None
            if answer.kind != ASSOCIATE_AC:
                break
        assert rejected(answer) == (TRANSIENT, PRESENTATION, 2)
        assert held[-1].rest() == []
        scp.stays_usable(held[0])
        held[0].socket.close()
        wait_for(lambda: is_admitted(scp))
    finally:
        for sender in held:
            sender.socket.close()


def test_connections_that_end_at_once_leave_nothing(scp: WatchedScp) -> None:
    for number in range(200):
        sender = scp.connect()
        if number % 2:
            sender.send(RQ[: number // 2])
            sender.socket.shutdown(socket.SHUT_RDWR)
        sender.reset() if number % 3 else sender.socket.close()
    scp.takes(scp.ordered())
