"""GET /health: 200 with a JSON body while instances are taken, else 503. GET /live: always 200.
GET /metrics: the numbers of that body and whether it is well, for Prometheus."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Report = Callable[[], tuple[bool, dict[str, object]]]

JSON = "application/json"
METRICS = "text/plain; version=0.0.4; charset=utf-8"


def exposition(healthy: bool, fields: dict[str, object]) -> str:
    """The report in Prometheus's text format: `pacstream_store_scp_<field>` for each number.

    Written by hand: the numbers are those of all worker processes together, which the supervisor
    has added up, and not what this process counts.
    """
    numbers = {"healthy": int(healthy)} | {
        name: value for name, value in fields.items() if isinstance(value, int)
    }
    return "".join(
        f"# TYPE pacstream_store_scp_{name} gauge\npacstream_store_scp_{name} {value}\n"
        for name, value in numbers.items()
    )


def serve_health(host: str, port: int, report: Report) -> ThreadingHTTPServer:
    """Answer in a thread of its own until `shutdown()`. Raises OSError if the port is taken."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/live":
                self._answer(200, JSON, json.dumps({"service": "store_scp"}))
            elif self.path == "/health":
                healthy, fields = report()
                self._answer(200 if healthy else 503, JSON, json.dumps(fields))
            elif self.path == "/metrics":
                self._answer(200, METRICS, exposition(*report()))
            else:
                self.send_error(404)

        def _answer(self, status: int, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """The checks of a supervisor are not worth log lines."""

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server
