"""multipart/related (RFC 2046, RFC 2387), part by part into files; a cut part is not a part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from email.message import Message
from typing import BinaryIO

LONGEST_HEADER = 1 << 16


class BadMultipartError(ValueError):
    """The body ends before its closing delimiter, or is no multipart body."""


def boundary_of(content_type: str) -> bytes | None:
    """The boundary that a Content-Type names; None if it is not multipart."""
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_boundary()
    if header.get_content_maintype() != "multipart" or not boundary:
        return None
    return boundary.encode("ascii", "replace")


class MultipartReader:
    """Reads the parts of a body that comes in `chunks`."""

    def __init__(self, chunks: Iterator[bytes], boundary: bytes) -> None:
        self._chunks = chunks
        self._delimiter = b"\r\n--" + boundary
        # the first delimiter has no line break before it
        self._buffer = bytearray(b"\r\n")

    def parts(self, new_file: Callable[[], BinaryIO]) -> Iterator[BinaryIO]:
        """Each part's content in a file of its own, which is closed when the next one is asked for.

        Raises BadMultipartError, and whatever `chunks` raises.
        """
        self._copy_until(self._delimiter, None)
        while not self._is_last():
            self._take_until(b"\r\n\r\n", at_once=b"\r\n")
            with new_file() as file:
                self._copy_until(self._delimiter, file)
                yield file

    def _is_last(self) -> bool:
        while len(self._buffer) < 2:
            self._fill()
        return self._buffer[:2] == b"--"

    def _take_until(self, end: bytes, *, at_once: bytes) -> None:
        """Skip the rest of the delimiter's line and the part's header fields."""
        line = self._find(at_once)
        del self._buffer[:line]
        found = self._find(end)
        del self._buffer[: found + len(end)]

    def _find(self, end: bytes) -> int:
        while (found := self._buffer.find(end)) < 0:
            if len(self._buffer) > LONGEST_HEADER:
                raise BadMultipartError("a part has no end of its header")
            self._fill()
        return found

    def _copy_until(self, delimiter: bytes, file: BinaryIO | None) -> None:
        while (found := self._buffer.find(delimiter)) < 0:
            # a delimiter may have begun at the end of the buffer
            self._move(max(0, len(self._buffer) - len(delimiter) + 1), file)
            self._fill()
        self._move(found, file)
        del self._buffer[: len(delimiter)]

    def _move(self, size: int, file: BinaryIO | None) -> None:
        if file is not None:
            file.write(self._buffer[:size])
        del self._buffer[:size]

    def _fill(self) -> None:
        chunk = next(self._chunks, None)
        if chunk is None:
            raise BadMultipartError("the body ends before its closing delimiter")
        self._buffer += chunk
