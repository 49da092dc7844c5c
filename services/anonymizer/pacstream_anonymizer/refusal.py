"""Why an instance is not released."""

from __future__ import annotations

REASONS = frozenset(
    {
        "not_dicom",
        "unreadable",
        "truncated",
        "excess_pixel_data",
        "unsupported_transfer_syntax",
        "patient_mismatch",
        "uid_mismatch",
        "private_sop_class",
        "unsupported_sop_class",
        "burned_in_annotation",
        "recognizable_visual_features",
        "embedded_overlay",
        "codestream_comment",
        "encapsulated_document",
        "structured_report",
        "key_object",
        "presentation_state",
        "secondary_capture",
        "ultrasound",
        "video_or_photo",
        "raw_data",
        "echo",
        "error",
    }
)


class Refusal(Exception):  # noqa: N818 - an outcome by rule, not an error
    """The instance is withheld; `reason` is one of REASONS."""

    def __init__(self, reason: str) -> None:
        if reason not in REASONS:
            raise ValueError("not a reason code")
        super().__init__(reason)
        self.reason = reason
