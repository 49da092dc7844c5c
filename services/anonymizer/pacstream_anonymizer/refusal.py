"""Why an instance is not released."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

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
        "regions_unfit",
        "regions_not_applied",
        "text_in_pixels",
        "pixels_not_seen",
        "codestream_comment",
        "encapsulated_document",
        "structured_report",
        "key_object",
        "presentation_state",
        "secondary_capture",
        "ultrasound",
        "video_or_photo",
        "raw_data",
        "audio",
        "not_admitted",
        "echo",
        "uid_left",
        "private_left",
        "invalid",
        "error",
    }
)


JUDGEABLE = frozenset(
    {
        "burned_in_annotation",
        "pixels_not_seen",
        "private_sop_class",
        "recognizable_visual_features",
        "secondary_capture",
        "text_in_pixels",
        "ultrasound",
        "unsupported_sop_class",
        "video_or_photo",
    }
)
"""Rules that hold back what might identify: somebody who looks at the image may know better. All
other reasons say that the engine could not do its work, or has found an identifier."""


class Refusal(Exception):  # noqa: N818 - an outcome by rule, not an error
    """The instance is withheld; `reason` is one of REASONS."""

    def __init__(self, reason: str) -> None:
        if reason not in REASONS:
            raise ValueError("not a reason code")
        super().__init__(reason)
        self.reason = reason


BLACKED_OUT = frozenset({"burned_in_annotation", "secondary_capture", "ultrasound"})
"""Rules that suspect text at the edges of a picture: black rectangles are the answer to them."""


@dataclass
class Waiver:
    """What an operator's decisions let pass for one instance; `used` are the reasons that would
    have withheld it. `cleaned`: text in its pixels is going to be blacked out."""

    reasons: frozenset[str] = frozenset()
    used: set[str] = field(default_factory=set)
    cleaned: bool = False

    def suspect(self, reason: str) -> None:
        """Refusal for text that may be in the pixels, unless it is blacked out or waived."""
        if not (self.cleaned and reason in BLACKED_OUT):
            self.refuse(reason)

    def refuse(self, reason: str) -> None:
        """Refusal, unless the reason is waived and somebody can judge it."""
        if reason not in self.reasons & JUDGEABLE:
            raise Refusal(reason)
        self.used.add(reason)


class Echo(Refusal):
    """Identifiers stand in attributes that a release can do without: `paths` are their tags from
    top level down; `without_names` puts a word in the place of each name in a text."""

    def __init__(
        self, paths: frozenset[tuple[int, ...]], without_names: Callable[[str, str], str]
    ) -> None:
        super().__init__("echo")
        self.paths = paths
        self.without_names = without_names
