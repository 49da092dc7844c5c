"""The demo's files for Compose: the same batch as `make demo`, and what fills its PACS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from demo import data
from demo.pacs import PacsFailedError
from demo.run import write_queries
from demo.seed import INSTANCES, seed
from pacstream_cli.config import read_config

DEMO = Path(__file__).parents[3] / "demo"
ORTHANC = DEMO.parent / "deploy/compose/orthanc.json"


class StandIn:
    """An Orthanc's REST interface as far as it is used, with `there` instances."""

    def __init__(self, there: int) -> None:
        self.taken: list[int] = []
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(json.dumps({"CountInstances": there}))

            def do_POST(self) -> None:
                stand_in.taken.append(len(self.rfile.read(int(self.headers["Content-Length"]))))
                self._answer("{}")

            def _answer(self, text: str) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(params=[0, INSTANCES])
def orthanc(request: pytest.FixtureRequest) -> Iterator[tuple[int, StandIn]]:
    stand_in = StandIn(request.param)
    yield request.param, stand_in
    stand_in.stop()


def test_an_orthanc_gets_what_it_lacks(orthanc: tuple[int, StandIn]) -> None:
    there, stand_in = orthanc
    assert seed(stand_in.url) == len(stand_in.taken) == INSTANCES - there
    assert all(size > 128 for size in stand_in.taken)


def test_as_many_as_the_demo_has(tmp_path: Path) -> None:
    assert len(data.build(tmp_path).instances) == INSTANCES


def test_an_orthanc_that_never_answers_is_an_error() -> None:
    with pytest.raises(PacsFailedError, match="no Orthanc answers"):
        seed("http://127.0.0.1:9", limit_s=0)


def test_the_queries_are_those_of_the_demo(tmp_path: Path) -> None:
    write_queries(tmp_path / "queries.csv")
    wanted = (tmp_path / "queries.csv").read_text("utf-8").splitlines()
    assert (DEMO / "queries.csv").read_text("utf-8").splitlines() == wanted


def test_the_configuration_is_the_orthancs() -> None:
    config, orthanc = read_config(DEMO / "config.json"), json.loads(ORTHANC.read_text("utf-8"))
    assert (config.server_aet, config.port) == (orthanc["DicomAet"], orthanc["DicomPort"])
    destination = orthanc["DicomModalities"]["pacstream"]
    assert destination == [config.move_aet, "store_scp", config.move_port]
