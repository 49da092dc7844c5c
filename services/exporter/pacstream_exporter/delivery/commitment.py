"""Storage Commitment of what was stored (PS3.4 annex J): the node promises to keep it.

The N-EVENT-REPORT comes on the association of the N-ACTION, or on one that the node opens to us.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    Verification,
)

from pacstream.dimse import NO_DELAY, associate, new_ae, requests_too
from pacstream.errors import InputError, PacsRejectedError, PacstreamError
from pacstream.messages import PacsNode
from pacstream_exporter.delivery.inventory import Item

PUSH_MODEL = StorageCommitmentPushModel
PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
REQUEST_COMMITMENT = 1
AT_ONCE = 1000
"""References in a request."""
SUCCESS, PROCESSING_FAILURE = 0x0000, 0x0110
POLL_S = 0.1


@dataclass
class Answer:
    """`committed`: SOP Instance UIDs. `refused`: the node's failure reason for each of others
    (PS3.3 section C.14.1.1). `problem`: why there is no answer, or not for all."""

    committed: set[str] = field(default_factory=set)
    refused: dict[str, int] = field(default_factory=dict)
    problem: str = ""


@dataclass
class Commitment:
    """Asks one node. `listen` is the port for its own associations; `limit_s` the longest wait for
    the report of a request."""

    node: PacsNode
    limit_s: float
    timeout_s: float
    listen: int | None = None
    _reports: queue.Queue[Dataset] = field(default_factory=queue.Queue)

    def ask(self, items: Sequence[Item]) -> Answer:
        """Problems: commitment_not_supported, commitment_refused, commitment_timed_out, or what
        kept the association from being opened."""
        answer = Answer()
        with self._listening():
            for start in range(0, len(items), AT_ONCE):
                piece = items[start : start + AT_ONCE]
                answer.problem = self._ask(piece, answer)
                if answer.problem:
                    break
        return answer

    def _ask(self, items: Sequence[Item], answer: Answer) -> str:
        try:
            association = associate(self.node, [PUSH_MODEL], self.timeout_s)
        except PacsRejectedError as error:
            missing = error.code == "no_presentation_context"
            return "commitment_not_supported" if missing else error.code
        except PacstreamError as error:
            return error.code
        try:
            association.bind(evt.EVT_N_EVENT_REPORT, self._take)
            return self._request(association, items, answer)
        finally:
            if association.is_established:
                association.release()

    def _request(self, association: Association, items: Sequence[Item], answer: Answer) -> str:
        request = request_for(items)
        try:
            status, _ = association.send_n_action(
                request, REQUEST_COMMITMENT, PUSH_MODEL, PUSH_MODEL_INSTANCE
            )
        except (RuntimeError, ValueError):
            return "association_aborted"
        if "Status" not in status:
            return "association_aborted"
        if status.Status != SUCCESS:
            return "commitment_refused"
        requests_too(association)
        report = self._wait_for(str(request.TransactionUID))
        if report is None:
            return "commitment_timed_out"
        _note(report, {item.key for item in items}, answer)
        return ""

    def _wait_for(self, transaction: str) -> Dataset | None:
        ends = time.monotonic() + self.limit_s
        while (left := ends - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                report = self._reports.get(timeout=min(left, POLL_S))
                if report.get("TransactionUID") == transaction:
                    return report
        return None

    def _take(self, event: evt.Event) -> tuple[int, None]:
        try:
            self._reports.put(event.event_information)
        except Exception:  # noqa: BLE001 - whatever a node sends, it gets an answer
            return PROCESSING_FAILURE, None
        return SUCCESS, None

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """While we wait, the node may associate with us, as the SCP of the model."""
        if self.listen is None:
            yield
            return
        ae: AE = new_ae(self.node.calling_aet, self.timeout_s)
        ae.add_supported_context(PUSH_MODEL, scu_role=True, scp_role=True)
        ae.add_supported_context(Verification)
        handlers: list[Any] = [NO_DELAY, (evt.EVT_N_EVENT_REPORT, self._take)]
        try:
            server = ae.start_server(("", self.listen), block=False, evt_handlers=handlers)
        except OSError:
            raise InputError(
                f"port {self.listen} (listen=) can't be listened on: another program has it, or "
                "ports below 1024 need rights"
            ) from None
        try:
            yield
        finally:
            if server is not None:
                server.shutdown()


def request_for(items: Sequence[Item]) -> Dataset:
    """The Action Information (PS3.4 table J.3-1)."""
    request = Dataset()
    request.TransactionUID = generate_uid(prefix=None)
    request.ReferencedSOPSequence = []
    for item in items:
        reference = Dataset()
        reference.ReferencedSOPClassUID = item.instance.sop_class
        reference.ReferencedSOPInstanceUID = item.instance.sop_instance
        request.ReferencedSOPSequence.append(reference)
    return request


def _note(report: Dataset, asked: set[str], answer: Answer) -> None:
    """The Event Information (PS3.4 table J.3-2): nothing counts that was not asked for."""
    refused = {
        str(one.get("ReferencedSOPInstanceUID", "")): int(one.get("FailureReason", 0) or 0)
        for one in report.get("FailedSOPSequence") or ()
    }
    named = {
        str(one.get("ReferencedSOPInstanceUID", ""))
        for one in report.get("ReferencedSOPSequence") or ()
    }
    answer.refused |= {uid: reason for uid, reason in refused.items() if uid in asked}
    answer.committed |= (named & asked) - refused.keys()
