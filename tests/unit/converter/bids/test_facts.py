from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from pacstream.errors import RejectedError
from pacstream_converter.bids.facts import part_of, phase_encoding, read_header
from tests.unit.converter.samples import image, write


@pytest.mark.parametrize(
    ("direction", "axes", "told"),
    [
        ("j-", ("R", "A", "S"), "AP"),
        ("j", ("R", "A", "S"), "PA"),
        ("i", ("L", "A", "S"), "RL"),
        ("k-", ("A", "S", "L"), "LR"),
        ("", ("R", "A", "S"), ""),
        ("x", ("R", "A", "S"), ""),
        ("j", ("R", None, "S"), ""),
    ],
)
def test_phase_encoding_is_told_from_where_to_where(
    direction: str, axes: tuple[str | None, ...], told: str
) -> None:
    assert phase_encoding(direction, axes) == told


@pytest.mark.parametrize(
    ("suffix", "image_type", "part"),
    [
        ("e2_ph", ("ORIGINAL", "PRIMARY", "M"), "phase"),
        ("", ("ORIGINAL", "PRIMARY", "P", "ND"), "phase"),
        ("", ("ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"), "mag"),
        ("real", (), "real"),
        ("imaginary", (), "imag"),
        ("", ("ORIGINAL", "PRIMARY", "AXIAL"), ""),
        ("", ("P", "M"), ""),
    ],
)
def test_part_is_told_by_suffix_or_image_type(
    suffix: str, image_type: tuple[str, ...], part: str
) -> None:
    assert part_of(suffix, image_type) == part


def test_values_inside_functional_groups_are_found(tmp_path: Path) -> None:
    ds = image("MR", 0)
    del ds.EchoTime
    timing, shared = Dataset(), Dataset()
    timing.RepetitionTime, timing.EchoTrainLength = "777", "3"
    shared.MRTimingAndRelatedParametersSequence = [timing]
    ds.SharedFunctionalGroupsSequence = [shared]
    write(ds, tmp_path / "1.dcm")
    header = read_header([tmp_path / "1.dcm"])
    assert header.first("EchoTrainLength") == "3"
    assert header.first("RepetitionTime") == "8"  # the one at top level
    assert header.first("EchoTime") == ""


def test_the_first_acquisition_of_all_instances_counts(tmp_path: Path) -> None:
    for number, time in enumerate(("120000", "090000.5", "130000")):
        ds = image("MR", number)
        ds.AcquisitionTime = time
        write(ds, tmp_path / f"{number}.dcm")
    header = read_header(sorted(tmp_path.iterdir()))
    assert (header.date, header.time) == ("20200102", "090000.5")


def test_an_unreadable_instance_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "0.dcm").write_bytes(b"no DICOM")
    with pytest.raises(RejectedError) as refused:
        read_header([tmp_path / "0.dcm"])
    assert refused.value.code == "unreadable"
    write(image("MR", 1), tmp_path / "1.dcm")
    assert read_header(sorted(tmp_path.iterdir())).first("Modality") == "MR"
