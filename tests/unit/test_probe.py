"""The probe of an image's HEALTHCHECK, against real sockets."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from pacstream.probe import status_of
from pacstream_store_scp.health import serve_health


@pytest.fixture
def answering() -> Iterator[int]:
    """A port where each connection gets 64 bytes that are no HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"\x00" * 64)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


@pytest.mark.parametrize(("healthy", "code"), [(True, 0), (False, 1)])
def test_its_exit_code_is_the_services_health(healthy: bool, code: int) -> None:
    server = serve_health("127.0.0.1", 0, lambda: (healthy, {}))
    try:
        port = server.server_address[1]
        done = subprocess.run(
            [sys.executable, "-m", "pacstream.probe"],
            env={"PACSTREAM_HTTP_PORT": str(port)},
            timeout=30,
        )
        assert done.returncode == code
        assert status_of(port) == (200 if healthy else 503)
    finally:
        server.shutdown()
        server.server_close()


def test_no_answer_is_no_status() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert status_of(port, timeout_s=0.1) == 0
    assert status_of(port) == 0


def test_what_is_no_http_is_no_status(answering: int) -> None:
    assert status_of(answering) == 0
