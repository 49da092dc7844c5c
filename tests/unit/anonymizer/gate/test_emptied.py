"""An echo in a text that nobody needs costs the text, not the instance."""

from __future__ import annotations

from pathlib import Path

from pydicom import Dataset

from pacstream_anonymizer.deidentifier import emptied
from pacstream_anonymizer.parser import Element
from tests.unit.anonymizer.instances import an_instance, released


def test_a_text_with_an_echo_is_emptied(tmp_path: Path) -> None:
    given = an_instance(ManufacturerModelName="for Quixotesson", SoftwareVersions="VB20")
    data_set: Dataset = released(given, tmp_path)
    assert data_set.ManufacturerModelName in ("", None)
    assert data_set.SoftwareVersions == "VB20"


def test_only_what_a_path_names_is_emptied_in_every_item() -> None:
    def item(text: bytes) -> list[Element]:
        return [Element(1, "LO", text), Element(2, "LO", b"stays")]

    sequence = Element(9, "SQ", items=[item(b"a"), item(b"b")])
    before = [Element(1, "LO", b"stays"), sequence]
    (first, second) = emptied(before, frozenset({(9, 1)}))
    assert first.value == b"stays"
    assert second.items == [item(b""), item(b"")]
    assert sequence.items == [item(b"a"), item(b"b")], "what is remembered is left alone"


def test_a_release_can_be_de_identified_again(tmp_path: Path) -> None:
    once = released(an_instance(), tmp_path / "once")
    twice = released(once, tmp_path / "twice")
    assert twice.SOPInstanceUID != once.SOPInstanceUID
    assert len(twice.DeidentificationMethodCodeSequence) > 1
