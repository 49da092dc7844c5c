"""A DICOMweb server in this process that takes STOW-RS, well behaved or not."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from pydicom import dcmread


@dataclass
class StowServer:
    """`files`: what came, by SOP Instance UID, byte for byte."""

    failures: Mapping[str, int] = field(default_factory=dict)
    warnings: Mapping[str, int] = field(default_factory=dict)
    codes: list[int] = field(default_factory=list)
    """Of the first POSTs, whatever they bring; nothing is kept then."""
    loses: frozenset[str] = frozenset()
    token: str = ""
    speechless: bool = False
    """200 without a body."""
    files: dict[str, bytes] = field(default_factory=dict)
    series: dict[str, str] = field(default_factory=dict)
    posts: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/dicom-web"

    def take(self, kind: str, body: bytes) -> tuple[int, object]:
        self.posts += 1
        if self.codes:
            return self.codes.pop(0), {}
        boundary = re.search('boundary="?([^";]+)', kind)
        assert boundary is not None and 'type="application/dicom"' in kind
        stored, failed = [], []
        for part in body.split(b"--" + boundary[1].encode())[1:-1]:
            head, _, rest = part.partition(b"\r\n\r\n")
            assert b"Content-Type: application/dicom" in head
            content = rest[:-2]
            dataset = dcmread(BytesIO(content))
            uid = str(dataset.SOPInstanceUID)
            if uid in self.failures:
                failed.append(_item(uid, "00081197", self.failures[uid]))
                continue
            stored.append(_item(uid, "00081196", self.warnings.get(uid)))
            if uid not in self.loses:
                self.files[uid] = content
                self.series[uid] = str(dataset.SeriesInstanceUID)
        module: dict[str, Any] = {}
        if stored:
            module["00081199"] = {"vr": "SQ", "Value": stored}
        if failed:
            module["00081198"] = {"vr": "SQ", "Value": failed}
        code = 200 if not failed else 202 if stored else 409
        return code, None if self.speechless else module

    def listed(self, path: str) -> list[object]:
        series = re.search("/series/([0-9.]+)/instances", path)
        uids = [u for u, one in self.series.items() if series and one == series[1]]
        return [{"00080018": {"vr": "UI", "Value": [uid]}} for uid in uids]


def _item(uid: str, tag: str, reason: int | None) -> dict[str, Any]:
    item: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [uid]}}
    if reason is not None:
        item[tag] = {"vr": "US", "Value": [reason]}
    return item


@contextmanager
def serving(server: StowServer) -> Iterator[StowServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(*server.take(self.headers["Content-Type"], body))

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            # the second page of a list is empty
            later = "offset=" in parts.query and "offset=0" not in parts.query
            self._answer(200, [] if later else server.listed(parts.path))

        def _answer(self, code: int, content: object) -> None:
            if server.token and self.headers.get("Authorization") != f"Bearer {server.token}":
                code, content = 401, {}
            body = b"" if content is None else json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.port = http.server_address[1]
    thread = threading.Thread(target=http.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
