"""What is sent, and how answers are read."""

from __future__ import annotations

from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pynetdicom.dsutils import decode

from pacstream_query.identifiers import Answer, FindRequest, read_answer, time_range

STUDY = FindRequest("STUDY", {"StudyInstanceUID": "", "PatientName": "", "StudyDate": ""})


def answer_of(*elements: tuple[int, bytes]) -> Dataset:
    """A data set as it comes from the network (implicit VR, little endian)."""
    body = b"".join(
        tag.to_bytes(4, "big")[1::-1]
        + tag.to_bytes(4, "big")[:1:-1]
        + len(value).to_bytes(4, "little")
        + value
        for tag, value in sorted(elements)
    )
    return decode(BytesIO(body), True, True)


def read(*elements: tuple[int, bytes]) -> Answer | None:
    return read_answer(answer_of((0x0020000D, b"1.2\0"), *elements), STUDY)


def text_of(answer: Answer | None, keyword: str) -> str:
    assert answer is not None
    return answer.text(keyword)


@pytest.mark.parametrize(
    ("charset", "raw", "name"),
    [
        (b"ISO_IR 192", "Müller^Zoë".encode(), "Müller^Zoë"),
        (b"ISO_IR 100", "Müller^Zoë".encode("latin-1"), "Müller^Zoë"),
        (b"ISO_IR 144", "Люкceмбypг".encode("iso8859-5"), "Люкceмбypг"),
        (b"GB18030", "王^小东".encode("gb18030"), "王^小东"),
        (b"", "Müller^Zoë".encode(), "Müller^Zoë"),
        (b"", "Müller^Zoë".encode("latin-1"), "Müller^Zoë"),
        (b"ISO_IR 6 ", b"Doe^Jane ", "Doe^Jane"),
        (b"NO_SUCH_SET", b"Doe^Jane", "Doe^Jane"),
    ],
)
def test_text_is_decoded_by_the_answers_own_character_set(
    charset: bytes, raw: bytes, name: str
) -> None:
    answer = read((0x00080005, charset), (0x00100010, raw))
    assert text_of(answer, "PatientName") == name


def test_bytes_that_are_wrong_in_their_character_set_do_not_stop_the_reading() -> None:
    answer = read(
        (0x00080005, b"ISO_IR 192"), (0x00100010, b"M\xfcller"), (0x00080020, b"20200102")
    )
    assert text_of(answer, "PatientName").startswith("M")
    assert text_of(answer, "StudyDate") == "20200102"


def test_values_that_break_their_vr_are_kept_as_text() -> None:
    request = FindRequest("SERIES", {"SeriesInstanceUID": "", "SeriesNumber": ""})
    identifier = answer_of((0x0020000E, b"1.3"), (0x00200011, b"one "))
    assert text_of(read_answer(identifier, request), "SeriesNumber") == "one"


def test_an_attribute_that_is_absent_differs_from_one_that_is_empty() -> None:
    answer = read((0x00100010, b""))
    assert answer is not None
    assert answer.holds("PatientName")
    assert not answer.holds("StudyDate")


@pytest.mark.parametrize("uid", [b"", b"../x", b"1.2 3"])
def test_an_answer_without_a_valid_unique_key_is_refused(uid: bytes) -> None:
    assert read_answer(answer_of((0x0020000D, uid)), STUDY) is None


def test_an_answer_of_another_level_is_refused() -> None:
    assert read((0x00080052, b"SERIES")) is None
    assert read((0x00080052, b"STUDY ")) is not None


def test_an_answer_that_could_not_be_decoded_is_refused() -> None:
    assert read_answer(None, STUDY) is None


def test_a_key_beyond_ascii_is_sent_as_utf_8() -> None:
    request = FindRequest("STUDY", {"PatientName": "Müller*"})
    identifier = request.identifier(request.character_sets()[0])
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = True, True
    write_dataset(buffer, identifier)
    assert identifier.SpecificCharacterSet == "ISO_IR 192"
    assert "Müller*".encode() in buffer.getvalue()


def test_an_ascii_key_needs_no_character_set() -> None:
    assert "SpecificCharacterSet" not in FindRequest("STUDY", {"PatientName": "D*"}).identifier()


@pytest.mark.parametrize(
    ("key", "sent"),
    [
        ("", ""),
        ("10", "100000-105959.999999"),
        ("1011", "101100-101159.999999"),
        ("101112", "101112-101112.999999"),
        ("101112.5", "101112.5"),
        ("1011-", "101100-"),
        ("-1011", "-101159.999999"),
        ("10-1130", "100000-113059.999999"),
    ],
)
def test_a_time_is_sent_as_the_range_that_it_means(key: str, sent: str) -> None:
    assert time_range(key) == sent
