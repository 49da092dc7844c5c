"""What the gate reads in originals: the same by the walk, from memory and by pydicom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from pacstream_anonymizer.gate import Claims, Gate, originals
from pacstream_anonymizer.gate.identifiers import Traces, union
from pacstream_anonymizer.gate.originals import Known, Originals, by_pydicom
from tests.unit.anonymizer.gate.files import a_release, verdict, written
from tests.unit.anonymizer.instances import INSTANCE, an_instance, saved

SYNTAXES = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
]


def told(known: Known) -> tuple[dict[str, frozenset[Any]], frozenset[str], set[int]]:
    return vars(union(known.personal)), known.uids, set(known.mandatory)


def read(path: Path, memory: Originals | None = None) -> Known:
    return (memory or Originals(8, 1 << 20)).known_of(path, path.read_bytes())


def a_rich_instance() -> Dataset:
    data_set, item, inner = an_instance(), Dataset(), Dataset()
    inner.SpecificCharacterSet, inner.PatientName = "ISO_IR 192", "山田^太郎"
    inner.PatientID, inner.ReferencedSOPInstanceUID = "OLD-1", "1.2.3.4.5.6"
    item.OtherPatientIDsSequence = [inner]
    data_set.ReferencedStudySequence = [item]
    return data_set


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_walk_and_pydicom_read_the_same(tmp_path: Path, syntax: str) -> None:
    path = saved(a_rich_instance(), tmp_path / "a.dcm", syntax)
    known = read(path)
    assert told(known) == told(by_pydicom(path))
    everything = union(known.personal)
    assert ("Quixotesson", "Ambrosius") in everything.names
    assert ("山田", "太郎") in everything.names
    assert {"OLD-1", "MRN-88213", "ACC-55120"} <= everything.ids
    assert {"1.2.3.4.5.6", INSTANCE} <= known.uids


def un(tag: bytes, value: bytes, *, undefined: bool = False) -> bytes:
    """An element of VR UN in explicit VR little endian."""
    length = b"\xff\xff\xff\xff" if undefined else len(value).to_bytes(4, "little")
    return tag + b"UN\0\0" + length + value + (b"\xfe\xff\xdd\xe0\0\0\0\0" if undefined else b"")


@pytest.mark.parametrize("undefined", [False, True])
def test_what_hides_in_an_unknown_vr_is_read(tmp_path: Path, undefined: bool) -> None:
    def item(name: bytes) -> bytes:
        inner = b"\x10\x00\x10\x00" + len(name).to_bytes(4, "little") + name
        return b"\xfe\xff\x00\xe0" + len(inner).to_bytes(4, "little") + inner

    path = saved(an_instance(), tmp_path / "a.dcm")
    content = path.read_bytes()
    patient = content.index(b"\x10\x00\x10\x00PN")
    hidden = (
        un(b"\x08\x00\x40\x11", item(b"Vandersloot "), undefined=undefined)
        + b"\x09\x00\x10\x00LO\x04\x00ACME"
        + un(b"\x09\x00\x01\x10", item(b"Langenhoven "))
    )
    path.write_bytes(content[:patient] + hidden + content[patient:])
    names = union(read(path).personal).names
    assert ("Vandersloot",) in names
    # The walk is in doubt about an unknown sequence without length; pydicom leaves private ones be.
    assert undefined or ("Langenhoven",) in names


def test_pydicom_is_asked_only_where_the_walk_is_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def counted(path: Path, **options: Any) -> Dataset:
        asked.append(path)
        return dcmread(path, **options)

    monkeypatch.setattr(originals, "dcmread", counted)
    plain = saved(a_rich_instance(), tmp_path / "plain.dcm")
    deflated = saved(a_rich_instance(), tmp_path / "d.dcm", DeflatedExplicitVRLittleEndian)
    read(plain)
    assert asked == []
    read(deflated)
    assert asked == [deflated]


def test_the_same_bytes_in_another_character_set_are_another_name(tmp_path: Path) -> None:
    memory = Originals(8, 1 << 20)
    for number, declared in enumerate(("ISO_IR 192", "ISO_IR 144", "ISO_IR 192")):
        data_set = an_instance(SpecificCharacterSet="ISO_IR 192", PatientName="Ôstergård")
        path = saved(data_set, tmp_path / f"{number}.dcm")
        padded = b"ISO_IR 192", declared.encode()
        path.write_bytes(path.read_bytes().replace(*padded))
        assert told(read(path, memory)) == told(by_pydicom(path))


def test_another_name_in_the_next_instance_is_looked_for(tmp_path: Path) -> None:
    gate = Gate()
    released = a_release(SeriesDescription="Vandersloot")
    for name, outcome in (("Quixotesson", "passed"), ("Vandersloot", "emptied 0008103E")) * 2:
        assert verdict(an_instance(PatientName=name), released, tmp_path, gate=gate) == outcome


def test_a_gate_forgets_what_it_has_not_seen_for_long(tmp_path: Path) -> None:
    gate = Gate(remembered=3)
    for number in range(9):
        path = saved(an_instance(AccessionNumber=f"ACC-{number}"), tmp_path / f"{number}.dcm")
        gate.check(path, path.read_bytes(), written(a_release()), None, Claims())
    assert len(gate._searches) == len(gate._memories) == 3


def test_the_same_persons_in_other_bytes_are_sought_alike(tmp_path: Path) -> None:
    gate = Gate()
    for number in range(3):
        original, item = an_instance(), Dataset()
        item.ReferringPhysicianName = "Vandersloot"
        item.ReferencedSOPInstanceUID = f"1.2.3.4.{number}"
        original.ReferencedStudySequence = [item]
        verdict(original, a_release(SeriesDescription="Vandersloot"), tmp_path, gate=gate)
    assert len(gate._searches) == 3
    assert len(gate._memories) == 1


TEXTS = st.sampled_from(
    ["", "Vandersloot", "7", "ACC-55120", "for Quixotesson", "Äßling", "1.2.3.4.5"]
)
ORIGINALS = st.fixed_dictionaries(
    {},
    optional={
        "PatientName": st.sampled_from(["Quixotesson^Ambrosius", "Äßling^Ûte", "Head^A", ""]),
        "OperatorsName": st.sampled_from(["Vandersloot^Maj", "Ng^Li"]),
        "PatientID": st.sampled_from(["7", "00088213", " MRN-1 "]),
        "StudyID": TEXTS,
        "FrameOfReferenceUID": st.sampled_from(["1.2.3.4.5", "1.2.3.4.6"]),
        "SpecificCharacterSet": st.sampled_from(["ISO_IR 100", "ISO_IR 192"]),
    },
)
RELEASES = st.fixed_dictionaries(
    {},
    optional={
        "SeriesDescription": TEXTS,
        "BodyPartExamined": st.sampled_from(["HEAD", "QUIXOTESSON"]),
        "SliceThickness": st.sampled_from(["7", "88213"]),
        "StudyInstanceUID": st.sampled_from(["1.2.3.4.5", "2.25.9"]),
        "ManufacturerModelName": TEXTS,
    },
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(ORIGINALS, RELEASES), min_size=1, max_size=6))
def test_memory_changes_no_verdict(
    tmp_path: Path, series: list[tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    gate = Gate(remembered=2)
    for original, released in series:
        # `verdict` holds this gate's answers against those of one without memory.
        data_set = an_instance(**{"SpecificCharacterSet": "ISO_IR 192", **original})
        verdict(data_set, a_release(**released), tmp_path, gate=gate)


def test_traces_know_whether_they_tell_of_persons() -> None:
    assert not Traces(uids=frozenset({"1.2"})).personal
    assert Traces(born=frozenset({"19410307"})).personal
