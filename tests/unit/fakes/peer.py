"""A peer of the fake PACS: it finds, gets, moves and receives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Self, cast

from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.transport import ThreadedAssociationServer

from pacstream.dimse import NO_DELAY, responses_only
from tests.fakes.datasets import SECONDARY_CAPTURE, STORAGE
from tests.fakes.pacs import STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE, FakePacs

TITLE = "PEER"
SYNTAXES = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.5"]


@dataclass
class Peer:
    """Receives at `port`; `arrived` are SOP Instance UID and transfer syntax, in order."""

    arrived: list[tuple[str, str]] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    port: int = 0

    def on_store(self, event: evt.Event) -> int:
        request = cast(C_STORE, event.request)
        uid = str(request.AffectedSOPInstanceUID)
        self.arrived.append((uid, str(event.context.transfer_syntax)))
        self.contents.append(cast(BytesIO, request.DataSet).getvalue())
        return 0x0000

    @property
    def uids(self) -> list[str]:
        return [uid for uid, _ in self.arrived]

    def __enter__(self) -> Self:
        ae = AE(TITLE)
        for sop_class in (*STORAGE.values(), SECONDARY_CAPTURE):
            ae.add_supported_context(sop_class, SYNTAXES)
        server = ae.start_server(
            ("127.0.0.1", 0),
            block=False,
            evt_handlers=[NO_DELAY, (evt.EVT_C_STORE, self.on_store)],
        )
        assert isinstance(server, ThreadedAssociationServer)
        self._server = server
        self.port = server.server_address[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()

    @property
    def destinations(self) -> dict[str, tuple[str, int]]:
        return {TITLE: ("127.0.0.1", self.port)}


@contextmanager
def associated(pacs: FakePacs, peer: Peer | None = None) -> Iterator[Association]:
    """An established association for C-FIND, C-MOVE and C-GET."""
    ae = AE(TITLE)
    ae.dimse_timeout = 5
    for model in (STUDY_ROOT_FIND, STUDY_ROOT_MOVE, STUDY_ROOT_GET):
        ae.add_requested_context(model)
    roles: list[Any] = []
    for sop_class in STORAGE.values():
        ae.add_requested_context(sop_class, SYNTAXES)
        roles.append(build_role(sop_class, scp_role=True))
    handlers: list[evt.EventHandlerType] = [NO_DELAY]
    if peer is not None:
        handlers.append((evt.EVT_C_STORE, peer.on_store))
    association = ae.associate(
        "127.0.0.1", pacs.port, ae_title=pacs.aet, ext_neg=roles, evt_handlers=handlers
    )
    assert association.is_established
    try:
        yield responses_only(association)
    finally:
        association.abort()


def identifier(level: str, **keys: str | list[str]) -> Dataset:
    dataset = Dataset()
    dataset.QueryRetrieveLevel = level
    for keyword, key in keys.items():
        setattr(dataset, keyword, key)
    return dataset


def of_series(series: Sequence[Dataset]) -> Dataset:
    return identifier(
        "SERIES",
        StudyInstanceUID=str(series[0].StudyInstanceUID),
        SeriesInstanceUID=str(series[0].SeriesInstanceUID),
    )


def find(pacs: FakePacs, asked: Dataset) -> tuple[int | None, list[Dataset]]:
    """The last status (None: none came) and the answers that could be decoded."""
    with associated(pacs) as association:
        responses = list(association.send_c_find(asked, STUDY_ROOT_FIND))
    status = responses[-1][0].get("Status")
    return status, [answer for _, answer in responses if answer is not None]


def retrieve(pacs: FakePacs, peer: Peer, way: str, asked: Dataset) -> Dataset:
    """The last response of a C-MOVE to the peer, or of a C-GET; empty if none came."""
    with associated(pacs, peer) as association:
        if way == "C-MOVE":
            responses = list(association.send_c_move(asked, TITLE, STUDY_ROOT_MOVE))
        else:
            responses = list(association.send_c_get(asked, STUDY_ROOT_GET))
    return responses[-1][0]


def counters(response: Dataset) -> tuple[int | None, int | None, int | None]:
    """Completed, failed and warned sub-operations."""
    return (
        response.get("NumberOfCompletedSuboperations"),
        response.get("NumberOfFailedSuboperations"),
        response.get("NumberOfWarningSuboperations"),
    )
