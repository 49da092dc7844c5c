"""Which instances hold a content tree or annotations, and the options that clean them."""

from __future__ import annotations

from pacstream_anonymizer import attributes, graphics, structured, text
from pacstream_anonymizer.cleaner import Cleaner, Scene, value_of
from pacstream_anonymizer.parser import Element
from pacstream_anonymizer.profile import Profile

STORAGE = "1.2.840.10008.5.1.4.1.1."
PRESENTATIONS = frozenset(f"{STORAGE}11.{number}" for number in (1, 5, 12))
"""Those in grey, without annotations in volumes: the others are not whole without an ICC profile,
which is never released."""
REPORTS = f"{STORAGE}88."
TRIALS = frozenset(f"{REPORTS}{number}" for number in (1, 2, 3, 4))


def option_for(sop_class_uid: str, profile: Profile) -> str:
    """The option that cleans the content of a class, if the profile has it; empty otherwise."""
    option = ""
    if sop_class_uid in PRESENTATIONS:
        option = "clean_graphics"
    elif sop_class_uid.startswith(REPORTS) and sop_class_uid not in TRIALS:
        option = "clean_structured_content"
    return option if option in profile.options else ""


def with_content(
    elements: list[Element], cleaned: list[Element], cleaner: Cleaner, option: str
) -> list[Element]:
    """`cleaned`, which is what the table of attributes leaves of `elements`, with the content that
    the option cleans. Raises Refusal as `ContentCleaner.spliced` does."""
    codecs = text.encodings_of(value_of(elements, attributes.CHARACTER_SET) or b"")
    if option == "clean_graphics":
        return graphics.spliced(elements, cleaned, cleaner, Scene(codecs, path=(graphics.LAYERS,)))
    if option == "clean_structured_content":
        scene = Scene(codecs, path=(structured.CONTENT,))
        return structured.ContentCleaner(cleaner, scene).spliced(elements, cleaned)
    return cleaned
