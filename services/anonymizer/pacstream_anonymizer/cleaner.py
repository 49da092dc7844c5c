"""The profile applied to every element of every item, depth first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pacstream.memory import MISSING, Memory
from pacstream_anonymizer import attributes, codes, descriptors, safe_private, text, values
from pacstream_anonymizer.actions import Action, Decision
from pacstream_anonymizer.dictionary import VR_BY_TAG, family
from pacstream_anonymizer.encoding import Encoding
from pacstream_anonymizer.iod import Iod, Type
from pacstream_anonymizer.parser import PIXEL_TAGS, Element
from pacstream_anonymizer.profile import Profile
from pacstream_anonymizer.values import Patient

ROOM = 1 << 20
"""Bytes of elements to remember for each character set."""


class Told(NamedTuple):
    """What became of an element: tags from top level down to it, the rule, and what was done (an
    action's name, `keep` if its value is as before, `remove` if nothing is left)."""

    path: tuple[int, ...]
    rule: str
    done: str
    old: bytes
    """The value as it was."""


Trail = Callable[[Sequence[tuple[Told, ...]]], None]
"""Is told of elements at top level, with all below each; of the same bytes with the same tuple."""


class Scene(NamedTuple):
    """Where an element stands: codecs for its text, who made the device, the tags above it; and
    the list that is told, if any."""

    codecs: tuple[str, ...] = ()
    manufacturer: str = ""
    path: tuple[int, ...] = ()
    told: list[Told] | None = None

    def inside(self, tag: int) -> Scene:
        """In an item of the sequence `tag`."""
        return self._replace(path=(*self.path, tag))

    def tell(self, tag: int, rule: str, done: str, old: bytes = b"") -> None:
        """What became of an element here, as Told has it."""
        if self.told is not None:
            self.told.append(Told((*self.path, tag), rule, done, old))


TOP = Scene()


class Treated(NamedTuple):
    element: Element | None
    told: tuple[Told, ...]


class Treatments(Memory[Treated]):
    """What became of elements of one creator in one scene; each element carries its own, with this
    `mark`, for as long as it is remembered itself."""

    def __init__(self) -> None:
        super().__init__(ROOM)
        self.mark = object()


@dataclass(frozen=True)
class Cleaner:
    """Cleans the data sets of one patient that lie in one encoding and are of one IOD.

    What became of an element at top level, sequences whole, is remembered for the next data set
    with the same one: instances of a series differ in few. `memories` are for cleaners that differ
    in nothing but their trails; they all have one, or none of them has.
    """

    profile: Profile
    patient: Patient
    encoding: Encoding
    iod: Iod
    trail: Trail | None = None
    memories: dict[tuple[object, ...], Treatments] = field(default_factory=dict, repr=False)

    def data_set(
        self, elements: list[Element], around: Scene = TOP, *, nested: bool = False
    ) -> list[Element]:
        """What of `elements` may be released, clean; `around` is the scene of an item."""
        scene = self.scene(elements, around)
        private = [one for one in elements if one.tag >> 16 & 1]
        if scene.path:
            found = (self._treated(one, "", scene) for one in elements if not one.tag >> 16 & 1)
            kept = [one for one in found if one is not None]
        else:
            kept = self._top(elements, scene)
        if private:
            kept += self._private(private, scene)
        return kept + self._concept(elements, scene) if nested else kept

    def _top(self, elements: list[Element], scene: Scene) -> list[Element]:
        """The standard elements at top level."""
        treatments = self._treatments("", scene)
        mark = treatments.mark
        kept: list[Element] = []
        told: list[tuple[Told, ...]] = []
        for element in elements:
            if element.tag >> 16 & 1:
                continue
            known = element.treated
            if known is None or known[0] is not mark:
                known = self._remembered(element, "", scene, treatments)
            treated, said = known[1]
            told.append(said)
            if treated is not None:
                kept.append(treated)
        if self.trail is not None:
            self.trail(told)
        return kept

    def item(self, elements: list[Element], around: Scene) -> list[Element]:
        """What of an item of a sequence may be released."""
        return self.data_set(elements, around, nested=True)

    def scene(self, elements: list[Element], around: Scene = TOP) -> Scene:
        """The scene inside a data set that stands in `around`."""
        declared = value_of(elements, attributes.CHARACTER_SET)
        if declared is not None:
            around = around._replace(codecs=text.encodings_of(declared))
        if self.profile.asks_manufacturer and not around.path:
            made_by = value_of(elements, attributes.MANUFACTURER) or b""
            around = around._replace(manufacturer=text.decode(made_by, around.codecs))
        return around

    def _private(self, elements: list[Element], scene: Scene) -> list[Element]:
        """Private elements that may stay, and the creators of just those (PS3.5 section 7.8)."""
        blocks = safe_private.blocks_of(elements, scene.codecs)
        kept: list[Element] = []
        told: list[tuple[Told, ...]] = []
        used: dict[int, str] = {}
        for element in elements:
            if safe_private.is_creator(element.tag):
                continue
            creator = safe_private.creator_of(element.tag, blocks)
            if scene.path:
                treated = self._treated(element, creator, scene)
            else:
                treatments = self._treatments(creator, scene)
                treated, said = self._remembered(element, creator, scene, treatments)[1]
                told.append(said)
            if treated is not None:
                kept.append(treated)
                used[element.tag & 0xFFFF0000 | (element.tag & 0xFFFF) >> 8] = creator
        if told and self.trail is not None:
            self.trail(told)
        return kept + [Element(tag, "LO", creator.encode()) for tag, creator in used.items()]

    def _remembered(
        self, element: Element, creator: str, scene: Scene, treatments: Treatments
    ) -> tuple[object, Treated]:
        """All that decides is in the bytes, the creator and the scene, but for what is the same
        for the whole cleaner."""
        known = element.treated
        if known is not None and known[0] is treatments.mark:
            return known
        treated = treatments.get(element.raw) if element.raw else MISSING
        if treated is MISSING:
            told: list[Told] | None = None if self.trail is None else []
            result = self._treated(element, creator, scene._replace(told=told))
            treated = Treated(result, tuple(told or ()))
            if element.raw:
                treatments.put(element.raw, treated)
        known = element.treated = treatments.mark, treated
        return known

    def _treatments(self, creator: str, scene: Scene) -> Treatments:
        key = (creator, scene.codecs, scene.manufacturer)
        treatments = self.memories.get(key)
        if treatments is None:
            treatments = self.memories[key] = Treatments()
        return treatments

    def _treated(self, element: Element, creator: str, scene: Scene) -> Element | None:
        kind = self.iod.type_of(scene.path, element.tag)
        decision = self.profile.decide(element.tag, creator, scene.manufacturer, kind)
        result = self._element(element, decision, creator, scene)
        if scene.told is not None:
            done = decision.action.name.lower()
            if result is None:
                done = "remove"
            elif element.items is None and result.value == element.value:
                done = "keep"
            scene.tell(element.tag, decision.rule, done, element.value)
        return result

    def _element(
        self, element: Element, decision: Decision, creator: str, scene: Scene
    ) -> Element | None:
        if decision.action in (Action.REMOVE, Action.CODE) or element.tag in PIXEL_TAGS:
            return None
        meant = self._meant_vr(element, creator)
        vr = self._written_vr(element.vr, meant)
        if vr is None or (element.items is None) != (meant != "SQ"):
            return None
        if element.items is not None:
            return self._sequence(element, decision.action, scene)
        value = self.value(decision, element, meant, scene)
        return None if value is None else Element(element.tag, vr, value)

    def _meant_vr(self, element: Element, creator: str) -> str:
        """The dictionary's VR; of a private element the table's, else what the file says."""
        if not creator:
            return VR_BY_TAG.get(element.tag, "")
        key = (element.tag >> 16, creator, element.tag & 0xFF)
        told = "" if element.vr == "UN" else element.vr
        return safe_private.rows().get(key, told)

    def _written_vr(self, vr: str, meant: str) -> str | None:
        """The VR to write, or None if the file's can't be what the dictionary says.

        An UN of a known tag gets its VR back; UN values are little endian (PS3.5 section 6.2.2).
        """
        if vr in ("UN", ""):
            if not self.encoding.little:
                return None
            vr = meant
        if not self.encoding.implicit and len(vr) != 2:
            return None
        return vr if family(vr) == family(meant) else None

    def _sequence(self, element: Element, action: Action, scene: Scene) -> Element | None:
        if action is Action.EMPTY:
            return Element(element.tag, "SQ", items=[])
        given = element.items or []
        inside = scene.inside(element.tag)
        if action is Action.DUMMY:
            items = [self._dummy_item(item, inside) for item in given[:1]]
        elif action in (Action.CLEAN, Action.KEEP):
            items = [self.data_set(item, inside, nested=True) for item in given]
        else:
            return None
        return Element(element.tag, "SQ", items=items)

    def _dummy_item(self, item: list[Element], scene: Scene) -> list[Element]:
        """What the IOD wants of an item, with values that say nothing; a code, if it is one."""
        kept = []
        for element in item:
            kind = self.iod.type_of(scene.path, element.tag)
            dummy = None if kind is Type.OPTIONAL else self._dummy(element, kind, scene)
            if dummy is not None:
                kept.append(dummy)
        coded = any(element.tag in attributes.CODE_TAGS for element in item)
        return kept + _coded(codes.LOCAL, attributes.CODE_VALUE) if coded else kept

    def _dummy(self, element: Element, kind: Type, scene: Scene) -> Element | None:
        meant = VR_BY_TAG.get(element.tag, "")
        vr = self._written_vr(element.vr, meant)
        if vr is None or (element.items is None) != (meant != "SQ") or element.tag >> 16 & 1:
            return None
        if element.items is not None:
            action = Action.DUMMY if kind is Type.VALUE else Action.EMPTY
            return self._sequence(element, action, scene)
        if kind is Type.PRESENT:
            return Element(element.tag, vr)
        if meant == "CS":  # a term that the IOD has fixed, or nothing
            value = values.clean(element.tag, meant, element.value, self.patient)
        else:
            value = values.dummy(element.tag, meant, element.value, self.patient)
        return None if value is None else Element(element.tag, vr, value)

    def value(self, decision: Decision, element: Element, meant: str, scene: Scene) -> bytes | None:
        """The value to release of an element of VR `meant`; None: no element."""
        action, given = decision.action, element.value
        if action is Action.WORDS:
            read = text.decode(given, scene.codecs)
            words = descriptors.cleaned(read, self.profile.vocabulary)
            return words.encode("utf-8") or self._fixed(decision.otherwise, element, meant)
        if action is Action.TEXT:
            checked = values.technical(element.tag, text.decode(given, scene.codecs))
            if checked is None:
                return self._fixed(decision.otherwise, element, meant)
            return checked.encode("utf-8")
        if action is Action.REPLACE:
            return values.replacement(meant, decision.value)
        if action is Action.KEEP:
            return values.kept(meant, given, scene.codecs, self.patient.key)
        if action is not Action.CLEAN:
            return self._fixed(action, element, meant)
        cleaned = values.clean(element.tag, meant, given, self.patient)
        if cleaned == b"" and decision.otherwise is Action.DUMMY and given.strip(b" \0"):
            return self._fixed(Action.DUMMY, element, meant)
        return cleaned

    def _fixed(self, action: Action, element: Element, meant: str) -> bytes | None:
        """A value that does not come from the one in the file."""
        if action is Action.EMPTY:
            return b""
        if action is Action.DUMMY:
            return values.dummy(element.tag, meant, element.value, self.patient)
        if action is Action.PSEUDONYM:
            return self.patient.pseudonym.encode("ascii")
        return None

    def _concept(self, elements: list[Element], scene: Scene) -> list[Element]:
        """The code of an item, whole or not at all: its parts only make sense together."""
        given = {
            element.tag: text.decode(element.value, scene.codecs)
            for element in elements
            if element.tag in attributes.CODE_TAGS and element.items is None
        }
        if not given:
            return []
        long = attributes.LONG_CODE_VALUE in given
        value_tag = attributes.LONG_CODE_VALUE if long else attributes.CODE_VALUE
        parts = (
            value_tag,
            attributes.CODING_SCHEME,
            attributes.CODE_MEANING,
            attributes.CODING_SCHEME_VERSION,
        )
        concept = codes.cleaned(*(given.get(tag, "") for tag in parts))
        return _coded(concept, value_tag)


def _coded(concept: codes.Concept, value_tag: int) -> list[Element]:
    long = value_tag == attributes.LONG_CODE_VALUE
    version = Element(attributes.CODING_SCHEME_VERSION, "SH", concept.version.encode("ascii"))
    return [
        Element(value_tag, "UC" if long else "SH", concept.value.encode("utf-8")),
        Element(attributes.CODING_SCHEME, "SH", concept.scheme.encode("utf-8")),
        *([version] if concept.version else []),
        Element(attributes.CODE_MEANING, "LO", concept.meaning.encode("utf-8")),
    ]


def value_of(elements: list[Element], tag: int) -> bytes | None:
    """The value bytes of an element that is not a sequence; None if it is not there."""
    for element in elements:
        if element.tag == tag and element.items is None:
            return element.value
    return None
