"""The De-ID service in this process: pseudonyms and shifts by PatientID, or nonsense."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOKEN = "s3cret"


@dataclass
class DeidStandIn:
    """`asked`: path and body of each request. `codes`: statuses of the first ones. `spoil` changes
    an answer before it is sent."""

    codes: list[int] = field(default_factory=list)
    spoil: Callable[[str, dict[str, Any]], Any] = lambda path, answer: answer
    shift_as_text: bool = False
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    certificate: Path | None = None
    """Key and certificate; without them it is plain HTTP."""
    port: int = 0

    @property
    def url(self) -> str:
        scheme = "https" if self.certificate else "http"
        return f"{scheme}://127.0.0.1:{self.port}/api/gpcr"

    @property
    def sizes(self) -> list[int]:
        return [len(body["PatientIDList"]) for _, body in self.asked]

    def answer(self, path: str, body: dict[str, Any]) -> Any:
        ids = [one["PatientID"] for one in body["PatientIDList"]]
        if path.endswith("_shift"):
            days = {f"sub-{one}": -len(one) for one in ids}
            told: dict[str, Any] = {n: str(d) if self.shift_as_text else d for n, d in days.items()}
        else:
            told = {f"sub-{one}": f"{body['project']}-{int(one, 36) % 10**8:08d}" for one in ids}
        return self.spoil(path, told)


@contextmanager
def serving(service: DeidStandIn) -> Iterator[DeidStandIn]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            service.headers.append(dict(self.headers.items()))
            service.asked.append((self.path, body))
            code = service.codes.pop(0) if service.codes else 200
            if self.headers["Authorization"] != f"token {TOKEN}":
                code = 401
            told = service.answer(self.path, body) if code == 200 else "an error page"
            content = told if isinstance(told, bytes) else json.dumps(told).encode()
            self.send_response(code)
            if code == 302:
                self.send_header("Location", "http://elsewhere.example/")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            return

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if service.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(service.certificate)
        http.socket = context.wrap_socket(http.socket, server_side=True)
    service.port = http.server_address[1]
    thread = threading.Thread(target=http.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield service
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
