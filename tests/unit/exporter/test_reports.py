"""Structured reports as text and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    KeyObjectSelectionDocumentStorage,
)

from pacstream.errors import InputError
from pacstream_exporter.reports.extract import Summary, extract_reports
from pacstream_exporter.reports.wording import plain, repaired
from tests.unit.anonymizer.instances import saved
from tests.unit.exporter.folders import a_report, code, contents, instance_of, item, text_item

UID_OF_REPORT = str(a_report().SOPInstanceUID)


def extracted(report: Dataset, tmp_path: Path) -> tuple[str, Any]:
    """Text and JSON of one report."""
    saved(report, tmp_path / "in" / "SRc.1")
    summary = extract_reports(tmp_path / "in", tmp_path / "out")
    assert (summary.reports, summary.written, summary.is_whole) == (1, 1, True)
    name = str(report.SOPInstanceUID)
    told = (tmp_path / "out" / f"{name}.txt").read_text("utf-8")
    return told, json.loads((tmp_path / "out" / f"{name}.json").read_text("utf-8"))


def done(folder: Path) -> Summary:
    return extract_reports(folder, folder.parent / "out")


def reasons(summary: Summary) -> list[str]:
    return sorted(one.reason for one in summary.left_out)


def a_measurement() -> Dataset:
    value = Dataset()
    value.NumericValue = "12.5"
    value.MeasurementUnitsCodeSequence = code("mm", "millimeter", "UCUM")
    image = item("IMAGE", "Source", "INFERRED FROM")
    reference = Dataset()
    reference.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    reference.ReferencedSOPInstanceUID = "1.2.3"
    reference.ReferencedFrameNumber = [1, 2]
    image.ReferencedSOPSequence = [reference]
    point = item("SCOORD", "Where", "INFERRED FROM", GraphicType="POINT", GraphicData=[1.5, 2.0])
    return item("NUM", "Diameter", MeasuredValueSequence=[value], ContentSequence=[image, point])


def a_tree() -> list[Dataset]:
    """Every value type, and a reference to an item by its place."""
    again = Dataset()
    again.RelationshipType = "INFERRED FROM"
    again.ReferencedContentItemIdentifier = [1, 2]
    finding = item("CODE", "Finding", ConceptCodeSequence=code("M-1", "Nodule", "SRT"))
    finding.ContentSequence = [again]
    return [
        item("PNAME", "Observer", PersonName="Müller^Jörg"),
        a_measurement(),
        item("CONTAINER", "Section", ContentSequence=[finding, text_item("Note", "Two\nlines")]),
        item("DATE", "Day", Date="20240229"),
        item("TIME", "Hour", Time="1015"),
        item("DATETIME", "Moment", DateTime="20240229101500"),
        item("UIDREF", "Study", UID="1.2.3.4"),
        item("TCOORD", "When", TemporalRangeType="POINT", ReferencedTimeOffsets=[3.5]),
        item("SCOORD3D", "Place", GraphicType="POINT", GraphicData=[1.0, 2.0, 3.0]),
    ]


@pytest.mark.parametrize(
    "sop_class", [EnhancedSRStorage, ComprehensiveSRStorage, Comprehensive3DSRStorage, "1.2.3.4.5"]
)
def test_the_whole_tree_is_told_whatever_the_class(sop_class: str, tmp_path: Path) -> None:
    report = a_report(
        SOPClassUID=sop_class, SpecificCharacterSet="ISO_IR 100", ContentSequence=a_tree()
    )
    text, told = extracted(report, tmp_path)
    assert text.splitlines()[text.splitlines().index("") + 1 :] == [
        "1.1 Observer: Müller^Jörg",
        "1.2 Diameter: 12.5 mm",
        "  1.2.1 Source: 1.2.3 (frames 1, 2)",
        "  1.2.2 Where: GraphicData 1.5, 2.0; GraphicType POINT",
        "1.3 Section",
        "  1.3.1 Finding: Nodule",
        "    1.3.1.1: see 1.2",
        "  1.3.2 Note:",
        "      Two",
        "      lines",
        "1.4 Day: 20240229",
        "1.5 Hour: 1015",
        "1.6 Moment: 20240229101500",
        "1.7 Study: 1.2.3.4",
        "1.8 When: TemporalRangeType POINT; ReferencedTimeOffsets 3.5",
        "1.9 Place: GraphicData 1.0, 2.0, 3.0; GraphicType POINT",
    ]
    assert text.startswith("Diagnostic Imaging Report\n")
    assert told["document"]["SOP_Instance_UID"] == report.SOPInstanceUID
    measured = told["content"]["items"][1]
    assert measured["details"]["unit"] == {
        "value": "mm", "scheme": "UCUM", "meaning": "millimeter",
    }  # fmt: skip
    assert measured["items"][0]["details"]["references"][0]["frames"] == "1, 2"
    assert told["content"]["items"][2]["items"][0]["items"][0]["details"] == {
        "referenced_item": "1.2"
    }


def test_carestreams_html_becomes_text_and_stays_in_the_json(tmp_path: Path) -> None:
    html = (
        "<HTML><HEAD><TITLE>x</TITLE><style>p{color:red}</style></HEAD><BODY><P>R&eacute;sultat :"
        " nodule &lt;5 mm</P><p>Conclusion<br>b&eacute;nin</p><ul><li>un</li><li>deux</li></ul>"
        "<table><tr><td>a</td><td>b</td></tr></table></BODY></HTML>"
    )
    text, told = extracted(a_report(ContentSequence=[text_item("Findings", html)]), tmp_path)
    lines = [line.strip() for line in text.splitlines()]
    assert lines[lines.index("1.1 Findings:") + 1 :] == [
        "Résultat : nodule <5 mm", "", "Conclusion", "bénin", "", "- un", "- deux", "", "a\tb",
    ]  # fmt: skip
    assert told["content"]["items"][0]["raw"] == html


@pytest.mark.parametrize(
    "text",
    ["nodule <5 mm, > 3 mm", "a < b and b > c", "<John> said", "T1<T2", "x <= y", "1 < p < 2"],
)
def test_a_text_that_is_no_html_stays(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    "text",
    ["Résultat : œdème à gauche, coût 30 €", "L’œil gauche – « normal »", "Größe: 3 µm, 20°"],
)
def test_utf8_that_was_read_as_another_set_is_put_right(text: str) -> None:
    assert repaired(text.encode("utf-8").decode("latin-1")) == text
    as_windows = "".join(
        bytes([one]).decode("cp1252", "ignore") or chr(one) for one in text.encode("utf-8")
    )
    assert as_windows != text and repaired(as_windows) == text


@pytest.mark.parametrize(
    "text",
    [
        "Résultat bénin",
        "SÃO PAULO",  # À, then a letter: no UTF-8
        "dÃ©jÃ  vu, voilà",  # partly: what the rest was, nobody knows
        "l'opÃ©ration Ã gauche",  # a byte is missing
        "山田",
        "ÐŸÑ€Ð¸Ð²ÐµÑ‚",  # Cyrillic: possible, not certain
        "plain",
    ],
)
def test_what_is_not_certain_stays_as_it_is(text: str) -> None:
    assert repaired(text) == text


def test_utf8_under_a_wrong_character_set_is_read(tmp_path: Path) -> None:
    report = a_report(SpecificCharacterSet="ISO_IR 100")
    report.ContentSequence = [text_item("Findings", "Œdème ".encode().decode("latin-1") + "OK")]
    text, told = extracted(report, tmp_path)
    assert "1.1 Findings: Œdème OK" in text
    assert told["content"]["items"][0]["raw"]


def test_other_character_sets_are_read(tmp_path: Path) -> None:
    report = a_report(SpecificCharacterSet="ISO_IR 144")
    report.ContentSequence = [text_item("Вывод", "Без патологии")]
    text, _ = extracted(report, tmp_path)
    assert "1.1 Вывод: Без патологии" in text


def test_a_key_object_selection_is_a_report_too(tmp_path: Path) -> None:
    text, _ = extracted(
        a_report(SOPClassUID=KeyObjectSelectionDocumentStorage, Modality="KO"), tmp_path
    )
    assert "1.1 Findings: All is well." in text


@pytest.mark.parametrize("name", ["reportsi.dcm", "test-SR.dcm"])
def test_real_reports_are_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    content = Path(str(get_testdata_file(name))).read_bytes()
    (tmp_path / "in" / "a").write_bytes(content)
    summary = done(tmp_path / "in")
    assert (summary.reports, summary.written, summary.left_out) == (1, 1, [])
    (text,) = (tmp_path / "out").glob("*.txt")
    assert len(text.read_text("utf-8").splitlines()) > 15


def test_other_files_are_skipped_and_counted_and_broken_reports_told(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    whole = saved(a_report(), folder / "a").read_bytes()
    image = saved(instance_of("P1", 1, 1, 1), folder / "CT.1").read_bytes()
    saved(a_report(SOPInstanceUID="1.2.7", ContentSequence=[]), folder / "empty tree")
    saved(a_report(ContentDate="20200101"), folder / "other of that UID")
    (folder / "same").write_bytes(whole)
    (folder / "cut report").write_bytes(whole[:-5])
    (folder / "cut image").write_bytes(image[:-5])
    (folder / "notes.txt").write_text("notes")
    before = contents(folder)
    summary = done(folder)
    assert reasons(summary) == ["duplicate_uid", "not_dicom", "truncated", "unreadable"]
    assert (summary.reports, summary.written, summary.duplicates, summary.others) == (5, 1, 1, 2)
    assert not summary.is_whole
    assert contents(folder) == before
    assert set(contents(tmp_path / "out")) == {f"{UID_OF_REPORT}.txt", f"{UID_OF_REPORT}.json"}


def test_a_second_run_writes_nothing(tmp_path: Path) -> None:
    saved(a_report(), tmp_path / "in" / "a")
    done(tmp_path / "in")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert done(tmp_path / "in").before == 1
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == times


@pytest.mark.parametrize("out", ["in", "in/texts"])
def test_texts_do_not_go_beside_the_images(out: str, tmp_path: Path) -> None:
    saved(a_report(), tmp_path / "in" / "a")
    with pytest.raises(InputError):
        extract_reports(tmp_path / "in", tmp_path / out)
    assert list(contents(tmp_path / "in")) == ["a"]
