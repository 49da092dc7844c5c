"""Specific Character Set (PS3.3 section C.12.1.1.2) in requests and in answers."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pynetdicom import evt
from pynetdicom.dsutils import decode

from pacstream_query.identifiers import FindRequest, read_answer
from tests.fakes.datasets import make_series
from tests.fakes.pacs import Behaviour, FakePacs
from tests.unit.query.rows import INFO, ask

NAMES = [
    ("ISO_IR 100", "Buc^Jérôme"),
    ("ISO_IR 192", "Wang^XiaoDong=王^小東="),
    ("GB18030", "Wang^XiaoDong=王^小东="),
    ("GBK", "Wang^XiaoDong=王^小东="),
    ("ISO_IR 126", "Διονυσιος"),
    ("ISO_IR 144", "Люкceмбypг"),
    ("ISO_IR 166", "สมชาย"),
    ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ("ISO 2022 IR 13\\ISO 2022 IR 87", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
    ("\\ISO 2022 IR 149", "Hong^Gildong=洪^吉洞=홍^길동"),
]


def encoded(charset: str, name: str) -> Dataset:
    """A C-FIND answer as it comes from the network."""
    answer = Dataset()
    answer.SpecificCharacterSet = charset.split("\\")
    answer.QueryRetrieveLevel = "STUDY"
    answer.PatientName = name
    answer.StudyInstanceUID = "1.2.3"
    answer.StudyDescription = name.replace("^", " ")
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = True, True
    write_dataset(buffer, answer)
    return decode(BytesIO(buffer.getvalue()), True, True)


@pytest.mark.parametrize(("charset", "name"), NAMES)
def test_answers_are_read_in_their_own_character_set(charset: str, name: str) -> None:
    request = FindRequest("STUDY", {"PatientName": "", "StudyDescription": ""})
    answer = read_answer(encoded(charset, name), request)
    assert answer is not None
    assert answer.text("PatientName").rstrip("=") == name.rstrip("=")
    assert answer.text("StudyDescription").rstrip("=") == name.replace("^", " ").rstrip("=")


def test_gb_2312_with_escapes_is_read() -> None:
    answer = Dataset()
    answer.SpecificCharacterSet = ["", "ISO 2022 IR 58"]
    answer.StudyInstanceUID = "1.2.3"
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = True, True
    write_dataset(buffer, answer)
    # PS3.5 annex K; pydicom can't write it
    escape = b"\x1b$)A"
    name = b"Zhang^XiaoDong=%s%s^%s%s" % (
        escape,
        "张".encode("gb2312"),
        escape,
        "小东".encode("gb2312"),
    )
    name += b" " * (len(name) % 2)
    raw = buffer.getvalue()
    element = b"\x10\x00\x10\x00" + len(name).to_bytes(4, "little") + name
    split = raw.index(b"\x20\x00\x0d\x00")
    identifier = decode(BytesIO(raw[:split] + element + raw[split:]), True, True)
    told = read_answer(identifier, FindRequest("STUDY", {"PatientName": ""}))
    assert told is not None
    assert told.text("PatientName") == "Zhang^XiaoDong=张^小东"


class Monolingual(FakePacs):
    """Finds nothing by keys in another character set than its own."""

    def __init__(self, charset: str, name: str) -> None:
        self.charset = charset
        super().__init__(make_series("P1", name, charset=charset, instances=1))

    def _on_find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        sent = event.identifier.get("SpecificCharacterSet", self.charset)
        terms = sent if isinstance(sent, str) else "\\".join(sent)
        if terms in ("", self.charset):
            yield from super()._on_find(event)


@pytest.mark.parametrize(
    ("charset", "name", "key"),
    [
        ("ISO_IR 192", "Müller^Zoë", "Müller*"),
        ("ISO_IR 100", "Müller^Zoë", "Müller*"),
        ("GB18030", "Wang^XiaoDong=王^小东", "*王*"),
    ],
)
def test_a_key_is_sent_in_the_character_set_that_the_pacs_knows(
    charset: str, name: str, key: str
) -> None:
    with Monolingual(charset, name) as pacs:
        (found,), answered = ask(pacs.node(), {"PatientName": key}, INFO)
    assert found.attributes["PatientName"].rstrip("=") == name
    assert answered.reason == ""


@pytest.mark.parametrize(
    ("key", "sets"),
    [
        ("Doe*", [()]),
        ("Müller*", [("ISO_IR 192",), ("ISO_IR 100",)]),
        ("山田*", [("ISO_IR 192",), ("", "ISO 2022 IR 87"), ("", "ISO 2022 IR 149"), ("GB18030",)]),
        ("Люк*", [("ISO_IR 192",), ("", "ISO 2022 IR 87"), ("", "ISO 2022 IR 149"), ("GB18030",)]),
    ],
)
def test_utf_8_is_tried_first(key: str, sets: list[tuple[str, ...]]) -> None:
    request = FindRequest("STUDY", {"PatientName": key})
    assert list(request.character_sets()) == sets


@pytest.mark.parametrize(
    ("terms", "codec", "key"),
    [
        (("ISO_IR 192",), "utf-8", "Müller*"),
        (("ISO_IR 100",), "latin-1", "Müller*"),
        (("GB18030",), "gb18030", "王*"),
        (("", "ISO 2022 IR 87"), "iso2022_jp", "山田*"),
    ],
)
def test_the_bytes_of_a_key_are_those_of_its_character_set(
    terms: tuple[str, ...], codec: str, key: str
) -> None:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = True, True
    write_dataset(buffer, FindRequest("STUDY", {"PatientName": key}).identifier(terms))
    assert key.encode(codec) in buffer.getvalue()


@pytest.mark.parametrize(("key", "finds"), [("muller*", True), ("MÜLLER*", True), ("Mull", False)])
def test_names_match_whatever_their_case_and_accents_are(key: str, finds: bool) -> None:
    behaviour = Behaviour(unmatched_keys=frozenset(["PatientName"]))
    with FakePacs(make_series("P1", "Müller^Zoë"), behaviour=behaviour) as pacs:
        found, _ = ask(pacs.node(), {"PatientName": key}, INFO)
    assert bool(found) is finds


@pytest.mark.parametrize(("key", "finds"), [("sequence", False), ("Séquence", True)])
def test_other_texts_match_as_they_are_written(key: str, finds: bool) -> None:
    behaviour = Behaviour(unmatched_keys=frozenset(["SeriesDescription"]))
    with FakePacs(make_series(series_description="Séquence"), behaviour=behaviour) as pacs:
        found, _ = ask(pacs.node(), {"SeriesDescription": key}, INFO)
    assert bool(found) is finds
