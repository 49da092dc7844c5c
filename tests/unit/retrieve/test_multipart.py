"""Bodies of multipart/related, however they are cut into chunks."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import pytest

from pacstream_retrieve.multipart import BadMultipartError, MultipartReader, boundary_of

BODY = (
    b"a preamble\r\n--bound\r\nContent-Type: application/dicom\r\nX: y\r\n\r\n"
    b"first\r\n--boun\r\n\r\n not the end\r\n--bound \r\n\r\n\r\n--bound--\r\nan epilogue"
)
PARTS = [b"first\r\n--boun\r\n\r\n not the end", b""]


def chunks(body: bytes, size: int) -> Iterator[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


def read(body: bytes, size: int) -> list[bytes]:
    contents = []
    for file in MultipartReader(chunks(body, size), b"bound").parts(BytesIO):
        file.seek(0)
        contents.append(file.read())
    return contents


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_parts_are_found_whatever_the_chunks(size: int) -> None:
    assert read(BODY, size) == PARTS


def test_a_body_may_begin_with_its_delimiter() -> None:
    assert read(b"--bound\r\n\r\nx\r\n--bound--", 5) == [b"x"]


@pytest.mark.parametrize("end", range(len(BODY) - len(b"--\r\nan epilogue") + 1))
def test_a_body_without_its_closing_delimiter_is_an_error(end: int) -> None:
    with pytest.raises(BadMultipartError):
        read(BODY[:end], 10)


def test_a_header_without_an_end_is_an_error_before_it_fills_the_memory() -> None:
    endless = (b"--bound\r\n" if first else b"x" * 1000 for first in [True] + [False] * 10000)
    with pytest.raises(BadMultipartError):
        list(MultipartReader(endless, b"bound").parts(BytesIO))
    assert next(endless)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ('multipart/related; type="application/dicom"; boundary=abc', b"abc"),
        ('Multipart/Related; boundary="a b"; type=application/dicom', b"a b"),
        ("multipart/related", None),
        ("application/dicom; boundary=abc", None),
        ("", None),
    ],
)
def test_the_boundary_is_that_of_the_content_type(
    content_type: str, boundary: bytes | None
) -> None:
    assert boundary_of(content_type) == boundary
