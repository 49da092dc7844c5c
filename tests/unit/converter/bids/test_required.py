from __future__ import annotations

import re

import pytest
from bidsschematools.schema import load_schema

from pacstream_converter.bids import schema
from pacstream_converter.bids.required import ALWAYS, missing
from pacstream_converter.bids.rules import Json


def required_by_schema(folder: str, suffix: str) -> set[str]:
    """What rules require that ask for datatype, suffix and modality only."""
    found: set[str] = set()
    names = {"datatype": folder, "suffix": suffix, "modality": "pet" if folder == "pet" else "mri"}
    for group in load_schema().rules.sidecars.values():
        for rule in group.values():
            selectors = [one.replace("'", '"') for one in rule.get("selectors", ())]
            if selectors and all(_holds(one, names) for one in selectors):
                found |= {
                    str(key).partition("__")[0]
                    for key, said in rule.fields.items()
                    if (said if isinstance(said, str) else said["level"]) == "required"
                }
    return found


def _holds(selector: str, names: dict[str, str]) -> bool:
    if selector.startswith("match(extension"):
        return True
    one_of = re.fullmatch(r"intersects\(\[?suffix\]?, \[(.*)\]\)", selector)
    if one_of:
        return f'"{names["suffix"]}"' in one_of[1].split(", ")
    equal = re.fullmatch(r'(\w+) == "(\w+)"', selector)
    return equal is not None and names.get(equal[1]) == equal[2]


@pytest.mark.parametrize(
    ("folder", "suffix"),
    [(folder, suffix) for folder in schema.DATATYPES for suffix in schema.suffixes_of(folder)],
)
def test_what_the_specification_requires_is_asked_for(folder: str, suffix: str) -> None:
    assert required_by_schema(folder, suffix) <= set(ALWAYS.get((folder, suffix), ()))


def test_the_schema_is_understood_by_this_test() -> None:
    assert required_by_schema("fmap", "phasediff") == {"EchoTime1", "EchoTime2"}
    assert "TaskName" in required_by_schema("func", "bold")


@pytest.mark.parametrize(
    ("folder", "suffix", "sidecar", "companions", "lacking"),
    [
        ("anat", "T1w", {}, [], []),
        ("func", "bold", {"TaskName": "rest"}, [], ["RepetitionTime"]),
        ("dwi", "dwi", {}, [".bval"], [".bvec"]),
        ("fmap", "epi", {"PhaseEncodingDirection": "j"}, [], ["TotalReadoutTime"]),
        ("fmap", "epi", {"PhaseEncodingDirection": "j", "EffectiveEchoSpacing": 1}, [], []),
        ("fmap", "fieldmap", {"Units": "Hz"}, [], []),
    ],
)
def test_what_is_not_there_is_missing(
    folder: str, suffix: str, sidecar: dict[str, object], companions: list[str], lacking: list[str]
) -> None:
    told = {key: str(value) for key, value in sidecar.items()}
    assert missing(folder, suffix, {}, told, frozenset(companions)) == lacking


def test_labelling_asks_for_what_its_kind_needs() -> None:
    told: dict[str, Json] = {
        "ArterialSpinLabelingType": "PASL",
        "BolusCutOffFlag": True,
        "M0Type": "Estimate",
    }
    lacking = missing("perf", "asl", {}, told, frozenset())
    assert {"BolusCutOffDelayTime", "M0Estimate", "aslcontext.tsv"} <= set(lacking)
    assert "LabelingDuration" not in lacking
    told = {"ArterialSpinLabelingType": "PCASL", "MRAcquisitionType": "2D"}
    assert {"LabelingDuration", "SliceTiming"} <= set(missing("perf", "asl", {}, told, frozenset()))


def test_entities_ask_for_what_they_count() -> None:
    assert missing("anat", "T1w", {"echo": "1"}, {}, frozenset()) == ["EchoTime"]
