"""Which instances hold a content tree or annotations, and the options that clean them."""

from __future__ import annotations

from pacstream_anonymizer import graphics, structured
from pacstream_anonymizer.cleaner import Account, Cleaner, Told
from pacstream_anonymizer.parser import Element
from pacstream_anonymizer.profile import Profile

STORAGE = "1.2.840.10008.5.1.4.1.1."
PRESENTATIONS = frozenset(f"{STORAGE}11.{number}" for number in (1, 5, 12))
"""Those in grey, without annotations in volumes: the others are not whole without an ICC profile,
which is never released."""
REPORTS = f"{STORAGE}88."
HANDLED = {
    "": frozenset[int](),
    "clean_graphics": graphics.HANDLED,
    "clean_structured_content": structured.HANDLED,
}
"""The top-level attributes that an option has rules of its own for."""
TRIALS = frozenset(f"{REPORTS}{number}" for number in (1, 2, 3, 4))


def option_for(sop_class_uid: str, profile: Profile) -> str:
    """The option that cleans the content of a class, if the profile has it; empty otherwise."""
    option = ""
    if sop_class_uid in PRESENTATIONS:
        option = "clean_graphics"
    elif sop_class_uid.startswith(REPORTS) and sop_class_uid not in TRIALS:
        option = "clean_structured_content"
    return option if option in profile.options else ""


def with_content(elements: list[Element], cleaner: Cleaner, option: str) -> list[Element]:
    """What the profile leaves of a data set: content by the option, the rest by attribute.

    Raises Refusal as `ContentCleaner.cleaned` does.
    """
    handled = HANDLED[option]
    if not handled:
        return cleaner.data_set(elements)
    told: list[Told] | None = None if cleaner.trail is None else []
    content = [one for one in elements if one.tag in handled]
    rest = cleaner.data_set([one for one in elements if one.tag not in handled])
    scene = cleaner.scene(elements)._replace(told=told)
    if option == "clean_graphics":
        kept = graphics.cleaned(content, cleaner, scene)
    else:
        kept = structured.ContentCleaner(cleaner, scene).cleaned(content)
    if cleaner.trail is not None:
        cleaner.trail([Account(told or ())])
    return rest + kept
