"""An echo in a text that nobody needs costs the text, not the instance."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import Dataset

from pacstream_anonymizer.echoes import emptied, repaired
from pacstream_anonymizer.explain import explain
from pacstream_anonymizer.parser import Element
from pacstream_anonymizer.profile import DEFAULT, Profile
from tests.unit.anonymizer.instances import an_instance, released, saved


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
    (first, second) = repaired(before, frozenset({(9, 1)}), emptied)
    assert first.value == b"stays"
    assert second.items == [item(b""), item(b"")]
    assert sequence.items == [item(b"a"), item(b"b")], "what is remembered is left alone"


def test_a_release_can_be_de_identified_again(tmp_path: Path) -> None:
    once = released(an_instance(), tmp_path / "once")
    twice = released(once, tmp_path / "twice")
    assert twice.SOPInstanceUID != once.SOPInstanceUID
    assert len(twice.DeidentificationMethodCodeSequence) > 1


@pytest.mark.parametrize(
    ("description", "left"),
    [
        ("Head Contrast T1 sag", "T1 sag"),
        ("brain without Contrast", "brain"),
        ("brain Contrast 3 4", "brain"),
        ("Contrast", ""),
        ("T1 sag", "T1 sag"),
    ],
)
def test_a_description_loses_the_name_that_is_a_word_and_keeps_the_others(
    tmp_path: Path, description: str, left: str
) -> None:
    given = an_instance(PatientName="Contrast^Head", SeriesDescription=description)
    item = Dataset()
    item.SeriesDescription = description
    given.RequestAttributesSequence = [item]
    after = released(given, tmp_path)
    assert (after.SeriesDescription or "") == left
    inside = after.RequestAttributesSequence[0]
    assert (inside.SeriesDescription or "") == left


def test_an_id_in_a_description_empties_it(tmp_path: Path) -> None:
    profile = Profile(DEFAULT.options, vocabulary=frozenset({"blau7x"}))
    given = an_instance(PatientID="blau7x", SeriesDescription="T1 blau7x sag")
    assert not released(given, tmp_path, profile=profile).SeriesDescription


def test_what_the_gate_took_out_is_told(tmp_path: Path) -> None:
    given = an_instance(
        PatientName="Contrast^B", SeriesDescription="Contrast T1", StudyDescription="Contrast"
    )
    told = explain(saved(given, tmp_path / "source.dcm"), DEFAULT).told
    by_gate = {one.path: one.done for one in told if one.rule == "gate:echo"}
    assert by_gate == {(0x0008103E,): "words", (0x00081030,): "empty"}
