"""A PACS that is away, busy or refuses us is a reason, not an error: no attempt is burnt."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest
from pynetdicom import AE, evt

from pacstream.associations import Associations
from pacstream.messages import PacsNode
from tests.fakes.datasets import make_series
from tests.unit.retrieve.asking import Bench, counters, deaf, node_at, request_for
from tests.unit.store_scp.scp import free_port

MOVE, VERIFICATION = "1.2.840.10008.5.1.4.1.2.2.2", "1.2.840.10008.1.1"
PERMANENT, TRANSIENT = 1, 2
USER, ACSE, PRESENTATION = 1, 2, 3


@contextmanager
def answering(
    result: int = 0, source: int = 0, diagnostic: int = 0, *, abort: bool = False, offer: str = MOVE
) -> Iterator[PacsNode]:
    """A PACS that answers each A-ASSOCIATE-RQ so."""

    def answer(event: evt.Event) -> None:
        if abort:
            event.assoc.abort()
        elif result:
            event.assoc.acse.send_reject(result, source, diagnostic)
            event.assoc.kill()

    ae = AE("PACS")
    ae.add_supported_context(offer)
    server = ae.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_REQUESTED, answer)]
    )
    assert server is not None
    try:
        yield node_at(server.server_address[1])
    finally:
        server.shutdown()


@contextmanager
def full() -> Iterator[PacsNode]:
    """A host whose queue of connections is full: it drops what comes (Linux)."""
    with ExitStack() as stack, socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield node_at(server.getsockname()[1])


@pytest.mark.parametrize(
    ("result", "source", "diagnostic", "reason"),
    [
        pytest.param(PERMANENT, USER, 1, "association_rejected", id="no_reason_given"),
        pytest.param(PERMANENT, USER, 2, "association_rejected", id="application_context"),
        pytest.param(PERMANENT, USER, 3, "calling_aet_unknown", id="calling_aet_not_recognised"),
        pytest.param(PERMANENT, USER, 7, "called_aet_unknown", id="called_aet_not_recognised"),
        pytest.param(PERMANENT, ACSE, 1, "association_rejected", id="acse_no_reason_given"),
        pytest.param(PERMANENT, ACSE, 2, "association_rejected", id="protocol_version"),
        pytest.param(PERMANENT, PRESENTATION, 1, "pacs_busy", id="congestion_permanent"),
        pytest.param(TRANSIENT, PRESENTATION, 1, "pacs_busy", id="temporary_congestion"),
        pytest.param(TRANSIENT, PRESENTATION, 2, "pacs_busy", id="local_limit_exceeded"),
        pytest.param(TRANSIENT, USER, 1, "pacs_busy", id="transient_no_reason_given"),
        pytest.param(TRANSIENT, ACSE, 1, "pacs_busy", id="transient_acse_no_reason_given"),
        pytest.param(TRANSIENT, USER, 3, "calling_aet_unknown", id="transient_calling_aet"),
        pytest.param(TRANSIENT, USER, 7, "called_aet_unknown", id="transient_called_aet"),
    ],
)
def test_a_refused_association_has_its_reason(
    result: int, source: int, diagnostic: int, reason: str, bench: Bench
) -> None:
    [instance] = make_series(instances=1)
    with answering(result, source, diagnostic) as node:
        moved = bench.ask(request_for(node, instance))

    assert (moved.status, moved.reason) == (None, reason)
    assert (*counters(moved), moved.remaining) == (None, None, None, None)


def test_an_association_aborted_in_its_negotiation_has_its_reason(bench: Bench) -> None:
    [instance] = make_series(instances=1)
    with answering(abort=True) as node:
        assert bench.ask(request_for(node, instance)).reason == "association_aborted"


def test_a_pacs_without_the_service_has_its_reason(bench: Bench) -> None:
    [instance] = make_series(instances=1)
    with answering(offer=VERIFICATION) as node:
        assert bench.ask(request_for(node, instance)).reason == "no_presentation_context"


def test_a_port_where_nobody_listens_has_its_reason(bench: Bench) -> None:
    [instance] = make_series(instances=1)
    moved = bench.ask(request_for(node_at(free_port()), instance))

    assert (moved.status, moved.reason) == (None, "pacs_unreachable")


def test_a_host_name_that_is_not_known_has_its_reason(bench: Bench) -> None:
    [instance] = make_series(instances=1)
    node = node_at(104, "no-such-host.invalid")

    assert bench.ask(request_for(node, instance)).reason == "pacs_unreachable"


def test_an_association_request_without_an_answer_times_out_as_a_connection(bench: Bench) -> None:
    [instance] = make_series(instances=1)
    associations = Associations(limit=1, timeout_s=30.0, connection_timeout_s=0.5)
    with deaf() as node:
        moved = replace(bench, associations=associations).ask(request_for(node, instance))

    assert moved.reason == "connection_timed_out"
    assert 0.5 <= moved.seconds < 5


def test_a_connection_that_is_not_taken_times_out(bench: Bench) -> None:
    [instance] = make_series(instances=1)
    associations = Associations(limit=1, timeout_s=30.0, connection_timeout_s=0.5)
    with full() as node:
        moved = replace(bench, associations=associations).ask(request_for(node, instance))

    assert moved.reason == "connection_timed_out"
    assert 0.5 <= moved.seconds < 5


def test_the_log_tells_the_reason_and_no_identifier(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    [instance] = make_series(instances=1, patient_id="PLANTED")
    with answering(TRANSIENT, PRESENTATION, 1) as node, caplog.at_level("INFO", logger="pacstream"):
        bench.ask(request_for(node, instance))

    own = [r for r in caplog.records if r.name.startswith("pacstream")]
    text = " ".join(f"{r.getMessage()} {getattr(r, 'fields', '')}" for r in own)
    assert "Temporary congestion" in text
    assert instance.SeriesInstanceUID not in text and "PLANTED" not in text


def test_requests_wait_for_their_turn_and_none_is_lost(bench: Bench) -> None:
    [instance] = make_series(instances=1)
    reasons: list[str] = []
    with answering(TRANSIENT, PRESENTATION, 2) as node:
        threads = [
            threading.Thread(
                target=lambda: reasons.append(bench.ask(request_for(node, instance)).reason)
            )
            for _ in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)

    assert reasons == ["pacs_busy"] * 5
