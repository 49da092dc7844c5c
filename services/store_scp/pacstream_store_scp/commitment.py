"""Storage Commitment Push Model (PS3.4 annex J): the request of a sender, and what is reported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import NamedTuple, cast

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import Tag
from pydicom.uid import UID
from pynetdicom.dsutils import encode

from pacstream.archive import UID as SAFE_UID
from pacstream_store_scp import commands
from pacstream_store_scp.commands import Command

PUSH_MODEL, PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
REQUEST_COMMITMENT = 1
ALL_COMMITTED, FAILURES_EXIST = 1, 2
"""Event types (PS3.4 table J.3-2)."""

LONGEST_REQUEST = 4 << 20
"""Bytes of a request's data set: some 25,000 references."""

SUCCESS, PROCESSING_FAILURE, NO_SUCH_INSTANCE, INVALID_ARGUMENT = 0x0000, 0x0110, 0x0112, 0x0115
NO_SUCH_CLASS, CLASS_INSTANCE_CONFLICT, CLASS_NOT_SUPPORTED = 0x0118, 0x0119, 0x0122
NO_SUCH_ACTION, RESOURCE_LIMITATION = 0x0123, 0x0213
"""Statuses (PS3.7 annex C) and failure reasons (PS3.3 section C.14.1.1)."""

TRANSACTION_UID, REFERENCED_SOP_SEQUENCE = 0x00081195, 0x00081199


class Reference(NamedTuple):
    sop_class: str
    sop_instance: str


class Request(NamedTuple):
    """The Action Information (PS3.4 table J.3-1)."""

    transaction_uid: str
    references: tuple[Reference, ...]


class RefusedRequest(Exception):  # noqa: N818 - an answer, no error
    """The status of the N-ACTION-RSP."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status:#06x}")
        self.status = status


class Report(NamedTuple):
    """The Event Information (PS3.4 table J.3-2)."""

    event_type: int
    event: Dataset

    def encoded(self, transfer_syntax: str) -> bytes:
        syntax = UID(transfer_syntax)
        # never deflated: `negotiation` does not accept that
        event = encode(self.event, syntax.is_implicit_VR, syntax.is_little_endian)
        return cast(bytes, event)

    def command_set(self, message_id: int) -> bytes:
        """Of the N-EVENT-REPORT-RQ (PS3.7 table 10.3-1)."""
        return commands.encoded(
            [
                (commands.SOP_CLASS, _ui(PUSH_MODEL)),
                (commands.COMMAND_FIELD, commands.us(commands.N_EVENT_REPORT_RQ)),
                (commands.MESSAGE_ID, commands.us(message_id)),
                (commands.DATA_SET_TYPE, commands.us(commands.WITH_DATA_SET)),
                (commands.SOP_INSTANCE, _ui(PUSH_MODEL_INSTANCE)),
                (commands.EVENT_TYPE, commands.us(self.event_type)),
            ]
        )


def read_request(command: Command, data_set: bytes | None, transfer_syntax: str) -> Request:
    """What an N-ACTION-RQ asks for; `data_set` is None if it was too long.

    Raises RefusedRequest, and ViolationError if the command set lacks its action type.
    """
    if command.uid(commands.REQUESTED_SOP_CLASS) != PUSH_MODEL:
        raise RefusedRequest(NO_SUCH_CLASS)
    if command.uid(commands.REQUESTED_SOP_INSTANCE) != PUSH_MODEL_INSTANCE:
        raise RefusedRequest(NO_SUCH_INSTANCE)
    if command.number(commands.ACTION_TYPE) != REQUEST_COMMITMENT:
        raise RefusedRequest(NO_SUCH_ACTION)
    if data_set is None:
        raise RefusedRequest(RESOURCE_LIMITATION)
    request = _decoded(data_set, UID(transfer_syntax))
    uids = [uid for reference in request.references for uid in reference]
    if not uids or not all(SAFE_UID.fullmatch(uid) for uid in (request.transaction_uid, *uids)):
        raise RefusedRequest(INVALID_ARGUMENT)
    return request


def new_report(request: Request, failures: Sequence[int]) -> Report:
    """`failures`: the failure reason of each reference, 0 for a committed one."""
    event = Dataset()
    event.TransactionUID = request.transaction_uid
    judged = list(zip(request.references, failures, strict=True))
    committed = [_item(reference) for reference, failure in judged if not failure]
    failed = [_item(reference, failure) for reference, failure in judged if failure]
    if committed:
        event.ReferencedSOPSequence = committed
    if failed:
        event.FailedSOPSequence = failed
    return Report(FAILURES_EXIST if failed else ALL_COMMITTED, event)


def _decoded(data_set: bytes, syntax: UID) -> Request:
    try:
        action = read_dataset(
            BytesIO(data_set),
            syntax.is_implicit_VR,
            syntax.is_little_endian,
            specific_tags=[Tag(TRANSACTION_UID), Tag(REFERENCED_SOP_SEQUENCE)],
        )
        references = tuple(_references(action.ReferencedSOPSequence))
        return Request(str(action.TransactionUID).strip(), references)
    except Exception as error:  # pydicom raises many kinds for bytes that are no such data set
        raise RefusedRequest(INVALID_ARGUMENT) from error


def _references(items: Iterable[Dataset]) -> Iterable[Reference]:
    for item in items:
        yield Reference(
            str(item.ReferencedSOPClassUID).strip(), str(item.ReferencedSOPInstanceUID).strip()
        )


def _item(reference: Reference, failure: int = 0) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = reference
    if failure:
        item.FailureReason = failure
    return item


def _ui(uid: str) -> bytes:
    return uid.encode() + b"\0" * (len(uid) % 2)
