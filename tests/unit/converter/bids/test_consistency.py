from __future__ import annotations

import re
from pathlib import Path

import pytest
from bidsschematools.schema import load_schema

from pacstream_converter.bids.consistency import (
    DIMENSIONS,
    Grid,
    has_wrong_dimensions,
    untrue_keys,
    wrong_tables,
)
from pacstream_converter.bids.rules import Json

VOLUME, FILM = Grid((64, 64, 20)), Grid((64, 64, 20, 5), 2.0)


def test_the_specification_wants_as_many_dimensions() -> None:
    wanted = {}
    for group in load_schema().rules.checks.values():
        for check in group.values():
            counted = re.findall(r"nifti_header\.dim\[0\] == (\d)", " ".join(check.checks))
            if counted and check.issue.level == "error":
                for suffix in re.findall(r"'(\w+)'|\"(\w+)\"", check.selectors[0]):
                    wanted["".join(suffix)] = int(counted[0])
    assert wanted == {suffix: number for (_, suffix), number in DIMENSIONS.items()}


def test_dimensions_that_do_not_fit() -> None:
    assert has_wrong_dimensions("anat", "T1w", FILM)
    assert not has_wrong_dimensions("anat", "T1w", VOLUME)
    assert has_wrong_dimensions("func", "bold", VOLUME)
    assert not has_wrong_dimensions("anat", "T2w", FILM)
    assert has_wrong_dimensions("fmap", "magnitude2", Grid((64, 64, 20, 1)))


READOUT: dict[str, Json] = {"RepetitionTime": 2, "PhaseEncodingDirection": "j-"}


@pytest.mark.parametrize(
    ("suffix", "sidecar", "untrue"),
    [
        ("T1w", {"EchoTime": 0.003, "FlipAngle": 9, "Unheard": "of"}, set()),
        ("T1w", {"EchoTime": 0, "FlipAngle": 720}, {"EchoTime", "FlipAngle"}),
        ("T1w", {"MTState": "yes", "SliceThickness": -1}, {"MTState", "SliceThickness"}),
        ("bold", {"RepetitionTime": 2}, set()),
        ("bold", {"RepetitionTime": 2.5}, {"RepetitionTime"}),
        ("bold", {"RepetitionTime": 2, "SliceTiming": [0, 1.9]}, set()),
        ("bold", {"RepetitionTime": 2, "SliceTiming": [0, 2.1]}, {"SliceTiming"}),
        ("dwi", {**READOUT, "EffectiveEchoSpacing": 0.0005, "TotalReadoutTime": 0.03}, set()),
        ("dwi", {**READOUT, "EffectiveEchoSpacing": 0.05}, {"EffectiveEchoSpacing"}),
        (
            "epi",
            {**READOUT, "EffectiveEchoSpacing": 0.001, "TotalReadoutTime": 0.0009},
            {"EffectiveEchoSpacing", "TotalReadoutTime"},
        ),
        ("phasediff", {"EchoTime1": 0.00492, "EchoTime2": 0.00738}, set()),
        ("phasediff", {"EchoTime1": 0.00738, "EchoTime2": 0.00492}, {"EchoTime1", "EchoTime2"}),
        ("phasediff", {"EchoTime1": 0.004, "EchoTime2": 0.024}, {"EchoTime1", "EchoTime2"}),
        ("pet", {"FrameDuration": [60] * 5, "FrameTimesStart": [0, 60]}, {"FrameTimesStart"}),
        ("asl", {"FlipAngle": [90] * 4, "PostLabelingDelay": 1.8}, {"FlipAngle"}),
        ("dwi", {"BigDelta": [0.04] * 5, "SmallDelta": [0.02] * 6}, {"SmallDelta"}),
        ("asl", {"RepetitionTimePreparation": [4, 4]}, {"RepetitionTimePreparation"}),
    ],
)
def test_values_that_can_not_be(suffix: str, sidecar: dict[str, Json], untrue: set[str]) -> None:
    assert untrue_keys(suffix, {}, sidecar, FILM) == untrue


def test_the_unit_of_a_phase() -> None:
    assert untrue_keys("bold", {"part": "phase"}, {"Units": "Hz"}, FILM) == {"Units"}
    assert untrue_keys("bold", {"part": "phase"}, {"Units": "rad"}, FILM) == set()
    assert untrue_keys("fieldmap", {}, {"Units": "Hz"}, FILM) == set()


def test_gradient_tables_have_a_value_for_each_volume(tmp_path: Path) -> None:
    values, directions = tmp_path / "x.bval", tmp_path / "x.bvec"
    values.write_text("0 1000 1000 1000 1000\n")
    directions.write_text("0 1 0 0 1\n0 0 1 0 0\n0 0 0 1 0\n")
    assert wrong_tables([values, directions], FILM) == []
    assert wrong_tables([values, directions], VOLUME) == [".bval", ".bvec"]
    directions.write_text("0 1 0 0 1\n0 0 1 0 0\n")
    assert wrong_tables([values, directions], FILM) == [".bvec"]
