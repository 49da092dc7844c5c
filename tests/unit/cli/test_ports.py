"""Which TCP ports a stack gets."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pacstream.errors import InputError
from pacstream_cli import ports
from pacstream_cli.ports import Ports


@pytest.fixture
def held() -> Iterator[int]:
    """A port at which this process listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_the_search_starts_where_the_folder_says_and_inside_the_range(tmp_path: Path) -> None:
    starts = {ports.start_of(tmp_path / str(number)) for number in range(50)}

    assert ports.start_of(tmp_path / "0") in starts
    assert len(starts) > 25
    assert all(ports.FIRST <= start < start + ports.BLOCK <= ports.LAST + 1 for start in starts)


def test_the_range_is_below_the_ports_of_outgoing_connections() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])

    assert lowest > ports.LAST


def test_a_port_that_someone_listens_on_is_not_free(held: int) -> None:
    assert not ports.is_free(held)


def test_the_holder_of_a_port_is_named(held: int) -> None:
    holder = ports.holder_of(held)

    assert holder == f"{psutil.Process().name()} (pid {os.getpid()})"


def test_a_free_port_has_no_holder() -> None:
    assert ports.holder_of(ports.free_port(ports.FIRST)) is None


def test_a_port_that_must_be_free_and_is_not_is_named_with_its_holder(held: int) -> None:
    with pytest.raises(InputError, match=rf"port {held} .*pid {os.getpid()}"):
        ports.require_free(held, "0.0.0.0", "store SCP")


def test_the_search_passes_over_taken_ports_and_the_end_of_the_range() -> None:
    last = ports.free_port(ports.LAST)

    assert ports.FIRST <= ports.free_port(ports.LAST, {last, ports.LAST}) < ports.LAST


def test_every_name_gets_a_port_of_its_own() -> None:
    chosen = ports.assign(["a", "b", "c"], ports.FIRST, Ports({}))

    assert len(set(chosen.root.values())) == 3


def test_a_recorded_port_is_used_again_while_it_is_free() -> None:
    recorded = Ports({"a": ports.free_port(ports.FIRST + 5000)})

    assert ports.assign(["a"], ports.FIRST, recorded) == recorded


def test_a_recorded_port_that_is_taken_is_replaced(held: int) -> None:
    assert ports.assign(["a"], ports.FIRST, Ports({"a": held}))["a"] != held


def test_a_fixed_port_is_not_given_to_another_name() -> None:
    wanted = ports.free_port(ports.FIRST)

    chosen = ports.assign(["a", "b"], ports.FIRST, Ports({"b": wanted}), {"a": wanted})

    assert chosen["a"] == wanted
    assert chosen["b"] != wanted


def test_a_reserved_port_is_taken_for_others_and_open_to_the_store_scp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    with ports.reserve(port, "127.0.0.1"), socket.socket() as scp:
        assert not ports.is_free(port)
        scp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        scp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        scp.bind(("127.0.0.1", port))


def test_a_port_with_connections_in_time_wait_can_be_reserved() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()
        assert client.recv(1) == b""
        client.close()

    ports.reserve(port, "127.0.0.1").close()


def test_a_record_that_cannot_be_understood_is_as_none(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text('{"amqp": "soon"}')

    assert ports.read_ports(tmp_path / "ports.json") == Ports({})
