"""Peers that associate as they should, and then send what no one should."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.fakes.sender import Sender
from tests.fakes.upper_layer import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    C_FIND_RQ,
    C_MOVE_RQ,
    COMMAND,
    IMPLICIT_LITTLE,
    LAST,
    NO_DATA_SET,
    P_DATA_TF,
    RELEASE_RP,
    RELEASE_RQ,
    Context,
    Instance,
    Pdu,
    associate_rq,
    command_set,
    elements_of,
    fragments,
    p_data,
    pdu,
    pdv,
    store_elements,
    store_pdus,
)
from tests.unit.store_scp.scp import data_set_of, wait_for
from tests.unit.store_scp.watched import CT, CT_CONTEXT, PLANTED, WatchedScp, element

SUCCESS, CANNOT_UNDERSTAND = 0x0000, 0xC000
PROVIDER = 2
UNRECOGNIZED_PDU, UNEXPECTED_PDU = 1, 2
"""Source and reasons of an A-ABORT, PS3.8 table 9-26."""

WORKLIST = "1.2.840.10008.5.1.4.31"
LONGEST = 131072


def command_of(instance: Instance, context_id: int = 1) -> bytes:
    """The C-STORE-RQ in one PDU, without its data set."""
    return p_data(pdv(context_id, command_set(store_elements(instance)), COMMAND | LAST))


def aborted(answers: list[Pdu]) -> tuple[int, int]:
    """Source and reason; AssertionError if the end was another."""
    assert answers and answers[-1].kind == ABORT, answers
    return answers[-1].body[2], answers[-1].body[3]


def refused(bad: Sender) -> bool:
    """Whether the answer is a failure (PS3.7 annex C) or an A-ABORT, and no success."""
    answer = bad.read()
    if answer is None or answer.kind == ABORT:
        return answer is not None
    status = int.from_bytes(elements_of(answer.body[6:])[0x0900], "little")
    return status >> 12 in (0xA, 0xC) or status >> 8 in (0x01, 0x02)


def split(instance: Instance, size: int) -> bytes:
    return b"".join(store_pdus(instance, size=size))


# ---- unusual, and right: PS3.8 allows any fragments and any of them in one PDU


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 255, 4096, LONGEST - 6])
def test_fragments_of_any_size_are_put_together(size: int, scp: WatchedScp) -> None:
    instance = scp.ordered(pixels=3000)
    with scp.associated() as sender:
        sender.send(split(instance, size))

        assert sender.status() == SUCCESS
        scp.stays_usable(sender)
    assert scp.holds(instance)


@pytest.mark.parametrize("piece", [1, 5, 6, 7, 11, 12, 13, 1000])
def test_pieces_of_any_size_on_the_wire_make_no_difference(piece: int, scp: WatchedScp) -> None:
    instance = scp.ordered(pixels=3000)
    with scp.associated() as sender:
        sender.send(split(instance, 100), piece)

        assert sender.status() == SUCCESS
        scp.stays_usable(sender)
    assert scp.holds(instance)


def test_command_and_data_set_may_share_a_pdu(scp: WatchedScp) -> None:
    instance = scp.ordered()
    command = command_set(store_elements(instance))
    with scp.associated() as sender:
        sender.send(
            p_data(*fragments(1, command, COMMAND, 1 << 16), *fragments(1, instance.data, 0, 100))
        )

        assert sender.status() == SUCCESS
        scp.stays_usable(sender)
    assert scp.holds(instance)


def test_several_fragments_may_share_a_pdu(scp: WatchedScp) -> None:
    instance = scp.ordered(pixels=3000)
    command = command_set(store_elements(instance))
    data = list(fragments(1, instance.data, 0, 7))
    with scp.associated() as sender:
        sender.send(p_data(*fragments(1, command, COMMAND, 9)))
        for start in range(0, len(data), 50):
            sender.send(p_data(*data[start : start + 50]))

        assert sender.status() == SUCCESS
        scp.stays_usable(sender)
    assert scp.holds(instance)


def test_the_last_fragment_may_be_empty(scp: WatchedScp) -> None:
    instance = scp.ordered()
    command = command_set(store_elements(instance))
    with scp.associated() as sender:
        sender.send(p_data(pdv(1, command, COMMAND)) + p_data(pdv(1, b"", COMMAND | LAST)))
        sender.send(p_data(pdv(1, b"", 0), pdv(1, instance.data, 0), pdv(1, b"", LAST)))

        assert sender.status() == SUCCESS
        scp.stays_usable(sender)
    assert scp.holds(instance)


def test_the_next_request_may_come_before_the_answer(scp: WatchedScp) -> None:
    """Bytes of two messages in one segment."""
    instances = [scp.ordered() for _ in range(20)]
    with scp.associated() as sender:
        sender.send(b"".join(split(instance, 300) for instance in instances))

        assert [sender.status() for _ in instances] == [SUCCESS] * 20
        scp.stays_usable(sender)
    assert all(scp.holds(instance) for instance in instances)


def test_elements_that_a_command_need_not_have_are_ignored(scp: WatchedScp) -> None:
    instance = scp.ordered()
    elements = store_elements(instance)
    elements |= {0x1030: PLANTED, 0x1031: 7, 0x5010: PLANTED * 20}
    with scp.associated() as sender:
        sender.send(p_data(pdv(1, command_set(elements), COMMAND | LAST)))
        sender.send(p_data(pdv(1, instance.data, LAST)))

        assert sender.status() == SUCCESS
    wait_for(lambda: scp.holds(instance))


# ---- PDUs


@pytest.mark.parametrize("kind", [0x00, 0x08, 0x42, 0xFF])
def test_an_unknown_pdu_is_aborted_as_such(kind: int, scp: WatchedScp) -> None:
    with scp.associated() as bad:
        bad.send(pdu(kind, PLANTED.encode()))

        assert aborted(bad.rest()) == (PROVIDER, UNRECOGNIZED_PDU)


@pytest.mark.parametrize(
    "content",
    [
        associate_rq([CT_CONTEXT]),
        pdu(ASSOCIATE_AC, bytes(100)),
        pdu(ASSOCIATE_RJ, bytes(4)),
        pdu(RELEASE_RP, bytes(4)),
    ],
    ids=["A-ASSOCIATE-RQ", "A-ASSOCIATE-AC", "A-ASSOCIATE-RJ", "A-RELEASE-RP"],
)
def test_a_pdu_that_has_no_place_in_an_association_is_aborted_as_such(
    content: bytes, scp: WatchedScp
) -> None:
    with scp.associated() as bad:
        bad.send(content)

        assert aborted(bad.rest()) == (PROVIDER, UNEXPECTED_PDU)


BROKEN = {
    "PDU too short for a PDV header": p_data(length=5) + b"\0\0\0\1\1",
    "PDV of length 0": p_data(pdv(1, b"", COMMAND, length=0)),
    "PDV of length 1": p_data(pdv(1, b"", COMMAND, length=1)),
    "PDV beyond its PDU": p_data(pdv(1, bytes(10), COMMAND, length=13)),
    "PDV far beyond its PDU": p_data(pdv(1, bytes(10), COMMAND, length=0xFFFFFFFF)),
    "PDV of half a PDU": p_data(pdv(1, bytes(100), COMMAND), pdv(1, bytes(10), 0, length=3)),
    "rest after the last PDV": p_data(pdv(1, bytes(10), COMMAND), b"\0\0\0"),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_lengths_that_do_not_fit_are_aborted(content: bytes, scp: WatchedScp) -> None:
    with scp.associated(patience_s=3.0) as bad:
        bad.send(content)

        assert aborted(bad.rest())[0] == PROVIDER


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_lengths_that_do_not_fit_within_a_data_set_are_aborted(
    content: bytes, scp: WatchedScp
) -> None:
    instance = scp.ordered()
    with scp.associated(patience_s=3.0) as bad:
        bad.send(command_of(instance) + p_data(pdv(1, instance.data[:100], 0)) + content)

        assert aborted(bad.rest())[0] == PROVIDER
    assert not scp.holds(instance)


def test_an_empty_p_data_is_ignored_or_aborted(scp: WatchedScp) -> None:
    """PS3.8 section 9.3.5 wants one PDV at least."""
    instance = scp.ordered()
    with scp.associated() as bad:
        bad.send(command_of(instance) + p_data() + p_data(pdv(1, instance.data, LAST)))
        answer = bad.read()

        assert answer is not None and answer.kind in (P_DATA_TF, ABORT)
        if answer.kind == P_DATA_TF:
            scp.stays_usable(bad)


@pytest.mark.parametrize("length", [LONGEST + 1, 2 * LONGEST, 1 << 22])
def test_a_pdu_longer_than_agreed_is_taken_or_aborted(length: int, scp: WatchedScp) -> None:
    instance = scp.ordered(pixels=length)
    with scp.associated() as bad:
        bad.sent_before_the_end([command_of(instance), p_data(pdv(1, instance.data, LAST))])
        answer = bad.read()

        assert answer is not None and answer.kind in (P_DATA_TF, ABORT)
        if answer.kind == P_DATA_TF:
            scp.stays_usable(bad)
            assert scp.holds(instance)


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x80000000])
def test_a_pdu_of_4_gib_that_ends_is_only_an_end(length: int, scp: WatchedScp) -> None:
    instance = scp.ordered()
    whole = pdv(1, instance.data, LAST, length=length - 4)
    with scp.associated() as bad:
        bad.sent_before_the_end([command_of(instance), p_data(whole, length=length)])
        bad.half_close()

        assert {answer.kind for answer in bad.rest()} <= {ABORT}
    assert not scp.holds(instance)


# ---- messages


def test_interleaved_presentation_contexts_are_refused(scp: WatchedScp) -> None:
    """PS3.8 annex E: all fragments of a message have the same presentation context."""
    instance = scp.ordered()
    with scp.associated(CT_CONTEXT, Context(3, CT)) as bad:
        bad.send(command_of(instance))
        bad.sent_before_the_end(
            [p_data(pdv(1, instance.data[:99], 0)), p_data(pdv(3, instance.data[99:], LAST))]
        )

        assert refused(bad)
    assert not scp.holds(instance)


def test_a_data_set_in_another_context_than_its_command_is_refused(scp: WatchedScp) -> None:
    instance = scp.ordered()
    with scp.associated(CT_CONTEXT, Context(3, CT, [IMPLICIT_LITTLE])) as bad:
        bad.sent_before_the_end([command_of(instance), p_data(pdv(3, instance.data, LAST))])

        assert refused(bad)
    assert not scp.holds(instance)


def test_two_stores_that_are_interleaved_are_refused(scp: WatchedScp) -> None:
    one, two = scp.ordered(), scp.ordered()
    with scp.associated(CT_CONTEXT, Context(3, CT)) as bad:
        bad.send(command_of(one) + p_data(pdv(1, one.data[:50], 0)))
        bad.sent_before_the_end([command_of(two, 3), p_data(pdv(3, two.data, LAST))])
        bad.sent_before_the_end([p_data(pdv(1, one.data[50:], LAST))])

        assert refused(bad)
    assert not scp.holds(one) and not scp.holds(two)


def test_a_data_set_without_a_command_is_aborted(scp: WatchedScp) -> None:
    instance = scp.ordered()
    with scp.associated() as bad:
        bad.send(p_data(pdv(1, instance.data, LAST)))

        aborted(bad.rest())
    assert not scp.holds(instance)


def test_a_command_before_the_end_of_a_data_set_is_refused(scp: WatchedScp) -> None:
    instance = scp.ordered()
    with scp.associated() as bad:
        bad.send(command_of(instance) + p_data(pdv(1, instance.data[:100], 0)))
        bad.sent_before_the_end([command_of(instance), p_data(pdv(1, instance.data, LAST))])

        assert refused(bad)
    assert not scp.holds(instance)


def test_a_data_set_before_the_end_of_its_command_is_refused(scp: WatchedScp) -> None:
    instance = scp.ordered()
    command = command_set(store_elements(instance))
    with scp.associated() as bad:
        bad.send(p_data(pdv(1, command[:60], COMMAND), pdv(1, instance.data, LAST)))
        bad.sent_before_the_end([p_data(pdv(1, command[60:], COMMAND | LAST))])

        assert refused(bad)
    assert not scp.holds(instance)


@pytest.mark.parametrize("context_id", [0, 2, 5, 255])
def test_a_context_that_was_not_proposed_is_aborted(context_id: int, scp: WatchedScp) -> None:
    instance = scp.ordered()
    with scp.associated() as bad:
        bad.sent_before_the_end(store_pdus(instance, context_id))

        aborted(bad.rest())
    assert not scp.holds(instance)


def test_a_context_that_was_not_accepted_is_aborted(scp: WatchedScp) -> None:
    instance = scp.ordered()
    with scp.associated(CT_CONTEXT, Context(3, WORKLIST)) as bad:
        bad.sent_before_the_end(store_pdus(instance, context_id=3))

        aborted(bad.rest())
    assert not scp.holds(instance)


def test_a_store_that_says_it_has_no_data_set_fails(scp: WatchedScp) -> None:
    instance = scp.ordered()
    command = command_set(store_elements(instance) | {0x0800: NO_DATA_SET})
    with scp.associated() as bad:
        bad.send(p_data(pdv(1, command, COMMAND | LAST)))

        assert refused(bad)
        scp.stays_usable(bad)
    assert not scp.holds(instance)


def test_a_store_with_an_empty_data_set_fails(scp: WatchedScp) -> None:
    instance = scp.ordered()
    with scp.associated() as bad:
        bad.send(command_of(instance) + p_data(pdv(1, b"", LAST)))

        assert refused(bad)
        scp.stays_usable(bad)
    assert not scp.holds(instance)


UNDECODABLE = {
    "text": PLANTED.encode() * 10,
    "one byte": b"\0",
    "nothing": b"",
    "half an element": command_set({0x0002: CT})[:-9],
    "element beyond the end": b"\0\0\2\0\xff\xff\xff\xff" + CT.encode(),
    "another group": b"\x10\0\x10\0\x0e\0\0\0" + PLANTED.encode() + b"\0",
    "big endian": bytes.fromhex("00000000 0000000400000004"),
    "wrong group length": command_set({0x0100: 1})[:8] + b"\xff\xff\xff\xff",
}


@pytest.mark.parametrize("command", UNDECODABLE.values(), ids=UNDECODABLE)
def test_a_command_that_cannot_be_decoded_is_refused(command: bytes, scp: WatchedScp) -> None:
    with scp.associated() as bad:
        bad.send(p_data(pdv(1, command, COMMAND | LAST)))
        bad.half_close()

        assert refused(bad)


@pytest.mark.parametrize("missing", [0x0002, 0x0100, 0x0110, 0x0800, 0x1000])
@pytest.mark.parametrize("how", ["missing", "empty", "wrong"])
def test_a_store_without_a_required_element_is_refused(
    missing: int, how: str, scp: WatchedScp
) -> None:
    instance = scp.ordered()
    elements = store_elements(instance)
    if how == "missing":
        del elements[missing]
    else:
        elements[missing] = b"" if how == "empty" else PLANTED.encode() * 10
    with scp.associated() as bad:
        bad.sent_before_the_end(
            [
                p_data(pdv(1, command_set(elements), COMMAND | LAST)),
                p_data(pdv(1, instance.data, LAST)),
            ]
        )
        bad.half_close()

        # the data set names its class itself, so the command's may be missing
        assert refused(bad) or missing == 0x0002


@pytest.mark.parametrize("field", [0x0000, 0x7777, 0x8001, 0x8020, 0x0FFF, 0x0140, 0x0150])
def test_another_command_than_a_request_for_storage_is_refused_or_ignored(
    field: int, scp: WatchedScp
) -> None:
    instance = scp.ordered()
    command = command_set(store_elements(instance) | {0x0100: field, 0x0800: NO_DATA_SET})
    with scp.associated() as bad:
        bad.send(p_data(pdv(1, command, COMMAND | LAST)))
        bad.half_close()
        answers = bad.rest()

    answered = [answer for answer in answers if answer.kind == P_DATA_TF]
    assert {answer.kind for answer in answers} <= {P_DATA_TF, ABORT}
    for answer in answered:
        assert int.from_bytes(elements_of(answer.body[6:])[0x0900], "little") != SUCCESS
    # a response, or C-CANCEL, has no answer of its own
    assert answered == [] or not (field & 0x8000 or field == 0x0FFF)


@pytest.mark.parametrize("field", [C_FIND_RQ, C_MOVE_RQ])
def test_a_query_to_a_storage_context_is_refused(field: int, scp: WatchedScp) -> None:
    instance = scp.ordered()
    command = command_set({0x0002: CT, 0x0100: field, 0x0110: 7, 0x0600: "PACS", 0x0800: 1})
    with scp.associated() as bad:
        bad.sent_before_the_end(
            [p_data(pdv(1, command, COMMAND | LAST)), p_data(pdv(1, instance.data, LAST))]
        )

        assert refused(bad)
    assert not scp.holds(instance)


def test_a_class_or_instance_that_is_no_uid_stays_out_of_paths_and_log(scp: WatchedScp) -> None:
    instance = scp.ordered()
    for uid in (f"../../{PLANTED}", f"/tmp/{PLANTED}", "1.2.3/../4", "1.2\0.3", "", "." * 64):
        with scp.associated() as bad:
            bad.send(b"".join(store_pdus(instance._replace(sop_instance=uid))))

            assert refused(bad)
    names = [str(path) for path in scp.archive.root.parent.rglob("*")]
    assert not any(PLANTED in name for name in names)
    assert not scp.holds(instance)


def with_uids(sop_instance: bytes, study: bytes, series: bytes) -> bytes:
    return element(0x00080018, "UI", sop_instance) + study + series


STUDY_ELEMENT = element(0x0020000D, "UI", b"1.2.3")
SERIES_ELEMENT = element(0x0020000E, "UI", b"1.2.4")
UNREADABLE = {
    "text": PLANTED.encode() * 10,
    "one byte": b"\x08",
    "no study": with_uids(b"1.2", b"", SERIES_ELEMENT),
    "no series": with_uids(b"1.2", STUDY_ELEMENT, b""),
    "empty series": with_uids(b"1.2", STUDY_ELEMENT, element(0x0020000E, "UI", b"")),
    "empty series of an unknown VR": with_uids(
        b"1.2", STUDY_ELEMENT, element(0x0020000E, "ZZ", b"")
    ),
    "series of an unknown VR": with_uids(b"1.2", STUDY_ELEMENT, element(0x0020000E, "ZZ", b"x")),
    "series beyond the end": with_uids(b"1.2", STUDY_ELEMENT, SERIES_ELEMENT[:-2]),
    "series of 66 characters": with_uids(
        b"1.2", STUDY_ELEMENT, element(0x0020000E, "UI", b"1." * 33)
    ),
    "series that is a path": with_uids(
        b"1.2", STUDY_ELEMENT, element(0x0020000E, "UI", b"../../1.2")
    ),
    "two series": with_uids(b"1.2", STUDY_ELEMENT, element(0x0020000E, "UI", b"1.2\\1.3")),
    "study as a sequence": with_uids(b"1.2", element(0x0020000D, "SQ", b""), SERIES_ELEMENT),
}


@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE)
def test_a_data_set_without_readable_uids_fails_as_such_and_is_kept_aside(
    data: bytes, scp: WatchedScp
) -> None:
    data += b"\0" * (len(data) % 2)
    instance = scp.ordered()._replace(data=data)
    with scp.associated() as bad:
        assert bad.store(instance) == CANNOT_UNDERSTAND
        scp.stays_usable(bad)
    [kept] = (scp.archive.quarantine / "unreadable").iterdir()
    assert data_set_of(kept) == data


# ---- ends in mid data set


def half_a_store(instance: Instance) -> bytes:
    return command_of(instance) + p_data(pdv(1, instance.data[:200], 0))


def test_an_abort_in_mid_data_set_leaves_nothing(scp: WatchedScp) -> None:
    instance = scp.ordered()
    with scp.associated() as bad:
        bad.send(half_a_store(instance) + pdu(ABORT, bytes(4)))

        assert bad.rest() == []
    assert not scp.holds(instance)


def test_a_reset_in_mid_data_set_leaves_nothing(scp: WatchedScp) -> None:
    instance = scp.ordered()
    bad = scp.associated()
    bad.send(half_a_store(instance))
    wait_for(lambda: bool(scp.temporary_files()))
    bad.reset()
    wait_for(lambda: not scp.temporary_files())
    assert not scp.holds(instance)


@pytest.mark.parametrize("cut", [1, 5, 6, 11, 12, 50, 200, -1])
def test_a_half_close_anywhere_in_a_store_leaves_nothing(cut: int, scp: WatchedScp) -> None:
    instance = scp.ordered()
    with scp.associated() as bad:
        bad.send(split(instance, 100)[:cut])
        bad.half_close()

        assert {answer.kind for answer in bad.rest()} <= {ABORT}
    assert not scp.holds(instance)


def test_a_release_in_mid_data_set_is_answered_or_aborted(scp: WatchedScp) -> None:
    instance = scp.ordered()
    with scp.associated() as bad:
        bad.send(half_a_store(instance) + pdu(RELEASE_RQ, bytes(4)))

        [answer] = bad.rest()
    assert answer.kind in (RELEASE_RP, ABORT)
    assert not scp.holds(instance)


def test_an_instance_is_kept_if_its_sender_leaves_without_the_answer(scp: WatchedScp) -> None:
    instances = [scp.ordered() for _ in range(3)]
    for instance, leave in zip(instances, (Sender.reset, Sender.half_close, abort), strict=True):
        bad = scp.associated()
        bad.send(split(instance, 16372))
        wait_for(lambda instance=instance: scp.holds(instance))  # type: ignore[misc]
        leave(bad)
        bad.socket.close()


def abort(sender: Sender) -> None:
    sender.send(pdu(ABORT, bytes(4)))


def test_answers_that_nobody_reads_hold_nobody_else(scp: WatchedScp) -> None:
    echo = command_set({0x0002: "1.2.840.10008.1.1", 0x0100: 0x30, 0x0110: 1, 0x0800: NO_DATA_SET})
    content = p_data(pdv(1, echo, COMMAND | LAST)) * 1000
    with scp.associated(Context(1, "1.2.840.10008.1.1")) as bad:
        bad.socket.settimeout(0.5)
        bad.sent_before_the_end(repeat(content, 200))
        scp.takes(scp.ordered())


def repeat(content: bytes, times: int) -> Iterable[bytes]:
    return (content for _ in range(times))
