"""The profile applied to every element of every item, depth first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from pacstream.errors import RejectedError
from pacstream.memory import MISSING, Memory
from pacstream_anonymizer import attributes, codes, text, values
from pacstream_anonymizer.dictionary import VR_BY_TAG, family
from pacstream_anonymizer.encoding import Encoding
from pacstream_anonymizer.parser import PIXEL_TAGS, Element
from pacstream_anonymizer.profile import Action, Profile
from pacstream_anonymizer.values import Patient

ROOM = 1 << 20
"""Bytes of elements to remember for each character set."""


@dataclass(frozen=True)
class Cleaner:
    """Cleans the data sets of one patient that lie in one encoding.

    What became of an element at top level, sequences whole, is remembered for the next data set
    with the same one: instances of a series differ in few. The memory dies with the cleaner.
    """

    profile: Profile
    patient: Patient
    encoding: Encoding
    memories: dict[tuple[str, ...], Memory[Element | None]] = field(
        default_factory=dict, repr=False
    )

    def __post_init__(self) -> None:
        """Raises RejectedError for a profile that wants more than its options say."""
        profile = self.profile
        if profile.mode != "profile" or any(
            (profile.rules, profile.regions, profile.modalities, profile.sop_classes)
        ):
            raise RejectedError(
                "the engine has no rules, regions or lists of a project's own",
                code="project_profile_unsupported",
            )

    def data_set(
        self, elements: list[Element], inherited: tuple[str, ...] = (), *, nested: bool = False
    ) -> list[Element]:
        """What of `elements` may be released, clean; `inherited` are the codecs around an item."""
        declared = value_of(elements, attributes.CHARACTER_SET)
        codecs = text.encodings_of(declared) if declared is not None else inherited
        kept = [self._remembered(element, codecs) for element in elements]
        concept = self._concept(elements, codecs) if nested else []
        return [element for element in kept if element is not None] + concept

    def _remembered(self, element: Element, codecs: tuple[str, ...]) -> Element | None:
        """All that decides is in the bytes and the character set, but for what is the same for the
        whole cleaner."""
        if not element.raw:
            return self._element(element, codecs)
        memory = self.memories.get(codecs)
        if memory is None:
            memory = self.memories[codecs] = Memory(ROOM)
        known = memory.get(element.raw)
        if known is MISSING:
            known = self._element(element, codecs)
            memory.put(element.raw, known)
        return cast(Element | None, known)

    def _element(self, element: Element, codecs: tuple[str, ...]) -> Element | None:
        action = self.profile.action(element.tag)
        if action in (Action.REMOVE, Action.CODE) or element.tag in PIXEL_TAGS:
            return None
        meant = VR_BY_TAG[element.tag]
        vr = self._written_vr(element.vr, meant)
        if vr is None or (element.items is None) != (meant != "SQ"):
            return None
        if element.items is not None:
            return self._sequence(element, action, codecs)
        value = self._value(action, element, meant, codecs)
        return None if value is None else Element(element.tag, vr, value)

    def _written_vr(self, vr: str, meant: str) -> str | None:
        """The VR to write, or None if the file's can't be what the dictionary says.

        An UN of a known tag gets its VR back; UN values are little endian (PS3.5 section 6.2.2).
        """
        if vr == "UN":
            if not self.encoding.little:
                return None
            vr = meant
        if not self.encoding.implicit and len(vr) != 2:
            return None
        return vr if family(vr) == family(meant) else None

    def _sequence(
        self, element: Element, action: Action, codecs: tuple[str, ...]
    ) -> Element | None:
        if action is Action.EMPTY:
            return Element(element.tag, "SQ", items=[])
        if action is not Action.CLEAN:
            return None
        items = [self.data_set(item, codecs, nested=True) for item in element.items or []]
        return Element(element.tag, "SQ", items=items)

    def _value(
        self, action: Action, element: Element, meant: str, codecs: tuple[str, ...]
    ) -> bytes | None:
        if action is Action.EMPTY:
            return b""
        if action is Action.DUMMY:
            dummy = values.DUMMIES.get(meant)
            return None if dummy is None else dummy.encode("ascii")
        if action is Action.PSEUDONYM:
            return self.patient.pseudonym.encode("ascii")
        if action is Action.TEXT:
            checked = values.technical(element.tag, text.decode(element.value, codecs))
            return None if checked is None else checked.encode("utf-8")
        return values.clean(element.tag, meant, element.value, self.patient)

    def _concept(self, elements: list[Element], codecs: tuple[str, ...]) -> list[Element]:
        """The code of an item, whole or not at all: its parts only make sense together."""
        given = {
            element.tag: text.decode(element.value, codecs)
            for element in elements
            if element.tag in attributes.CODE_TAGS and element.items is None
        }
        if not given:
            return []
        long = attributes.LONG_CODE_VALUE in given
        value_tag = attributes.LONG_CODE_VALUE if long else attributes.CODE_VALUE
        concept = codes.cleaned(given.get(value_tag, ""), given.get(attributes.CODING_SCHEME, ""))
        return [
            Element(value_tag, "UC" if long else "SH", concept.value.encode("utf-8")),
            Element(attributes.CODING_SCHEME, "SH", concept.scheme.encode("utf-8")),
            Element(attributes.CODE_MEANING, "LO", concept.meaning.encode("utf-8")),
        ]


def value_of(elements: list[Element], tag: int) -> bytes | None:
    """The value bytes of an element that is not a sequence; None if it is not there."""
    for element in elements:
        if element.tag == tag and element.items is None:
            return element.value
    return None
