from __future__ import annotations

import signal

import pytest

from pacstream.errors import RetryLaterError
from pacstream_converter.dcm2niix import judge


@pytest.mark.parametrize(
    ("exit_code", "log_text", "images", "state", "reason"),
    [
        (0, "Convert 5 DICOM as series", 1, "converted", ""),
        (
            0,
            "Warning: Missing images. Found 4 images",
            1,
            "incomplete",
            "slices_missing",
        ),
        (0, "", 0, "unsupported", "no_output"),
        (1, "", 1, "failed", "dcm2niix_failed"),
        (2, "No valid DICOM images were found", 0, "unsupported", "no_output"),
        (2, "Unsupported transfer syntax '1.2'", 0, "unsupported", "transfer_syntax"),
        (4, "", 0, "failed", "corrupt_instance"),
        (8, "", 1, "incomplete", "partly_converted"),
        (8, "", 0, "failed", "dcm2niix_failed"),
        (10, "", 1, "incomplete", "volumes_incomplete"),
        (12, "", 0, "failed", "dcm2niix_failed"),
        (-11, "", 1, "failed", "dcm2niix_crashed"),
    ],
)
def test_every_end_of_dcm2niix_has_a_state_and_a_reason(
    exit_code: int, log_text: str, images: int, state: str, reason: str
) -> None:
    verdict = judge(exit_code, log_text, images)
    assert (verdict.state, verdict.reason) == (state, reason)


HOLE = (
    "Warning: Missing images? Expected 9 images,"
    " but instance number (0020,0013) ranges from 1 to 10"
)
UNEVEN = "Warning: Interslice distance varies in this volume (incompatible with NIfTI format)."
REPEATED = (
    "Slice positions repeated, but number of slices (14) not divisible by number of repeats (3):"
    " missing images?"
)


@pytest.mark.parametrize(
    ("exit_code", "log_text", "state", "missing", "has_volumes"),
    [
        (0, HOLE, "converted_with_warnings", 0, True),
        (0, UNEVEN, "converted_with_warnings", 0, True),
        (0, f"{UNEVEN}\n{HOLE}", "incomplete", 1, True),
        (1, f"{REPEATED}\n{UNEVEN}\n{HOLE}", "incomplete", 1, False),
    ],
)
def test_slices_are_lost_if_numbers_and_places_have_a_hole_or_volumes_do_not_fill(
    exit_code: int, log_text: str, state: str, missing: int, has_volumes: bool
) -> None:
    verdict = judge(exit_code, log_text, 1)
    assert (verdict.state, verdict.missing, verdict.has_volumes) == (state, missing, has_volumes)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stop_from_outside_is_no_verdict_on_the_series(number: signal.Signals) -> None:
    with pytest.raises(RetryLaterError) as raised:
        judge(-number, "", 1)
    assert raised.value.code == "interrupted"


@pytest.mark.parametrize(
    ("exit_code", "log_text"),
    [(5, ""), (6, ""), (7, ""), (-signal.SIGXFSZ, ""), (1, "Unable to write x (disk full?)")],
)
def test_a_folder_that_can_not_be_used_is_tried_again(exit_code: int, log_text: str) -> None:
    with pytest.raises(RetryLaterError):
        judge(exit_code, log_text, 0)
