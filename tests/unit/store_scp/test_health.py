"""The store SCP's HTTP interface."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from pacstream_store_scp.health import serve_health

REPORT = {"service": "store_scp", "status": "ok", "associations": 3, "queued": 0, "workers": 2}


@pytest.fixture
def url() -> Iterator[str]:
    server = serve_health("127.0.0.1", 0, lambda: (True, dict(REPORT)))
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_metrics_are_the_numbers_of_its_health(url: str) -> None:
    answer = requests.get(f"{url}/metrics", timeout=5)
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert lines == [
        "pacstream_store_scp_healthy 1",
        "pacstream_store_scp_associations 3",
        "pacstream_store_scp_queued 0",
        "pacstream_store_scp_workers 2",
    ]


def test_health_is_what_it_was(url: str) -> None:
    answer = requests.get(f"{url}/health", timeout=5)
    assert (answer.status_code, answer.json()) == (200, REPORT)
    assert requests.get(f"{url}/other", timeout=5).status_code == 404
