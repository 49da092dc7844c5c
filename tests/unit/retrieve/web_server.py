"""A DICOMweb server in this process: WADO-RS, well behaved or not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

from pydicom import dcmwrite
from pydicom.dataset import Dataset

from pacstream.messages import PacsNode
from tests.unit.retrieve.asking import node_at, with_profile

BOUNDARY = b"cut-here"
MULTIPART = 'multipart/related; type="application/dicom"; boundary="cut-here"'


@dataclass
class WebPacs:
    """Serves `datasets`; `accepts` and `paths` are what was asked."""

    datasets: Sequence[Dataset]
    code: int = 200
    knows_star: bool = True
    cut_after: int | None = None
    """Close the connection after so many bytes of the body."""
    stall_after: int | None = None
    """Say nothing for a long time after so many bytes of the body."""
    drip_s: float = 0.0
    """Between any two bytes."""
    silent_s: float = 0.0
    """Before the answer."""
    bare: bool = False
    """One instance without multipart."""
    garbage: bytes = b""
    """A part that is no file of PS3.10, sent first."""
    accepts: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    port: int = 0

    def node(self) -> PacsNode:
        url = f"http://127.0.0.1:{self.port}/dicom-web/"
        return with_profile(node_at(1), retrieve="wado-rs", web_url=url)

    def body(self, path: str) -> bytes:
        uid = path.rpartition("/instances/")[2] if "/instances/" in path else ""
        wanted = [d for d in self.datasets if uid in ("", d.SOPInstanceUID)]
        files = [*([self.garbage] if self.garbage else []), *map(part10, wanted)]
        if self.bare:
            return files[0]
        parts = [
            b"--%b\r\nContent-Type: application/dicom\r\n\r\n%b\r\n" % (BOUNDARY, file)
            for file in files
        ]
        return b"".join(parts) + b"--%b--\r\n" % BOUNDARY


def part10(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


@contextmanager
def serving(web: WebPacs) -> Iterator[WebPacs]:
    ending = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            web.accepts.append(self.headers["Accept"])
            web.paths.append(self.path)
            ending.wait(web.silent_s)
            code = web.code if web.knows_star or "*" not in self.headers["Accept"] else 406
            body = web.body(self.path) if code == 200 else b""
            self.send_response(code)
            if code == 200:
                kind = (
                    f'multipart/related; type="application/dicom"; boundary="{BOUNDARY.decode()}"'
                )
                self.send_header("Content-Type", "application/dicom" if web.bare else kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.write(body)

        def write(self, body: bytes) -> None:
            if web.drip_s:
                for byte in body:
                    self.wfile.write(bytes([byte]))
                    time.sleep(web.drip_s)
                return
            stop = web.cut_after if web.stall_after is None else web.stall_after
            self.wfile.write(body[:stop])
            if stop is not None:
                self.wfile.flush()
                self.close_connection = True
                ending.wait(30 if web.stall_after is not None else 0)

        def log_message(self, format: str, *args: object) -> None:
            """Tests need no access log."""

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except ConnectionError:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    web.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield web
    finally:
        ending.set()
        server.shutdown()
        server.server_close()
