"""Peers that say nothing, or too little: they may not hold a place, a thread or a handle."""

from __future__ import annotations

import resource
import threading
import time
from pathlib import Path

import pytest

from tests.fakes.sender import Sender
from tests.fakes.upper_layer import ABORT, COMMAND, associate_rq, command_set, p_data, pdv
from tests.fakes.upper_layer import store_elements as elements
from tests.unit.store_scp.conftest import IDLE_S, READ_S
from tests.unit.store_scp.scp import wait_for
from tests.unit.store_scp.test_bad_messages import command_of, half_a_store
from tests.unit.store_scp.watched import CT_CONTEXT, WatchedScp, watched

RQ = associate_rq([CT_CONTEXT])
MARGIN_S = 2.0
"""For a machine that has other work to do."""
IDLE_CONNECTIONS = 1000


def seconds_until_the_end(sender: Sender) -> tuple[float, set[int]]:
    """From now to the end of the connection, and the kinds of PDUs that came before it."""
    started = time.monotonic()
    kinds = {answer.kind for answer in sender.rest()}
    return time.monotonic() - started, kinds


def test_silence_instead_of_a_request_ends_the_connection(impatient: WatchedScp) -> None:
    """ARTIM, PS3.8 section 9.1.5."""
    with impatient.connect() as silent:
        taken, _ = seconds_until_the_end(silent)

    assert READ_S / 2 < taken < READ_S + MARGIN_S


@pytest.mark.parametrize("size", [1, 6, 70, len(RQ) - 1])
def test_silence_in_a_request_ends_the_connection(size: int, impatient: WatchedScp) -> None:
    with impatient.connect() as silent:
        silent.send(RQ[:size])
        taken, _ = seconds_until_the_end(silent)

    assert taken < READ_S + MARGIN_S


def test_silence_on_an_association_ends_it_with_an_abort(impatient: WatchedScp) -> None:
    with impatient.associated() as silent:
        taken, kinds = seconds_until_the_end(silent)

    assert kinds == {ABORT}
    assert IDLE_S / 2 < taken < IDLE_S + MARGIN_S


@pytest.mark.parametrize("extra", [b"", b"\4", p_data(pdv(1, b"", 0), length=500)[:9]])
def test_silence_in_a_data_set_ends_the_association_with_an_abort(
    extra: bytes, impatient: WatchedScp
) -> None:
    instance = impatient.ordered()
    with impatient.associated() as silent:
        silent.send(half_a_store(instance) + extra)
        taken, kinds = seconds_until_the_end(silent)

    assert kinds == {ABORT}
    assert taken < max(READ_S, IDLE_S) + MARGIN_S
    assert not impatient.holds(instance)


def test_silence_in_a_command_ends_the_association_with_an_abort(impatient: WatchedScp) -> None:
    command = command_set(elements(impatient.ordered()))
    with impatient.associated() as silent:
        silent.send(p_data(pdv(1, command[:50], COMMAND)))
        taken, kinds = seconds_until_the_end(silent)

    assert kinds == {ABORT}
    assert taken < max(READ_S, IDLE_S) + MARGIN_S


def drip(sender: Sender, content: bytes, every_s: float) -> float:
    """Send a byte now and then: the seconds until the peer takes no more."""
    started = time.monotonic()
    stopped = threading.Event()

    def send() -> None:
        for byte in content:
            if stopped.wait(every_s) or not sender.sent_before_the_end([bytes([byte])]):
                return

    dripping = threading.Thread(target=send, name="drip")
    dripping.start()
    sender.rest()
    taken = time.monotonic() - started
    stopped.set()
    dripping.join()
    return taken


def test_a_slow_loris_before_its_association_is_ended(impatient: WatchedScp) -> None:
    with impatient.connect() as loris:
        taken = drip(loris, RQ, 0.1)

    assert taken < READ_S + MARGIN_S


def test_a_slow_loris_in_a_data_set_is_ended(impatient: WatchedScp) -> None:
    instance = impatient.ordered()
    with impatient.associated() as loris:
        loris.send(command_of(instance))
        taken = drip(loris, p_data(pdv(1, instance.data, 2)), 0.1)

    assert taken < READ_S + MARGIN_S
    assert not impatient.holds(instance)


def test_a_slow_loris_between_messages_is_ended(impatient: WatchedScp) -> None:
    with impatient.associated() as loris:
        taken = drip(loris, command_of(impatient.ordered()), 0.1)

    assert taken < READ_S + IDLE_S + MARGIN_S


def test_a_slow_loris_with_a_pdu_for_each_byte_is_ended(impatient: WatchedScp) -> None:
    instance = impatient.ordered()
    with impatient.associated() as loris:
        loris.send(command_of(instance))
        started = time.monotonic()
        for byte in instance.data:
            if not loris.sent_before_the_end([p_data(pdv(1, bytes([byte]), 0))]):
                break
            time.sleep(0.1)
        taken = time.monotonic() - started

    assert taken < READ_S + MARGIN_S
    assert not impatient.holds(instance)


def test_a_sender_that_is_slow_but_goes_on_is_served(tmp_path: Path) -> None:
    with watched(tmp_path / "data", store_read_timeout_s=2.0, store_idle_timeout_s=2.0) as scp:
        instances = [scp.ordered() for _ in range(3)]
        with scp.associated() as slow:
            for instance in instances:
                time.sleep(1.2)
                assert slow.store(instance) == 0x0000
        wait_for(lambda: all(scp.holds(instance) for instance in instances))


def test_a_peer_that_vanishes_holds_nothing(impatient: WatchedScp) -> None:
    """No FIN and no RST: the connection is half open."""
    instance = impatient.ordered()
    gone = [impatient.connect(), impatient.associated(), impatient.associated()]
    gone[2].send(half_a_store(instance))
    wait_for(lambda: bool(impatient.temporary_files()))
    for sender in gone:
        try:
            sender.vanish()
        except PermissionError:
            pytest.skip("TCP_REPAIR needs CAP_NET_ADMIN")

    impatient.takes(impatient.ordered())
    assert not impatient.holds(instance)


def test_1000_idle_connections_do_not_keep_a_good_sender_out(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    idle: list[Sender] = []
    with watched(tmp_path / "data", store_read_timeout_s=5.0) as scp:
        try:
            idle += [scp.connect(patience_s=20.0) for _ in range(IDLE_CONNECTIONS)]
            for _ in range(5):
                scp.takes(scp.ordered())
            for sender in idle:
                sender.rest()
        finally:
            for sender in idle:
                sender.socket.close()
