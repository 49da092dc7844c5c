"""What the parser remembers changes nothing that it reads."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import event, given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pacstream_anonymizer.cleaner import value_of
from pacstream_anonymizer.deidentifier import Parsed, read_original
from pacstream_anonymizer.parser import Element
from pacstream_anonymizer.refusal import Refusal
from tests.unit.anonymizer.instances import an_instance, saved


def a_file(folder: Path, syntax: str, *, undefined: bool) -> bytes:
    data_set, item, inner = an_instance(), Dataset(), Dataset()
    inner.PatientID = "OLD"
    item.OtherPatientIDsSequence = [inner]
    data_set.ReferencedStudySequence = [item]
    data_set["ReferencedStudySequence"].is_undefined_length = undefined
    data_set.add_new(0x00090010, "LO", "ACME")
    data_set.add_new(0x00091001, "OB", bytes(40))
    path = saved(data_set, folder / "a.dcm", syntax)
    return path.read_bytes()


with tempfile.TemporaryDirectory() as _folder:
    WHOLE = {
        "explicit": a_file(Path(_folder), ExplicitVRLittleEndian, undefined=False),
        "undefined lengths": a_file(Path(_folder), ExplicitVRLittleEndian, undefined=True),
        "implicit": a_file(Path(_folder), ImplicitVRLittleEndian, undefined=False),
        "big endian": a_file(Path(_folder), ExplicitVRBigEndian, undefined=False),
    }


def read(content: bytes, parsed: Parsed) -> tuple[list[Element], object] | str:
    try:
        original = read_original(content, parsed)
    except Refusal as refusal:
        return refusal.reason
    return original.elements, original.pixels


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_damaged_file_is_read_alike_with_and_without_memory(data: st.DataObject) -> None:
    whole = WHOLE[data.draw(st.sampled_from(sorted(WHOLE)))]
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(132, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = st.integers(132, len(content)) | st.just(len(content))
    damaged = bytes(content[: data.draw(cut)])
    parsed = Parsed()
    read(whole, parsed)
    fresh = read(damaged, Parsed(room=0))
    event("refused" if isinstance(fresh, str) else "read")
    assert read(damaged, parsed) == fresh
    assert read(damaged, parsed) == fresh


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_values_are_looked_up_as_they_are_found(data: st.DataObject) -> None:
    """Also where a tag stands twice, or is a sequence once."""
    content = bytearray(WHOLE[data.draw(st.sampled_from(sorted(WHOLE)))])
    for _ in range(data.draw(st.integers(0, 2))):
        content[data.draw(st.integers(300, len(content) - 1))] = data.draw(st.integers(0, 32))
    parsed = Parsed()
    for _ in range(2):
        found = read(bytes(content), parsed)
        elements = [] if isinstance(found, str) else found[0]
        tags = {one.tag for one in elements} | {0x00100020, 0x00081110}
        one_by_one = {tag: value_of(list(elements), tag) for tag in tags}
        assert {tag: value_of(elements, tag) for tag in tags} == one_by_one


def test_the_same_bytes_give_the_same_element_and_others_another() -> None:
    parsed = Parsed()
    first, second = (read(WHOLE["explicit"], parsed) for _ in range(2))
    assert not isinstance(first, str) and not isinstance(second, str)
    assert all(one is other for one, other in zip(first[0], second[0], strict=True))
    third = read(WHOLE["explicit"].replace(b"Ambrosius", b"Ambrosiux"), parsed)
    assert not isinstance(third, str)
    assert sum(one is not other for one, other in zip(first[0], third[0], strict=True)) == 1
