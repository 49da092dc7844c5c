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
            "converted_with_warnings",
            "slices_missing",
        ),
        (0, "", 0, "unsupported", "no_output"),
        (1, "", 1, "failed", "dcm2niix_failed"),
        (2, "No valid DICOM images were found", 0, "unsupported", "no_output"),
        (2, "Unsupported transfer syntax '1.2'", 0, "unsupported", "transfer_syntax"),
        (4, "", 0, "failed", "corrupt_instance"),
        (8, "", 1, "converted_with_warnings", "partly_converted"),
        (8, "", 0, "failed", "dcm2niix_failed"),
        (10, "", 1, "converted_with_warnings", "volumes_incomplete"),
        (12, "", 0, "failed", "dcm2niix_failed"),
        (-11, "", 1, "failed", "dcm2niix_crashed"),
    ],
)
def test_every_end_of_dcm2niix_has_a_state_and_a_reason(
    exit_code: int, log_text: str, images: int, state: str, reason: str
) -> None:
    verdict = judge(exit_code, log_text, images)
    assert (verdict.state, verdict.reason) == (state, reason)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stop_from_outside_is_no_verdict_on_the_series(number: signal.Signals) -> None:
    with pytest.raises(RetryLaterError) as raised:
        judge(-number, "", 1)
    assert raised.value.code == "interrupted"


@pytest.mark.parametrize(
    ("exit_code", "log_text"), [(5, ""), (6, ""), (7, ""), (1, "Unable to write x (disk full?)")]
)
def test_a_folder_that_can_not_be_used_is_tried_again(exit_code: int, log_text: str) -> None:
    with pytest.raises(RetryLaterError):
        judge(exit_code, log_text, 0)
