from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pacstream.archive import Archive
from pacstream_exporter.batch_report.content import report_of, stages
from pacstream_exporter.batch_report.files import FORMATS, write_reports
from pacstream_exporter.batch_report.page import MEANINGS, page_of
from pacstream_exporter.batch_report.table import table_of
from pacstream_exporter.batch_report.words import keep_words, read_words
from tests.unit.exporter.batch_report.views import IDENTIFYING, WORDS, batch, series


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data.split()


@pytest.mark.parametrize("kind", FORMATS)
def test_the_shareable_copy_names_nobody(kind: str) -> None:
    text = FORMATS[kind](report_of(batch(), WORDS, identified=False))
    assert [word for word in IDENTIFYING if word in text] == []
    assert "timed_out" in text


@pytest.mark.parametrize("kind", FORMATS)
def test_the_identified_copy_has_the_rows_own_words(kind: str) -> None:
    text = FORMATS[kind](report_of(batch(), WORDS, identified=True))
    for word in ("Quixotesson", "88213", "1.2.840.99.7.1"):
        assert word in text


def test_the_page_needs_nothing_else_and_runs_nothing() -> None:
    page = Page(page_of(report_of(batch(), WORDS, identified=True)))
    names = {name for name, _ in page.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "a", "b", "form"}
    attributes = {key for _, attributes in page.tags for key in attributes}
    assert not attributes & {"src", "href", "onclick", "style"}
    assert "Quixotesson^<b>Ada</b>" in page.words


def test_a_page_of_a_batch_under_way() -> None:
    view = batch(finished_at=None, delivered=False)
    told = report_of(view, identified=False)
    assert told["batch"]["state"] == "running" and told["batch"]["seconds"] is None
    assert "not yet" in page_of(told)


def test_time_and_rate() -> None:
    told = report_of(batch(), identified=False)["batch"]
    assert (told["seconds"], told["instances_per_second"]) == (10.0, 0.5)
    assert told["finished_at"] == "2024-01-01T00:00:10+00:00"
    assert (told["project"], told["profile_digest"], told["key_id"]) == ("study7", "0123abcd", "1")


def test_each_stage_has_as_much_out_as_in() -> None:
    found = {one["stage"]: one for one in stages(batch())}
    assert found["rows"] == {
        "stage": "rows", "in": 3, "out": {"answered": 2, "no_match": 1}, "balanced": True
    }  # fmt: skip
    assert found["instances"]["out"] == {"done": 5, "failed": 5}
    assert all(one["balanced"] for one in found.values())


def test_what_is_lost_shows() -> None:
    view = batch(rows={"submitted": 4, "answered": 2, "no_match": 1})
    assert [one["balanced"] for one in stages(view)] == [False, True, True]
    page = page_of(report_of(view, identified=False))
    assert '<td class="bad">no</td>' in page


def test_a_series_of_two_rows_is_counted_once() -> None:
    view = batch(series={"complete": 1})
    both = [{"row": n, "state": "answered", "reason": "", "series": [series()]} for n in (2, 3)]
    told = report_of(view | {"report": both}, identified=False)
    assert told["evidence"] == {"uids": 1}
    assert [one["in"] for one in told["stages"]][1] == 1


def test_conversions_are_a_stage_of_their_own() -> None:
    actions = {"save": True, "convert": True, "anonymize": False}
    view = batch(actions=actions)
    view["report"][0]["series"][0]["conversion"] = "converted"
    view["report"][1]["series"][0]["conversion"] = "failed:no_decoder"
    assert stages(view)[-1]["out"] == {"converted": 1, "failed": 1}


def test_every_grade_of_evidence_has_a_meaning() -> None:
    assert set(MEANINGS) >= {"uids", "count", "move", "quiet", "none"}


def test_a_modality_that_is_none_is_not_shared() -> None:
    view = batch()
    view["report"][0]["series"][0]["modality"] = "Quixotesson"
    assert report_of(view, identified=False)["rows"][0]["series"][0]["modality"] == ""


def test_the_table_has_a_line_for_each_row_and_series_and_no_formulas() -> None:
    words = {2: {"PatientID": "x"}, 4: {"=HYPERLINK(1)": "y"}}
    lines = list(csv.DictReader(io.StringIO(table_of(report_of(batch(), words, identified=True)))))
    assert [(one["row"], one["state"]) for one in lines] == [
        ("2", "complete"), ("3", "failed"), ("4", ""),
    ]  # fmt: skip
    assert lines[2]["asked"].startswith("'=")
    assert lines[1]["missing"] == "1.2.840.99.7.1.1"


def test_both_copies_are_written_where_they_belong(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "data")
    keep_words(archive, batch()["batch_id"], WORDS)
    view = batch(out=str(tmp_path / "out"))
    write_reports(view, archive)
    write_reports(view, archive)
    shared = tmp_path / "out" / "reports" / view["batch_id"]
    kept = archive.state / "batches" / view["batch_id"]
    assert sorted(path.name for path in shared.iterdir()) == [
        "report.csv", "report.html", "report.json",
    ]  # fmt: skip
    for path in shared.iterdir():
        assert not any(word in path.read_text("utf-8") for word in IDENTIFYING)
    told = json.loads((kept / "report.json").read_text("utf-8"))
    assert told["rows"][0]["asked"] == {"PatientID": "88213"}


def test_words_that_are_not_there_are_none(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    assert read_words(archive, "20240101-000000-abc123") == {}
    keep_words(archive, "20240101-000000-abc123", WORDS)
    assert read_words(archive, "20240101-000000-abc123") == WORDS


def test_versions_are_told() -> None:
    told = report_of(batch(), identified=False)["versions"]
    assert re.fullmatch(r"\d+\.\d+.*", told["pacstream"]) and "pydicom" in told
