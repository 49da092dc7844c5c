"""Deflated data sets (PS3.5 section A.5): a bare stream of RFC 1951, padded to an even length."""

from __future__ import annotations

import zlib

from pacstream_exporter.folder import NotUsableError, ends_early

LARGEST = 1 << 30
"""Bytes of an inflated data set. Nobody deflates more, and it has to fit into memory."""
LEVEL = 6
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"


def inflated(content: bytes) -> bytes:
    """The data set, in explicit VR little endian. Raises NotUsableError `unreadable`, `truncated`
    or `too_large`."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        body = stream.decompress(content, LARGEST)
    except zlib.error:
        raise NotUsableError("unreadable") from None
    if stream.unconsumed_tail:
        raise NotUsableError("too_large")
    if not stream.eof or ends_early(body, 0, EXPLICIT_LITTLE):
        raise NotUsableError("truncated")
    return body


def deflated(body: bytes) -> bytes:
    stream = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    content = stream.compress(body) + stream.flush()
    return content + b"\0" * (len(content) % 2)
