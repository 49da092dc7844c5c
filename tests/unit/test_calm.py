"""pynetdicom's reactors wait for work, and miss none of it."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator

import pytest
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.transport import ThreadedAssociationServer

from pacstream import calm as calm_module
from pacstream.dimse import associate
from pacstream.messages import PacsNode

VERIFICATION = "1.2.840.10008.1.1"


@pytest.fixture
def server() -> Iterator[ThreadedAssociationServer]:
    ae = AE("PACS")
    ae.add_supported_context(VERIFICATION)
    server = ae.start_server(("127.0.0.1", 0), block=False)
    assert isinstance(server, ThreadedAssociationServer)
    yield server
    server.shutdown()


def opened(server: ThreadedAssociationServer) -> Association:
    port = server.server_address[1]
    node = PacsNode(address="127.0.0.1", port=port, called_aet="PACS", calling_aet="TEST")
    return associate(node, [VERIFICATION], 10.0)


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10.0
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def test_an_idle_association_looks_seldom(
    server: ThreadedAssociationServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also fails if another pynetdicom has its loops elsewhere: stock ones turn 400 times here."""
    turns: list[str] = []
    association = opened(server)
    stock = DULServiceProvider._process_recv_primitive

    def counted(self: DULServiceProvider) -> bool:
        if self is association.dul:
            turns.append("dul")
        return stock(self)

    is_aborted = association.acse.is_aborted

    def looked(abort_type: str = "both") -> bool:
        turns.append("association")
        return is_aborted(abort_type)

    monkeypatch.setattr(DULServiceProvider, "_process_recv_primitive", counted)
    monkeypatch.setattr(association.acse, "is_aborted", looked)
    time.sleep(0.5)
    at_most = 0.5 / calm_module.LOOK_S + 5
    assert 0 < turns.count("dul") <= at_most
    assert 0 < turns.count("association") <= at_most
    association.release()


def test_a_request_and_its_answer_wait_for_no_look(
    server: ThreadedAssociationServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    association = opened(server)
    monkeypatch.setattr(calm_module, "LOOK_S", 5.0)
    time.sleep(0.1)
    started = time.monotonic()
    for _ in range(3):
        assert association.send_c_echo().Status == 0x0000
    association.release()
    assert association.is_released
    assert time.monotonic() - started < 5.0


def test_an_abort_by_the_peer_is_noticed(server: ThreadedAssociationServer) -> None:
    association = opened(server)
    assert until(lambda: len(server.active_associations) == 1)
    server.active_associations[0].abort()
    assert until(lambda: not association.is_established)
    assert association.is_aborted


def test_a_connection_that_the_peer_closes_is_noticed(server: ThreadedAssociationServer) -> None:
    association = opened(server)
    assert until(lambda: len(server.active_associations) == 1)
    connection = server.active_associations[0].dul.socket
    assert connection is not None
    connection.close()
    assert until(lambda: not association.is_established)


def test_nothing_is_left_open_when_it_has_ended(server: ThreadedAssociationServer) -> None:
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        association = opened(server)
        association.release()
    del association

    def are_closed() -> bool:
        gc.collect()
        return len(os.listdir("/proc/self/fd")) <= before

    assert until(are_closed)


def test_what_others_open_is_left_alone(server: ThreadedAssociationServer) -> None:
    ae = AE("TEST")
    ae.add_requested_context(VERIFICATION)
    port = server.server_address[1]
    association = ae.associate(
        "127.0.0.1", port, evt_handlers=[(evt.EVT_CONN_OPEN, lambda _: None)]
    )
    assert not hasattr(association.dul.socket, calm_module.WAKER)
    assert association.send_c_echo().Status == 0x0000
    association.release()
