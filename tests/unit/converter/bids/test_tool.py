"""A user's own tool instead of rules. heudiconv is large: where it is not installed, what is tested
is how it is called and what is done with its kind of output."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pacstream.errors import InputError
from pacstream_converter.bids import tool as tools
from pacstream_converter.bids.book import read_book
from pacstream_converter.bids.planning import ConvertedSeries
from pacstream_converter.bids.tool import Tool, parse_tool
from pacstream_converter.bids.tool_tree import build_tree_by_tool
from pacstream_converter.bids.tree import Result
from tests.unit.converter.bids import scanner
from tests.unit.converter.bids.validator import errors_in
from tests.unit.converter.samples import ECHOES

CONFIGURATION = {
    "descriptions": [
        {"datatype": "anat", "suffix": "T1w", "criteria": {"SeriesDescription": "*mprage*"}},
        {
            "datatype": "func",
            "suffix": "bold",
            "custom_entities": "task-rest",
            "criteria": {"SeriesDescription": "*bold*"},
            "sidecar_changes": {"TaskName": "rest", "Comment": "PLANTED"},
        },
    ]
}
HEURISTIC = """
def infotodict(seqinfo):
    name = "sub-{subject}/{session}/%s/sub-{subject}_{session}_%s"
    t1 = (name % ("anat", "T1w"), ("nii.gz",), None)
    bold = (name % ("func", "task-rest_bold"), ("nii.gz",), None)
    found = {t1: [], bold: []}
    for one in seqinfo:
        for word, key in (("mprage", t1), ("bold", bold)):
            if word in one.series_description:
                found[key].append(one.series_id)
    return found
"""
IMAGES = {"anat/sub-P7Q_ses-20180405090000_T1w", "func/sub-P7Q_ses-20180405090000_task-rest_bold"}

Build = Callable[..., Result]


@pytest.fixture
def series(tmp_path: Path) -> Sequence[ConvertedSeries]:
    session = scanner.Session(tmp_path)
    return [session.scan(one) for one in (scanner.MPRAGE, scanner.BOLD, scanner.LOCALIZER)]


@pytest.fixture
def build(series: Sequence[ConvertedSeries], tmp_path: Path) -> Build:
    def build(tool: Tool) -> Result:
        return build_tree_by_tool(series, tmp_path / "bids", tool, tmp_path / "run")

    return build


def dcm2bids(folder: Path, content: object = CONFIGURATION) -> Tool:
    path = folder / "config.json"
    path.write_text(json.dumps(content))
    return parse_tool(f"dcm2bids:{path}")


def assert_data_set(root: Path) -> None:
    images = {str(path.relative_to(root))[:-7] for path in root.rglob("*.nii.gz")}
    assert images == {f"sub-P7Q/ses-20180405090000/{name}" for name in IMAGES}
    assert errors_in(root) == []
    for path in root.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("latin-1")
        assert not [one for one in ECHOES if one in str(path.relative_to(root)) + text], path


def test_a_dcm2bids_configuration_makes_a_clean_data_set(build: Build, tmp_path: Path) -> None:
    result = build(dcm2bids(tmp_path))
    assert (result.states, result.left_out) == ({"bids": 2}, {})
    assert_data_set(tmp_path / "bids")
    assert not list((tmp_path / "run").iterdir())


def test_another_configuration_takes_the_place_of_the_first(build: Build, tmp_path: Path) -> None:
    build(dcm2bids(tmp_path))
    less = {"descriptions": CONFIGURATION["descriptions"][:1]}
    assert build(dcm2bids(tmp_path, less)).states == {"bids": 1}
    assert (
        len(list((tmp_path / "bids").rglob("*.nii.gz"))) == len(read_book(tmp_path / "bids")) == 1
    )
    assert errors_in(tmp_path / "bids") == []


def test_a_name_with_an_identifier_leaves_the_session_out(build: Build, tmp_path: Path) -> None:
    for name in ("Quillfeather", "PID00770077"):
        bad = [{**CONFIGURATION["descriptions"][1], "custom_entities": f"task-{name}"}]
        result = build(dcm2bids(tmp_path, {"descriptions": bad}))
        assert (result.states, result.left_out) == ({}, {"nifti_echo": 3})
        assert not list((tmp_path / "bids").rglob("*.nii.gz"))


def test_a_session_on_which_the_tool_fails_is_left_out(build: Build, tmp_path: Path) -> None:
    bad = {"descriptions": [{"datatype": "anat"}]}
    result = build(dcm2bids(tmp_path, bad))
    assert (result.is_whole, result.left_out) == (False, {"bids_tool_failed": 3})


def test_a_tool_that_takes_too_long_is_stopped(build: Build, tmp_path: Path) -> None:
    result = build(replace(dcm2bids(tmp_path), timeout_s=0.01))
    assert result.left_out == {"bids_tool_timeout": 3}


@pytest.mark.skipif(
    Tool("heudiconv", Path()).program is None, reason="pip install 'pacstream[heudiconv]'"
)
def test_a_heudiconv_heuristic_makes_a_clean_data_set(build: Build, tmp_path: Path) -> None:
    path = tmp_path / "heuristic.py"
    path.write_text(HEURISTIC)
    result = build(parse_tool(f"heudiconv:{path}"))
    assert (result.states, result.left_out) == ({"bids": 2}, {})
    assert_data_set(tmp_path / "bids")


@pytest.mark.parametrize(
    ("text", "content", "said"),
    [
        ("dcm2bids:c.json", "{", "is not JSON"),
        ("dcm2bids:c.json", "[]", "no list `descriptions`"),
        ("dcm2bids:c.json", '{"descriptions": []}', "no list `descriptions`"),
        ("dcm2bids:nothing.json", "", "No such file"),
        ("heudiconv:c.json", "def infotodict(:\n", "line 1: "),
        ("heudiconv:c.json", "x = 1\n", "defines no function infotodict"),
        ("dcm2bids:", "", "nothing behind it, heudiconv:FILE or dcm2bids:FILE"),
        ("bidskit:c.json", "", "nothing behind it, heudiconv:FILE or dcm2bids:FILE"),
        ("in", "", "nothing behind it, heudiconv:FILE or dcm2bids:FILE"),
    ],
)
def test_what_can_not_be_used_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, content: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tools.Tool, "program", "/bin/true")
    Path("c.json").write_text(content)
    with pytest.raises(InputError, match=said):
        parse_tool(text)


def test_a_tool_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools.Tool, "program", None)
    with pytest.raises(InputError, match=r"pip install 'pacstream\[heudiconv\]'"):
        parse_tool("heudiconv:heuristic.py")
