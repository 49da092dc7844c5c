"""`python -m pacstream.probe`: is the service of this container well?

For an image's HEALTHCHECK, which has no curl to ask with. Exit code 0 if GET /health of
PACSTREAM_HTTP_PORT on this machine answers 200, else 1. It asks with a bare socket: an HTTP
library takes longer to import than the service to answer, and this runs every ten seconds.
"""

from __future__ import annotations

import os
import socket
import sys

TIMEOUT_S = 4.0
REQUEST = b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n"


def status_of(port: int, timeout_s: float = TIMEOUT_S) -> int:
    """The HTTP status of /health; 0 if nothing answers, or something that is no HTTP."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout_s) as connection:
            connection.sendall(REQUEST)
            line = connection.makefile("rb").readline(64).split()
    except OSError:
        return 0
    if len(line) < 2 or not line[0].startswith(b"HTTP/") or not line[1].isdigit():
        return 0
    return int(line[1])


if __name__ == "__main__":
    sys.exit(0 if status_of(int(os.environ["PACSTREAM_HTTP_PORT"])) == 200 else 1)
