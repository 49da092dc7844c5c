"""The fake PACS: its port, its associations, and what was asked of it."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from types import TracebackType
from typing import Any, NamedTuple, Self

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_GET, C_MOVE
from pynetdicom.dsutils import decode
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from pacstream.dimse import NO_DELAY, hurry
from pacstream.messages import PacsNode
from pacstream_cli.fake_pacs import find_rules
from pacstream_cli.fake_pacs.behaviour import Behaviour
from pacstream_cli.fake_pacs.datasets import compressed
from pacstream_cli.fake_pacs.finding import Finder, refusal
from pacstream_cli.fake_pacs.sending import (
    LEAST_TIME_S,
    PENDING,
    SUCCESS,
    Retrieval,
    behaviour_for,
    store_association,
)

VERIFICATION = "1.2.840.10008.1.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"

UNKNOWN_DESTINATION = 0xA801


class Request(NamedTuple):
    """What a peer asked: kind is C-ECHO, C-FIND, C-MOVE or C-GET."""

    kind: str
    level: str
    identifier: Dataset


class FakePacs:
    """Serves `datasets` on `port` (0: a free one) of `host` while its `with` block runs."""

    def __init__(
        self,
        datasets: Iterable[Dataset],
        *,
        aet: str = "FAKEPACS",
        destinations: Mapping[str, tuple[str, int]] | None = None,
        behaviour: Behaviour | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        self.datasets = list(datasets)
        if self.behaviour.compress:
            self.datasets = [compressed(dataset) for dataset in self.datasets]
        self.aet = aet
        self.host = host
        self.port = port
        self.destinations = dict(destinations or {})
        self.requests: list[Request] = []
        self.associations = 0
        self.released = 0
        self.sent: list[str] = []
        self._finds_to_abort = self.behaviour.abort_finds
        self._finder = Finder(self.behaviour)
        self._lock = threading.Lock()
        self._happened: Counter[str] = Counter()
        self._closed = threading.Event()
        self._stores: set[Association] = set()
        self._server: ThreadedAssociationServer | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen. Raises OSError if the port can't be had."""
        hurry()
        self._open()

    def stop(self) -> None:
        """Close the port; requests under way end."""
        self._closed.set()
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.shutdown()

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

    def lose_network(self) -> None:
        """End all connections without a word, and listen again after `network_loss_s`."""
        with self._lock:
            server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        for association in [*server.active_associations, *self._stores]:
            _cut(association)
        again = threading.Timer(self.behaviour.network_loss_s, self._open)
        again.daemon = True
        again.start()

    # C-MOVE and C-GET

    def serve_move(self, association: Association, request: C_MOVE, context_id: int) -> None:
        """Answer a C-MOVE (PS3.4 section C.4.2), with this PACS's misbehaviour."""
        retrieval, datasets = self._retrieval("C-MOVE", association, request, context_id)
        title = str(request.MoveDestination).strip()
        destination = self.destinations.get(title)
        if retrieval.refuses():
            return
        to_send = retrieval.to_send(datasets)
        if destination is None:
            retrieval.respond(UNKNOWN_DESTINATION)
        elif not to_send:
            retrieval.respond(SUCCESS)
        else:
            with store_association(self.aet, title, destination, to_send) as store:
                if not store.is_established:
                    retrieval.respond(UNKNOWN_DESTINATION)
                    return
                self._stores.add(store)
                retrieval.run(store, datasets)
                self._stores.discard(store)

    def serve_get(self, association: Association, request: C_GET, context_id: int) -> None:
        """Answer a C-GET (PS3.4 section C.4.3), with this PACS's misbehaviour."""
        retrieval, datasets = self._retrieval("C-GET", association, request, context_id)
        if not retrieval.refuses():
            retrieval.run(association, datasets)

    def _retrieval(
        self, kind: str, association: Association, request: C_MOVE | C_GET, context_id: int
    ) -> tuple[Retrieval, list[Dataset]]:
        syntax = association._accepted_cx[context_id].transfer_syntax[0]
        identifier = decode(
            request.Identifier or BytesIO(), syntax.is_implicit_VR, syntax.is_little_endian
        )
        self._note(kind, identifier)
        datasets = self._selected(identifier)
        series = {str(dataset.SeriesInstanceUID) for dataset in datasets}
        behaviour = behaviour_for(self.behaviour, series)
        return Retrieval(self, behaviour, association, request, context_id), datasets

    def _selected(self, identifier: Dataset) -> list[Dataset]:
        keys = [
            (element.tag, find_rules.matcher(element))
            for element in identifier
            if keyword_for_tag(element.tag) not in find_rules.CONTROL
        ]
        return [d for d in self.datasets if all(matches(d.get(tag)) for tag, matches in keys)]

    @property
    def closing(self) -> bool:
        return self._closed.is_set()

    def is_withheld(self, dataset: Dataset, every: int) -> bool:
        """Whether it is the n-th, 2n-th, ... instance of its series."""
        series = [d for d in self.datasets if d.SeriesInstanceUID == dataset.SeriesInstanceUID]
        uids = [d.SOPInstanceUID for d in series]
        return (uids.index(dataset.SOPInstanceUID) + 1) % every == 0

    def happens(self, what: str, times: int) -> bool:
        """Whether `what` is to happen now: true for the first `times` calls."""
        with self._lock:
            self._happened[what] += 1
            return self._happened[what] <= times

    # The port and the other services

    def _open(self) -> None:
        with self._lock:
            if self._closed.is_set() or self._server is not None:
                return
            server = self._new_server()
            self._server = server
            self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def _new_server(self) -> ThreadedAssociationServer:
        ae = AE(self.aet)
        ae.maximum_associations = self.behaviour.max_associations
        ae.require_called_aet = self.behaviour.check_called_aet
        for service in (VERIFICATION, STUDY_ROOT_FIND, STUDY_ROOT_MOVE, STUDY_ROOT_GET):
            ae.add_supported_context(service)
        for sop_class, syntaxes in self._storage().items():
            ae.add_supported_context(sop_class, sorted(syntaxes), scu_role=False, scp_role=True)
        server = ae.make_server(
            (self.host, self.port),
            evt_handlers=[
                NO_DELAY,
                (evt.EVT_REQUESTED, self._on_requested),
                (evt.EVT_RELEASED, self._on_released),
                (evt.EVT_C_ECHO, self._on_echo),
                (evt.EVT_C_FIND, self._on_find),
            ],
            server_class=ThreadedAssociationServer,
            request_handler=_handler_of(self),
        )
        ae._servers.append(server)
        return server

    def _storage(self) -> dict[str, set[str]]:
        """SOP classes and transfer syntaxes that a C-GET may send back."""
        storage: dict[str, set[str]] = {}
        foreign = self.behaviour.send_foreign
        for dataset in [*self.datasets, *([foreign] if foreign is not None else [])]:
            syntax = str(dataset.file_meta.TransferSyntaxUID)
            storage.setdefault(str(dataset.SOPClassUID), set()).add(syntax)
        return storage

    def _note(self, kind: str, identifier: Dataset) -> None:
        level = str(identifier.get("QueryRetrieveLevel", ""))
        with self._lock:
            self.requests.append(Request(kind, level, identifier))

    def _on_requested(self, event: evt.Event) -> None:
        with self._lock:
            self.associations += 1
        if self._happens_to_be_busy():
            event.assoc.acse.send_reject(0x02, 0x03, 0x02)
            event.assoc.kill()

    def _happens_to_be_busy(self) -> bool:
        if self.happens("busy", self.behaviour.busy_associations):
            return True
        after, times = self.behaviour.refuse_after, self.behaviour.refuse_times
        return after is not None and (self.associations - 1) % (after + times) >= after

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
        refused = refusal(self.behaviour, identifier, level)
        if refused is not None:
            yield refused, None
            return
        answers = self._finder.answers(self.datasets, identifier, level)
        for number, answer in enumerate(answers):
            if number == self.behaviour.limits.get(level):
                yield self.behaviour.limit_status, None
                return
            if event.is_cancelled and not self.behaviour.ignore_cancel:
                yield 0xFE00, None
                return
            time.sleep(LEAST_TIME_S * (self.behaviour.slow - 1))
            yield PENDING, answer


def _cut(association: Association) -> None:
    """End the connection as a lost network would: no A-ABORT, no A-RELEASE."""
    connection = association.dul.socket
    if connection is not None and connection.socket is not None:
        try:
            connection.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it has ended by itself


def _handler_of(pacs: FakePacs) -> type[RequestHandler]:
    """A request handler whose associations give C-MOVE and C-GET to `pacs`."""

    class Handler(RequestHandler):
        def _create_association(self) -> Association:
            association = super()._create_association()
            serve = association._serve_request

            def serve_request(msg: Any, context_id: int) -> None:
                if not isinstance(msg, (C_MOVE, C_GET)) or not msg.is_valid_request:
                    serve(msg, context_id)
                    return
                association.dimse.cancel_req = {}
                # send_c_store waits for the reactor, which is this thread, to be paused
                association._is_paused = True
                if isinstance(msg, C_MOVE):
                    pacs.serve_move(association, msg, context_id)
                else:
                    pacs.serve_get(association, msg, context_id)
                association._is_paused = False

            # pynetdicom has no hook for this, and mypy wants methods to stay what they are
            association._serve_request = serve_request  # type: ignore[method-assign]
            return association

    return Handler
