"""A node that takes C-STORE, honest or not: statuses, aborts, refusals, commitment, C-FIND."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import AllTransferSyntaxes
from pynetdicom import AE, StoragePresentationContexts, build_role, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel as PushModel  # type: ignore[attr-defined]

from pacstream.dimse import NO_DELAY, hurry
from pacstream.messages import PacsNode

PUSH_INSTANCE = "1.2.840.10008.1.20.1.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
VERIFICATION = "1.2.840.10008.1.1"


@dataclass
class StoreNode:
    """`held`: SOP Instance UID -> data set as it came, with its transfer syntax in `syntaxes`."""

    aet: str = "STORENODE"
    syntaxes_taken: tuple[str, ...] = tuple(str(one) for one in AllTransferSyntaxes)
    classes: tuple[str, ...] = tuple(str(c.abstract_syntax) for c in StoragePresentationContexts)
    statuses: Mapping[str, list[int]] = field(default_factory=dict)
    """By UID: the statuses of its first C-STOREs, one after the other; then 0x0000."""
    aborts_at: Mapping[str, int] = field(default_factory=dict)
    """By UID: how often its C-STORE ends in an abort."""
    loses: frozenset[str] = frozenset()
    """Taken with success, and gone."""
    loses_once: set[str] = field(default_factory=set)
    refuses_associations: int = 0
    """So many of the first are refused for now."""
    commitment: str = ""
    """same, new (association), never (answers the request, reports nothing), or empty: none."""
    report_to: int = 0
    finds: bool = True
    pause_s: float = 0.0
    held: dict[str, Dataset] = field(default_factory=dict)
    syntaxes: dict[str, str] = field(default_factory=dict)
    stores: list[str] = field(default_factory=list)
    associations: list[int] = field(default_factory=list)
    """The number of presentation contexts that each storing one proposed."""
    asked_for: list[Dataset] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    port: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def node(self, calling_aet: str = "SENDER") -> PacsNode:
        return PacsNode(
            address="127.0.0.1", port=self.port, called_aet=self.aet, calling_aet=calling_aet
        )

    @property
    def address(self) -> str:
        return f"dicom://{self.aet}@127.0.0.1:{self.port}?calling=SENDER"

    @contextmanager
    def running(self) -> Iterator[StoreNode]:
        hurry()
        ae = AE(self.aet)
        ae.maximum_associations = 50
        for sop_class in self.classes:
            ae.add_supported_context(sop_class, list(self.syntaxes_taken))
        ae.add_supported_context(VERIFICATION)
        if self.finds:
            ae.add_supported_context(STUDY_ROOT_FIND)
        if self.commitment:
            ae.add_supported_context(PushModel)
        handlers: list[Any] = [
            NO_DELAY,
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_CONN_CLOSE, self._on_closed),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_C_FIND, self._on_find),
            (evt.EVT_N_ACTION, self._on_action),
            (evt.EVT_DIMSE_SENT, self._on_sent),
        ]
        server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        assert server is not None
        self.port = server.server_address[1]
        try:
            yield self
        finally:
            server.shutdown()

    def _on_requested(self, event: evt.Event) -> None:
        proposed = event.assoc.requestor.requested_contexts
        stores = [one for one in proposed if one.abstract_syntax in self.classes]
        if not stores:
            return
        with self.lock:
            if self.refuses_associations:
                self.refuses_associations -= 1
                event.assoc.acse.send_reject(0x02, 0x03, 0x01)
                return
            self.associations.append(len(proposed))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)

    def _on_closed(self, event: evt.Event) -> None:
        proposed = event.assoc.requestor.requested_contexts
        if any(one.abstract_syntax in self.classes for one in proposed):
            with self.lock:
                self.at_once -= 1

    def _on_store(self, event: evt.Event) -> int:
        time.sleep(self.pause_s)
        request: Any = event.request
        uid = str(request.AffectedSOPInstanceUID)
        with self.lock:
            before = self.stores.count(uid)
            self.stores.append(uid)
        if before < self.aborts_at.get(uid, 0):
            event.assoc.abort()
            return 0xC000
        script = self.statuses.get(uid, [])
        status = script[before] if before < len(script) else 0x0000
        lost = uid in self.loses or uid in self.loses_once
        self.loses_once.discard(uid)
        if not lost and (status == 0 or status >> 12 == 0xB):
            self.held[uid] = event.dataset
            self.syntaxes[uid] = str(event.context.transfer_syntax)
        return status

    def _on_find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        for uid, dataset in list(self.held.items()):
            if dataset.SeriesInstanceUID == event.identifier.SeriesInstanceUID:
                answer = Dataset()
                answer.QueryRetrieveLevel = "IMAGE"
                answer.SOPInstanceUID = uid
                yield 0xFF00, answer

    def _on_action(self, event: evt.Event) -> tuple[int, None]:
        self.asked_for.append(event.action_information)
        return 0x0000, None

    def _on_sent(self, event: evt.Event) -> None:
        """The report follows the response."""
        if type(event.message).__name__ != "N_ACTION_RSP":
            return
        request = self.asked_for[-1]
        if self.commitment == "same":
            threading.Thread(target=self._report, args=(event.assoc, request)).start()
        elif self.commitment == "new":
            threading.Thread(target=self._report_anew, args=(request,)).start()

    def _report(self, association: Association, request: Dataset) -> None:
        event = Dataset()
        event.TransactionUID = request.TransactionUID
        references = list(request.ReferencedSOPSequence)
        missing = [one for one in references if one.ReferencedSOPInstanceUID not in self.held]
        event.ReferencedSOPSequence = [one for one in references if one not in missing]
        for one in missing:
            one.FailureReason = 0x0112
        if missing:
            event.FailedSOPSequence = missing
        kind = 2 if missing else 1
        association.send_n_event_report(event, kind, PushModel, PUSH_INSTANCE)

    def _report_anew(self, request: Dataset) -> None:
        ae = AE(self.aet)
        ae.add_requested_context(PushModel)
        roles: list[Any] = [build_role(PushModel, scp_role=True)]
        association = ae.associate("127.0.0.1", self.report_to, ext_neg=roles)
        if association.is_established:
            self._report(association, request)
            association.release()
