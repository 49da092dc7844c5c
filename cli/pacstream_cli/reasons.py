"""Why something is in quarantine, in words, and what an operator can do about it."""

from __future__ import annotations

from pacstream_anonymizer.refusal import JUDGEABLE

RECEIVING = {
    "unrequested": (
        "An instance of a series that nobody has asked for.",
        "Find out why the PACS sends it; submit a query if you want the series.",
    ),
    "conflicting": (
        "A second content for a SOP Instance UID. The first one stays in incoming.",
        "Compare the two; which one is right, only the PACS can tell.",
    ),
}
"""By C-STORE, C-GET and WADO-RS: these never were part of a series of ours."""

RULES = {
    "burned_in_annotation": (
        "The header says, or lets suspect, that names are burned into the pixels.",
        "Look at it. Nothing in the pixels identifies: release it.",
    ),
    "recognizable_visual_features": (
        "The header says that the pixels show who it is (a face, mostly).",
        "Look at it. It is defaced, or your approval covers faces: release it.",
    ),
    "secondary_capture": (
        "A screen shot, a scan or another picture made outside of the modality.",
        "Look at it. No names in it: release it.",
    ),
    "ultrasound": (
        "Ultrasound: the machine writes the patient's name into the picture.",
        "Look at every frame. No names in it: release it.",
    ),
    "audio": (
        "Recorded sound: a voice may say anything.",
        "It can't be released.",
    ),
    "not_admitted": (
        "The project's profile does not admit this modality or SOP class.",
        "Leave it, or submit again with a profile that admits it.",
    ),
    "video_or_photo": (
        "A photo or a video.",
        "A photo without face and names can be released; an encoded video can't.",
    ),
    "private_sop_class": (
        "A private SOP class: only its maker knows what is in it.",
        "Look at it. It is an ordinary image without names: release it.",
    ),
    "unsupported_sop_class": (
        "No storage class of the standard.",
        "Look at it. It is an ordinary image without names: release it.",
    ),
    "regions_unfit": (
        "The ultrasound regions that the image names lie outside of it, or are all of it.",
        "It can't be released like this. Say what to black out in a [[regions]] table.",
    ),
    "regions_not_applied": (
        "The profile has regions for it, and they could not be blacked out: its pixels can't be"
        " decoded here, or the decoder died or took too long.",
        "It can't be released like this. Have the PACS send it uncompressed.",
    ),
    "text_in_pixels": (
        "The text detector (PACSTREAM_OCR) has found what may be text in the pixels.",
        "Look at it. There is none, or none that identifies: release it.",
    ),
    "pixels_not_seen": (
        "The text detector (PACSTREAM_OCR) could not look: the pixels can't be decoded here.",
        "Look at it with a DICOM viewer. No text that identifies: release it.",
    ),
    "echo": (
        "An identifier of the patient was found in the result, after all rules.",
        "It can't be released. Find out where it comes from (`pacstream plan` tells the"
        " attributes), then drop it or have the rules mended.",
    ),
    "uid_left": (
        "The gate has found a UID of the original in the result.",
        "It can't be released; report it.",
    ),
    "private_left": (
        "The gate has found a private element in the result that the profile does not keep.",
        "It can't be released; report it.",
    ),
    "invalid": (
        "The gate has found the result to be no valid instance of its class any more.",
        "It can't be released; report it.",
    ),
    "uid_mismatch": (
        "Not the study or the instance that was ordered or announced.",
        "Compare it with the PACS.",
    ),
    "patient_mismatch": (
        "It is of another patient than was ordered.",
        "Tell the PACS's administrator. It must not be released for this one.",
    ),
    "error": (
        "The engine failed.",
        "Its log has the place; report it.",
    ),
}
"""What PS3.15 asks for, and what the engine holds back."""

BROKEN = (
    "The file is no whole, well-formed DICOM file, or its encoding is not known.",
    "Fetch it again; if it stays so, the PACS holds it like this. It can't be released.",
)
UNCLEANABLE = (
    "What it holds can't be cleaned with certainty: documents, reports, marks, raw data, or text"
    " inside the pixel data.",
    "It can't be released by decision. Where the project's profile has an option for such"
    " objects, use that.",
)

GROUPS = {
    **dict.fromkeys(
        (
            "not_dicom",
            "unreadable",
            "truncated",
            "excess_pixel_data",
            "unsupported_transfer_syntax",
        ),
        BROKEN,
    ),
    **dict.fromkeys(
        (
            "embedded_overlay",
            "codestream_comment",
            "encapsulated_document",
            "structured_report",
            "key_object",
            "presentation_state",
            "raw_data",
        ),
        UNCLEANABLE,
    ),
}

EXPLANATIONS: dict[str, tuple[str, str]] = {**RECEIVING, **RULES, **GROUPS}
"""What the code means, and what to do."""


def explain(reason: str) -> tuple[str, str]:
    unknown = ("Written by another version of pacstream.", "Its operations page has the code.")
    return EXPLANATIONS.get(reason, unknown)


def why_not(reason: str, origin: str) -> str:
    """Why an operator can't release what is withheld for `reason`; empty if one can."""
    if origin == "receiving":
        return (
            "it was put aside when it arrived and belongs to no order: there is no batch that it"
            " could be released for"
        )
    if reason in ("echo", "uid_left", "private_left"):
        return "an identifier was found in the result: no decision makes it go away"
    if reason not in JUDGEABLE:
        return "the engine can't clean it, which looking at it does not change"
    return ""
