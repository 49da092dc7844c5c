"""GET /health: 200 with a JSON body while instances are taken, else 503. GET /live: always 200."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Report = Callable[[], tuple[bool, dict[str, object]]]


def serve_health(host: str, port: int, report: Report) -> ThreadingHTTPServer:
    """Answer in a thread of its own until `shutdown()`. Raises OSError if the port is taken."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/live":
                self._answer(True, {"service": "store_scp"})
            elif self.path == "/health":
                self._answer(*report())
            else:
                self.send_error(404)

        def _answer(self, healthy: bool, fields: dict[str, object]) -> None:
            body = json.dumps(fields).encode()
            self.send_response(200 if healthy else 503)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """The checks of a supervisor are not worth log lines."""

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server
