"""Clean Structured Content and Clean Graphics: what of reports and presentation states stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file

from pacstream_anonymizer import structured
from pacstream_anonymizer.actions import MODIFIED_DATES
from pacstream_anonymizer.deidentifier import Released, Withheld, deidentify_instance
from pacstream_anonymizer.explain import explain
from pacstream_anonymizer.profile import Profile, Rule
from tests.unit.anonymizer.instances import INSTANCE, KEY, an_instance, order_for, saved

STORAGE = "1.2.840.10008.5.1.4.1.1."
REPORTS = Profile(frozenset({"clean_structured_content", MODIFIED_DATES}))
GRAPHICS = Profile(frozenset({"clean_graphics"}))


def a_code(value: str, scheme: str = "DCM") -> list[Dataset]:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, "Quixotesson"
    return [code]


def an_item(kind: str, concept: str, *children: Dataset, **attributes: Any) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", kind
    item.ConceptNameCodeSequence = a_code(concept)
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    if children:
        item.ContentSequence = list(children)
    return item


def a_report(*items: Dataset, number: str = "88.33") -> Dataset:
    report = an_instance(SOPClassUID=STORAGE + number, Modality="SR")
    for keyword in ("PixelData", "Rows", "Columns", "SamplesPerPixel", "BitsAllocated"):
        del report[keyword]
    for keyword in ("BitsStored", "HighBit", "PixelRepresentation", "PhotometricInterpretation"):
        del report[keyword]
    report.ValueType, report.ContinuityOfContent = "CONTAINER", "SEPARATE"
    report.ConceptNameCodeSequence = a_code("126000")
    report.ContentSequence = list(items)
    return report


def result_of(given: Dataset, folder: Path, profile: Profile) -> Released | Withheld:
    source = saved(given, folder / "source.dcm")
    return deidentify_instance(source, order_for(given), KEY, folder / "out", profile=profile)


def released(given: Dataset, folder: Path, profile: Profile) -> Dataset:
    result = result_of(given, folder, profile)
    assert isinstance(result, Released), result
    assert b"Quixote" not in result.path.read_bytes()
    return dcmread(result.path)


def codes(data_set: Dataset) -> list[str]:
    return [item.CodeValue for item in data_set.DeidentificationMethodCodeSequence]


def test_items_are_kept_shifted_replaced_and_dropped_by_their_concept(tmp_path: Path) -> None:
    given = a_report(
        an_item("TEXT", "121071", TextValue="a finding of Quixotesson"),
        an_item("TEXT", "121106", TextValue="a comment of Quixotesson"),
        an_item("TEXT", "999999", TextValue="something of Quixotesson"),
        an_item("PNAME", "121008", PersonName="Quixotesson^Observer"),
        an_item("PNAME", "121036", PersonName="Quixotesson^Mother"),
        an_item("DATE", "111060", Date="20240229"),
        an_item("DATE", "121031", Date="19410307"),
        an_item("UIDREF", "112002", UID=INSTANCE),
        an_item("SCOORD", "111030", GraphicType="POINT", GraphicData=[1.0, 2.0]),
    )
    after = released(given, tmp_path, REPORTS)
    kept = {item.ConceptNameCodeSequence[0].CodeValue: item for item in after.ContentSequence}
    assert list(kept) == ["121071", "999999", "121008", "111060", "112002", "111030"]
    assert kept["121071"].TextValue == kept["999999"].TextValue == "REMOVED"
    assert str(kept["121008"].PersonName) == "REMOVED"
    assert kept["111060"].Date == after.StudyDate != "20240229"
    assert after.SOPInstanceUID == kept["112002"].UID
    assert list(kept["111030"].GraphicData) == [1.0, 2.0]
    assert "113104" in codes(after)


def test_known_words_of_a_finding_stay_if_descriptors_are_cleaned(tmp_path: Path) -> None:
    given = a_report(an_item("TEXT", "121071", TextValue="left liver Quixotesson"))
    profile = Profile(frozenset({"clean_structured_content", "clean_descriptors"}))
    (finding,) = released(given, tmp_path, profile).ContentSequence
    assert finding.TextValue == "left liver"


def test_a_tree_is_cleaned_at_any_depth(tmp_path: Path) -> None:
    item = an_item("TEXT", "121071", TextValue="Quixotesson")
    for _ in range(6):
        item = an_item("CONTAINER", "121070", item, ContinuityOfContent="SEPARATE")
    after = released(a_report(item), tmp_path, REPORTS)
    for _ in range(7):
        after = after.ContentSequence[0]
    assert after.TextValue == "REMOVED"


def test_numbers_stay_and_high_ages_do_not(tmp_path: Path) -> None:
    def number(concept: str, value: str) -> Dataset:
        measured = Dataset()
        measured.NumericValue = value
        measured.MeasurementUnitsCodeSequence = a_code("a", "UCUM")
        return an_item("NUM", concept, MeasuredValueSequence=[measured])

    profile = Profile(frozenset({"clean_structured_content", "retain_patient_characteristics"}))
    given = a_report(number("111111", "12.5"), number("121033", "93"), number("121033", "55"))
    found = [
        float(item.MeasuredValueSequence[0].NumericValue)
        for item in released(given, tmp_path / "a", profile).ContentSequence
    ]
    assert found == [12.5, 55]
    without = released(given, tmp_path / "b", REPORTS).ContentSequence
    assert [float(item.MeasuredValueSequence[0].NumericValue) for item in without] == [12.5]


def test_a_key_object_selection_keeps_its_images_and_loses_its_description(tmp_path: Path) -> None:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = STORAGE + "2", INSTANCE
    image = an_item("IMAGE", "111030", ReferencedSOPSequence=[reference])
    note = an_item("TEXT", "113012", TextValue="for Quixotesson")
    after = released(a_report(note, image, number="88.59"), tmp_path, REPORTS)
    (kept,) = after.ContentSequence
    assert kept.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == after.SOPInstanceUID


def test_who_verified_a_report_is_not_told(tmp_path: Path) -> None:
    given = a_report(an_item("TEXT", "121071", TextValue="x"))
    observer = Dataset()
    observer.VerifyingObserverName, observer.VerifyingOrganization = "Doctorow^H", "St Elsewhere"
    observer.VerificationDateTime = "20240229101530"
    given.VerificationFlag, given.VerifyingObserverSequence = "VERIFIED", [observer]
    after = released(given, tmp_path, REPORTS)
    (who,) = after.VerifyingObserverSequence
    assert str(who.VerifyingObserverName) == who.VerifyingOrganization == "REMOVED"
    assert who.VerificationDateTime == f"{after.StudyDate}101530"


def test_a_tree_that_can_not_be_cleaned_with_certainty_is_withheld(tmp_path: Path) -> None:
    report = a_report(an_item("TABLE", "121071"))
    assert result_of(report, tmp_path, REPORTS) == Withheld("structured_report")


def test_without_the_option_a_report_is_withheld(tmp_path: Path) -> None:
    assert result_of(a_report(), tmp_path, GRAPHICS) == Withheld("structured_report")


def test_an_image_does_not_claim_what_did_not_run(tmp_path: Path) -> None:
    assert "113104" not in codes(released(an_instance(), tmp_path, REPORTS))


@pytest.mark.parametrize("name", ["test-SR.dcm", "reportsi.dcm"])
def test_a_real_report_keeps_its_shape(tmp_path: Path, name: str) -> None:
    source = Path(str(get_testdata_file(name)))
    before = dcmread(source)
    result = deidentify_instance(source, order_for(before), KEY, tmp_path, profile=REPORTS)
    assert isinstance(result, Released), result
    after = dcmread(result.path)
    assert after.ValueType == before.ValueType
    kinds = [item.get("ValueType") for item in before.ContentSequence]
    assert set(kinds) >= {item.get("ValueType") for item in after.ContentSequence} > set()


def test_the_table_of_content_items_is_whole() -> None:
    assert len(structured.rows()) == 214


def a_presentation_state() -> Dataset:
    state = a_report(number="11.1")
    del state.ContentSequence, state.ConceptNameCodeSequence, state.ValueType
    state.Modality, state.ContentLabel = "PR", "QUIXOTESSON"
    words, line, annotation, layer = Dataset(), Dataset(), Dataset(), Dataset()
    words.UnformattedTextValue = "Quixotesson"
    line.GraphicType, line.GraphicData, line.NumberOfGraphicPoints = "POLYLINE", [0.0, 1.0], 1
    line.GraphicAnnotationUnits, line.GraphicDimensions, line.GraphicFilled = "PIXEL", 2, "N"
    annotation.GraphicLayer = layer.GraphicLayer = "QUIXOTESSON"
    annotation.TextObjectSequence, annotation.GraphicObjectSequence = [words], [line]
    layer.GraphicLayerOrder, layer.GraphicLayerDescription = 1, "of Quixotesson"
    only_words = Dataset()
    only_words.GraphicLayer, only_words.TextObjectSequence = "QUIXOTESSON", [words]
    state.GraphicAnnotationSequence = [annotation, only_words]
    state.GraphicLayerSequence = [layer]
    return state


def test_shapes_of_a_presentation_state_stay_and_its_words_go(tmp_path: Path) -> None:
    after = released(a_presentation_state(), tmp_path, GRAPHICS)
    (annotation,) = after.GraphicAnnotationSequence
    assert "TextObjectSequence" not in annotation
    assert list(annotation.GraphicObjectSequence[0].GraphicData) == [0.0, 1.0]
    assert annotation.GraphicLayer == after.GraphicLayerSequence[0].GraphicLayer == "LAYER1"
    assert "GraphicLayerDescription" not in after.GraphicLayerSequence[0]
    assert "113103" in codes(after)


def test_without_the_option_a_presentation_state_is_withheld(tmp_path: Path) -> None:
    assert result_of(a_presentation_state(), tmp_path, REPORTS) == Withheld("presentation_state")


@pytest.mark.parametrize("number", [2, 3, 4, 8])
def test_states_that_need_an_icc_profile_are_withheld(tmp_path: Path, number: int) -> None:
    state = an_instance(SOPClassUID=f"{STORAGE}11.{number}")
    assert result_of(state, tmp_path, GRAPHICS) == Withheld("presentation_state")


def told_of(given: Dataset, folder: Path, profile: Profile) -> set[tuple[str, str, str]]:
    """Path below Content Sequence, rule and what was done, as `profile explain` shows them."""
    explanation = explain(saved(given, folder / "source.dcm"), profile)
    assert explanation.reason == ""
    handled = {0x0040A730, 0x0040A073, 0x00700001, 0x00700060, 0x00700080}
    return {
        (".".join(f"{tag:08X}" for tag in told.path), told.rule, told.done)
        for told in explanation.told
        if told.path[0] in handled
    }


def test_what_was_done_to_each_content_item_is_told(tmp_path: Path) -> None:
    inner = an_item("TEXT", "121106", TextValue="a comment of Quixotesson")
    above = an_item("NUM", "121033", inner)
    given = a_report(
        an_item("TEXT", "121071", TextValue="left liver Quixotesson"),
        an_item("TEXT", "121106", TextValue="a comment of Quixotesson"),
        an_item("PNAME", "121029", PersonName="Quixotesson^A"),
        an_item("DATE", "111060", Date="20240229"),
        an_item("DATE", "121031", Date="19410307"),
        an_item("TEXT", "Q-1", TextValue="Quixotesson"),
        an_item("SCOORD", "111030", GraphicType="POINT", GraphicData=[1.0, 2.0]),
        above,
    )
    given.VerifyingObserverSequence = [Dataset()]
    given.VerifyingObserverSequence[0].VerifyingObserverName = "Doctorow"
    profile = Profile(REPORTS.options | {"clean_descriptors"})
    told = told_of(given, tmp_path, profile)
    row = "E3.4.1:DCM:"
    assert told >= {
        ("0040A730.0040A160", f"{row}121071:clean_descriptors", "words"),
        ("0040A730.0040A160", f"{row}121106:clean_descriptors", "remove"),
        ("0040A730.0040A123", f"{row}121029", "pseudonym"),
        ("0040A730.0040A121", f"{row}111060:{MODIFIED_DATES}", "clean"),
        ("0040A730.0040A121", f"{row}121031", "remove"),
        ("0040A730.0040A160", "content:unlisted", "dummy"),
        ("0040A730", f"{row}121033", "remove"),
        ("0040A073.0040A075", "E1.1:0040A073", "dummy"),
    }
    gone = {rule for path, rule, _ in told if path == "0040A730.0040A730.0040A160"}
    assert gone == {f"{row}121106:clean_descriptors"}
    assert not any("Q-1" in rule for _, rule, _ in told)


def test_each_content_item_is_told_once(tmp_path: Path) -> None:
    items = [an_item("TEXT", "121106", TextValue=f"{word} Quixotesson") for word in "abc"]
    given = a_report(*items, an_item("TEXT", "121071", TextValue="x"))
    explanation = explain(saved(given, tmp_path / "source.dcm"), REPORTS)
    texts = [told for told in explanation.told if told.path == (0x0040A730, 0x0040A160)]
    assert [(told.done, told.old.split()[0]) for told in texts] == [
        *(("remove", word) for word in (b"a", b"b", b"c")),
        ("dummy", b"x"),
    ]


def test_an_item_that_goes_with_another_is_told_so(tmp_path: Path) -> None:
    refers = Dataset()
    refers.RelationshipType, refers.ReferencedContentItemIdentifier = "SELECTED FROM", [1, 1]
    given = a_report(
        an_item("TEXT", "121106", TextValue="Quixotesson"),
        an_item("SCOORD", "111030", refers, GraphicType="POINT", GraphicData=[1.0, 2.0]),
    )
    told = told_of(given, tmp_path, REPORTS)
    assert ("0040A730.0040A730", "content:with_another", "remove") in told


@pytest.mark.parametrize(
    ("action", "value", "left"),
    [("remove", "", None), ("empty", "", "REMOVED"), ("replace", "see notes", "see notes")],
)
def test_a_rule_of_the_project_goes_before_the_table_of_content_items(
    tmp_path: Path, action: Any, value: str, left: str | None
) -> None:
    rule = Rule("0040A160", action, "why", value=value, manufacturer="SIEMENS")
    profile = Profile(REPORTS.options | {"clean_descriptors"}, rules=(rule,))
    given = a_report(an_item("TEXT", "121071", TextValue="left liver"), an_item("PNAME", "121029"))
    after = released(given, tmp_path / "a", profile)
    texts = [item.TextValue for item in after.ContentSequence if item.ValueType == "TEXT"]
    assert texts == ([left] if left else [])
    assert {
        rule for path, rule, _ in told_of(given, tmp_path / "b", profile) if "A160" in path
    } == {"profile:1"}


def test_what_is_taken_from_a_presentation_state_is_told(tmp_path: Path) -> None:
    told = told_of(a_presentation_state(), tmp_path, GRAPHICS)
    assert told >= {
        ("00700080", "list:graphics", "dummy"),
        ("00700001.00700008", "list:graphics", "remove"),
        ("00700001", "list:graphics", "remove"),
    }
