"""Why a file of a folder is not released, beside the reasons of `refusal`."""

from __future__ import annotations

NO_INSTANCE = frozenset({"not_dicom", "empty", "dicomdir", "special_file"})
"""What is no DICOM instance: it is listed, and nobody waits for its release."""

STAY = frozenset({"no_access", "linked_folder", "special_file"})
"""What can't be moved to quarantine."""

REASONS = (
    NO_INSTANCE
    | STAY
    | {"no_preamble", "duplicate_uid", "same_content", "identifiable", "original_missing"}
)
