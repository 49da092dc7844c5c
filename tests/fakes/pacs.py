"""A PACS in this process: C-ECHO, C-FIND and C-MOVE (Study Root) over real sockets."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from types import TracebackType
from typing import Any, NamedTuple, Self

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_MOVE
from pynetdicom.dsutils import decode, encode
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from pacstream.dimse import NO_DELAY, responses_only
from pacstream.messages import PacsNode
from tests.fakes import find_rules

VERIFICATION = "1.2.840.10008.1.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"

PENDING, SUCCESS, CANCELLED, SUBOPERATIONS_FAILED = 0xFF00, 0x0000, 0xFE00, 0xB000
UNKNOWN_DESTINATION = 0xA801
LIMIT_REACHED = 0xB001
NOT_THIS_SOP_CLASS = 0xA900


@dataclass(frozen=True)
class Behaviour:
    """How a FakePacs misbehaves; nothing by default."""

    ignore_keys: frozenset[str] = frozenset()
    """Neither matched nor returned by C-FIND."""
    unmatched_keys: frozenset[str] = frozenset()
    """Returned by C-FIND, not matched."""
    refuse_levels: Mapping[str, int] = field(default_factory=dict)
    """C-FIND level -> failure status."""
    relational: bool = True
    """Without: SERIES needs a StudyInstanceUID, IMAGE both UIDs, or 0xA900."""
    hide_study_uid: bool = False
    """A SERIES query without StudyInstanceUID is answered without one."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """C-FIND level -> number of answers after which it ends with 0xB001."""
    check_called_aet: bool = False
    stray_answers: Mapping[str, tuple[Dataset, ...]] = field(default_factory=dict)
    """C-FIND level -> answers sent besides the right ones."""
    duplicate_answers: bool = False
    omit_charset: bool = False
    """C-FIND answers keep their bytes but lose SpecificCharacterSet."""
    find_delay_s: float = 0.0
    abort_finds: int = 0
    """Number of first C-FINDs that end in an abort of the association."""
    omit_counts: bool = False
    """No NumberOf...Related... in C-FIND, no sub-operation counters in C-MOVE."""
    drop: Mapping[str, int] = field(default_factory=dict)
    """SOP Instance UID -> how many times it is not sent though counted as completed."""
    fail_moves: int = 0
    """Number of first C-MOVEs answered with `fail_status`."""
    fail_status: int = 0xA702
    abort_after: int | None = None
    """Abort the C-MOVE association after this many instances, once."""
    send_foreign: Dataset | None = None
    """An instance sent at the end of each C-MOVE, not counted."""
    move_delay_s: float = 0.0
    """Before each instance."""
    busy_associations: int = 0
    """Number of first associations refused: transient, local limit exceeded."""


class Request(NamedTuple):
    """What a peer asked: kind is C-ECHO, C-FIND or C-MOVE."""

    kind: str
    level: str
    identifier: Dataset


class FakePacs:
    """Serves `datasets` on a free port of 127.0.0.1 while its `with` block runs."""

    def __init__(
        self,
        datasets: Iterable[Dataset],
        *,
        aet: str = "FAKEPACS",
        destinations: Mapping[str, tuple[str, int]] | None = None,
        behaviour: Behaviour | None = None,
    ) -> None:
        self.datasets = list(datasets)
        self.aet = aet
        self.destinations = dict(destinations or {})
        self.behaviour = behaviour or Behaviour()
        self.requests: list[Request] = []
        self.associations = 0
        self.released = 0
        self._finds_to_abort = self.behaviour.abort_finds
        self.sent: list[str] = []
        self.port = 0
        self._lock = threading.Lock()
        self._happened: Counter[str] = Counter()
        self._server: ThreadedAssociationServer | None = None

    def __enter__(self) -> Self:
        ae = AE(self.aet)
        ae.maximum_associations = 50
        ae.require_called_aet = self.behaviour.check_called_aet
        ae.add_supported_context(VERIFICATION)
        ae.add_supported_context(STUDY_ROOT_FIND)
        ae.add_supported_context(STUDY_ROOT_MOVE)
        handlers: list[evt.EventHandlerType] = [
            NO_DELAY,
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_RELEASED, self._on_released),
            (evt.EVT_C_ECHO, self._on_echo),
            (evt.EVT_C_FIND, self._on_find),
        ]
        server = ae.make_server(
            ("127.0.0.1", 0),
            evt_handlers=handlers,
            server_class=ThreadedAssociationServer,
            request_handler=_handler_of(self),
        )
        ae._servers.append(server)
        self._server = server
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.shutdown()

    def node(self, calling_aet: str = "PACSTREAM") -> PacsNode:
        return PacsNode(
            address="127.0.0.1", port=self.port, called_aet=self.aet, calling_aet=calling_aet
        )

    def asked(self, kind: str, level: str = "") -> list[Dataset]:
        """The identifiers of all requests of a kind (and level)."""
        return [r.identifier for r in self.requests if r.kind == kind and level in ("", r.level)]

    def abort_next_find(self) -> None:
        """Answer the next C-FIND with an abort of its association."""
        self._finds_to_abort += 1

    def close_associations(self) -> None:
        """Abort all associations that are open."""
        if self._server is not None:
            for association in self._server.active_associations:
                association.abort()

    def serve_move(self, association: Association, request: C_MOVE, context_id: int) -> None:
        """Answer a C-MOVE (PS3.4 section C.4.2), with this PACS's misbehaviour."""
        syntax = association._accepted_cx[context_id].transfer_syntax[0]
        identifier = decode(
            request.Identifier or BytesIO(), syntax.is_implicit_VR, syntax.is_little_endian
        )
        self._note("C-MOVE", identifier)
        move = _Move(self, association, request, context_id)
        destination = self.destinations.get(str(request.MoveDestination).strip())
        if self._happens("failed move", self.behaviour.fail_moves):
            move.respond(self.behaviour.fail_status)
        elif destination is None:
            move.respond(UNKNOWN_DESTINATION)
        else:
            move.run(destination, self._selected(identifier))

    def drops(self, sop_instance_uid: str) -> bool:
        times = self.behaviour.drop.get(sop_instance_uid, 0)
        return self._happens(f"drop {sop_instance_uid}", times)

    def aborts_after(self, instances: int) -> bool:
        return instances == self.behaviour.abort_after and self._happens("move abort", 1)

    def _happens(self, what: str, times: int) -> bool:
        with self._lock:
            self._happened[what] += 1
            return self._happened[what] <= times

    def _note(self, kind: str, identifier: Dataset) -> None:
        level = str(identifier.get("QueryRetrieveLevel", ""))
        with self._lock:
            self.requests.append(Request(kind, level, identifier))

    def _selected(self, identifier: Dataset) -> list[Dataset]:
        keys = [e for e in identifier if keyword_for_tag(e.tag) not in find_rules.CONTROL]
        return [d for d in self.datasets if all(find_rules.matches(k, d.get(k.tag)) for k in keys)]

    def _on_requested(self, event: evt.Event) -> None:
        with self._lock:
            self.associations += 1
        if self._happens("busy", self.behaviour.busy_associations):
            event.assoc.acse.send_reject(0x02, 0x03, 0x02)
            event.assoc.kill()

    def _on_released(self, event: evt.Event) -> None:
        with self._lock:
            self.released += 1

    def _on_echo(self, event: evt.Event) -> int:
        self._note("C-ECHO", Dataset())
        return SUCCESS

    def _on_find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        identifier = event.identifier
        self._note("C-FIND", identifier)
        level = str(identifier.get("QueryRetrieveLevel", ""))
        time.sleep(self.behaviour.find_delay_s)
        with self._lock:
            aborts = self._finds_to_abort > 0
            self._finds_to_abort -= aborts
        if aborts:
            event.assoc.abort()
            return
        refusal = self._refusal(identifier, level)
        if refusal is not None:
            yield refusal, None
            return
        for number, answer in enumerate(self._answers(identifier, level)):
            if number == self.behaviour.limits.get(level):
                yield LIMIT_REACHED, None
                return
            yield PENDING, answer

    def _refusal(self, identifier: Dataset, level: str) -> int | None:
        if level in self.behaviour.refuse_levels:
            return self.behaviour.refuse_levels[level]
        if level not in find_rules.LEVELS:
            return NOT_THIS_SOP_CLASS
        above = find_rules.LEVELS[: find_rules.LEVELS.index(level)]
        complete = all(identifier.get(find_rules.UNIQUE_KEY[upper]) for upper in above)
        return None if complete or self.behaviour.relational else NOT_THIS_SOP_CLASS

    def _answers(self, identifier: Dataset, level: str) -> Iterator[Dataset]:
        ignored = set(self.behaviour.ignore_keys)
        if self.behaviour.omit_counts:
            ignored |= {
                "NumberOfStudyRelatedSeries",
                "NumberOfStudyRelatedInstances",
                "NumberOfSeriesRelatedInstances",
            }
        if self.behaviour.hide_study_uid and not identifier.get("StudyInstanceUID"):
            ignored |= {"StudyInstanceUID"} if level == "SERIES" else set()
        asked = Dataset()
        asked.update({e.tag: e for e in identifier if keyword_for_tag(e.tag) not in ignored})
        skipped = find_rules.CONTROL | self.behaviour.unmatched_keys
        keys = [
            e
            for e in asked
            if (word := keyword_for_tag(e.tag)) not in skipped and find_rules.reaches(level, word)
        ]
        for group in find_rules.entities(find_rules.with_counts(self.datasets), level):
            if all(find_rules.matches(k, group[0].get(k.tag)) for k in keys):
                found = self._spoilt(find_rules.answer(asked, group[0], level))
                yield from [found] * (2 if self.behaviour.duplicate_answers else 1)
        yield from self.behaviour.stray_answers.get(level, ())

    def _spoilt(self, answer: Dataset) -> Dataset:
        if not self.behaviour.omit_charset:
            return answer
        unlabelled = decode(BytesIO(encode(answer, True, True) or b""), True, True)
        if "SpecificCharacterSet" in unlabelled:
            del unlabelled.SpecificCharacterSet
        return unlabelled


class _Move:
    """One C-MOVE under way: its sub-operations and its responses."""

    def __init__(
        self, pacs: FakePacs, association: Association, request: C_MOVE, context_id: int
    ) -> None:
        self._pacs = pacs
        self._association = association
        self._request = request
        self._context_id = context_id
        self._remaining = self._completed = self._warning = 0
        self._failed: list[str] = []

    def run(self, destination: tuple[str, int], datasets: list[Dataset]) -> None:
        self._remaining = len(datasets)
        foreign = self._pacs.behaviour.send_foreign
        to_send = [*datasets, foreign] if foreign is not None else datasets
        if not to_send:
            self.respond(SUCCESS)
            return
        store = self._associate(destination, to_send)
        if not store.is_established:
            self.respond(UNKNOWN_DESTINATION)
            return
        try:
            self._send_all(store, datasets)
            if foreign is not None and self._association.is_established:
                store.send_c_store(foreign)
        finally:
            store.release()
        if self._association.is_established:
            self._finish()

    def _associate(self, destination: tuple[str, int], datasets: list[Dataset]) -> Association:
        pairs = {(str(d.SOPClassUID), str(d.file_meta.TransferSyntaxUID)) for d in datasets}
        association = AE(self._pacs.aet).associate(
            *destination,
            contexts=[build_context(*pair) for pair in sorted(pairs)],
            ae_title=str(self._request.MoveDestination).strip(),
            evt_handlers=[NO_DELAY],
        )
        return responses_only(association)

    def _send_all(self, store: Association, datasets: list[Dataset]) -> None:
        for number, dataset in enumerate(datasets):
            if self._pacs.aborts_after(number):
                self._association.abort()
            if not self._association.is_established or self._cancelled():
                return
            time.sleep(self._pacs.behaviour.move_delay_s)
            self._send(store, dataset)
            self.respond(PENDING)

    def _send(self, store: Association, dataset: Dataset) -> None:
        uid = str(dataset.SOPInstanceUID)
        self._remaining -= 1
        status: int | None = SUCCESS
        if not self._pacs.drops(uid):
            status = self._store(store, dataset)
            self._pacs.sent.append(uid)
        if status == SUCCESS:
            self._completed += 1
        elif status is not None and status >> 12 == 0xB:
            self._warning += 1
        else:
            self._failed.append(uid)

    def _store(self, store: Association, dataset: Dataset) -> int | None:
        if not store.is_established:
            return None
        try:
            answer = store.send_c_store(
                dataset, originator_aet=self._pacs.aet, originator_id=self._request.MessageID
            )
        except (RuntimeError, ValueError):
            return None
        status = answer.get("Status")
        return int(status) if status is not None else None

    def _cancelled(self) -> bool:
        return self._request.MessageID in self._association.dimse.cancel_req

    def _finish(self) -> None:
        if self._cancelled():
            self.respond(CANCELLED)
        elif self._failed:
            self.respond(SUBOPERATIONS_FAILED if self._completed else 0xA702)
        else:
            self.respond(SUCCESS)

    def respond(self, status: int) -> None:
        response = C_MOVE()
        response.MessageIDBeingRespondedTo = self._request.MessageID
        response.AffectedSOPClassUID = self._request.AffectedSOPClassUID
        response.Status = status
        if not self._pacs.behaviour.omit_counts:
            if status in (PENDING, CANCELLED):
                response.NumberOfRemainingSuboperations = self._remaining
            response.NumberOfCompletedSuboperations = self._completed
            response.NumberOfFailedSuboperations = len(self._failed)
            response.NumberOfWarningSuboperations = self._warning
        if self._failed and status != PENDING:
            identifier = Dataset()
            identifier.FailedSOPInstanceUIDList = self._failed
            syntax = self._association._accepted_cx[self._context_id].transfer_syntax[0]
            encoded = encode(identifier, syntax.is_implicit_VR, syntax.is_little_endian)
            response.Identifier = BytesIO(encoded or b"")
        self._association.dimse.send_msg(response, self._context_id)


def _handler_of(pacs: FakePacs) -> type[RequestHandler]:
    """A request handler whose associations give C-MOVE to `pacs`.

    pynetdicom's own C-MOVE always sends true counters, so it can't play a PACS that lies.
    """

    class Handler(RequestHandler):
        def _create_association(self) -> Association:
            association = super()._create_association()
            serve = association._serve_request

            def serve_request(msg: Any, context_id: int) -> None:
                if isinstance(msg, C_MOVE) and msg.is_valid_request:
                    pacs.serve_move(association, msg, context_id)
                else:
                    serve(msg, context_id)

            # pynetdicom has no hook for this
            association._serve_request = serve_request  # type: ignore[method-assign]
            return association

    return Handler
