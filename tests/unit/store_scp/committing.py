"""A sender that asks for storage commitment: pynetdicom as SCU, and what it is told."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association

from pacstream_store_scp.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE
from tests.fakes.datasets import uid_from

Told = tuple[int, Dataset]
"""Event type and event information of an N-EVENT-REPORT."""


@dataclass
class Reports:
    """What a sender was told, and how it answers."""

    status: int = 0x0000
    told: queue.Queue[Told] = field(default_factory=queue.Queue)
    by: list[tuple[str, bool, bool]] = field(default_factory=list)
    """Requestor's title, and the SCU and SCP roles it proposed, of associations to the sender."""

    def take(self, event: evt.Event) -> tuple[int, None]:
        roles = event.assoc.requestor.role_selection.get(PUSH_MODEL)
        title = event.assoc.requestor.ae_title
        if roles is not None:
            self.by.append((title, bool(roles.scu_role), bool(roles.scp_role)))
        assert event.event_type is not None
        self.told.put((event.event_type, event.event_information))
        return self.status, None

    def next(self, seconds: float = 10.0) -> Told:
        return self.told.get(timeout=seconds)


def request(references: Sequence[tuple[str, str]], transaction: str) -> Dataset:
    """The Action Information for pairs of SOP Class and SOP Instance UID."""
    action = Dataset()
    action.TransactionUID = transaction
    action.ReferencedSOPSequence = []
    for sop_class, sop_instance in references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_instance
        action.ReferencedSOPSequence.append(item)
    return action


def new_transaction(number: int = 1) -> str:
    return uid_from("transaction", number)


@contextmanager
def sender(port: int, reports: Reports, syntax: str = "1.2.840.10008.1.2") -> Iterator[Association]:
    """An association that is left open for the report."""
    ae = AE("SENDER")
    ae.add_requested_context(PUSH_MODEL, syntax)
    association = ae.associate(
        "127.0.0.1",
        port,
        ae_title="PACSTREAM",
        ext_neg=[build_role(PUSH_MODEL, scu_role=True)],
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, reports.take)],
    )
    assert association.is_established
    try:
        yield association
    finally:
        association.release()


@contextmanager
def listening(port: int, reports: Reports) -> Iterator[None]:
    """The sender's own SCP, for reports on other associations."""
    ae = AE("SENDER")
    ae.add_supported_context(PUSH_MODEL, scu_role=False, scp_role=True)
    server = ae.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, reports.take)]
    )
    try:
        yield
    finally:
        assert server is not None
        server.shutdown()


def ask(
    association: Association,
    references: Sequence[tuple[str, str]],
    **command: Any,
) -> int:
    """N-ACTION: its status."""
    chosen: dict[str, Any] = {
        "action_type": 1,
        "class_uid": PUSH_MODEL,
        "instance_uid": PUSH_MODEL_INSTANCE,
    }
    action = request(references, new_transaction())
    answer, _ = association.send_n_action(action, **(chosen | command))
    return int(answer.Status)


def failed(event: Dataset) -> dict[str, int]:
    """Failure reasons by SOP Instance UID."""
    return {
        item.ReferencedSOPInstanceUID: item.FailureReason
        for item in event.get("FailedSOPSequence", [])
    }


def committed(event: Dataset) -> list[str]:
    items = event.get("ReferencedSOPSequence", [])
    return [str(item.ReferencedSOPInstanceUID) for item in items]
