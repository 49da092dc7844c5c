"""The profile applied to every element of every item, depth first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pacstream.memory import MISSING, Memory
from pacstream_anonymizer import attributes, codes, descriptors, safe_private, text, values
from pacstream_anonymizer.actions import Action, Decision
from pacstream_anonymizer.dictionary import VR_BY_TAG, family
from pacstream_anonymizer.encoding import Encoding
from pacstream_anonymizer.iod import Iod, Type
from pacstream_anonymizer.parser import PIXEL_TAGS, DataSet, Element, Run
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


class Account:
    """What is told of one element at top level or some, with all below; of the same bytes it is the
    same. `words` is what an auditor made of it, with its mark."""

    __slots__ = ("told", "words")

    def __init__(self, told: Iterable[Told] = ()) -> None:
        self.told = tuple(told)
        self.words: tuple[object, str] | None = None


Trail = Callable[[Sequence[Account]], None]


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
    """What is left of an element, or of those of a run."""

    elements: tuple[Element, ...]
    account: Account


class TreatedBlocks(NamedTuple):
    """The same of a run of private elements, the creators among which they stand, and those that
    are needed for what is left."""

    blocks: safe_private.Blocks
    elements: tuple[Element, ...]
    account: Account
    used: dict[int, str]


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
        if not scene.path:
            parts = elements.parts if isinstance(elements, DataSet) else elements
            return self._top(parts, scene)
        standard = (one for one in elements if not one.tag >> 16 & 1)
        found = (self._treated(one, "", scene) for one in standard)
        kept = [one for one in found if one is not None]
        if private := [one for one in elements if one.tag >> 16 & 1]:
            kept += self._private(private, scene)
        return kept + self._concept(elements, scene) if nested else kept

    def _top(self, parts: Sequence[Run | Element], scene: Scene) -> list[Element]:
        """The elements at top level."""
        treatments = self._treatments("", scene)
        mark = treatments.mark
        kept: list[Element] = []
        told: list[Account] = []
        private: list[Run | Element] = []
        for part in parts:
            if part.is_private:
                private.append(part)
                continue
            known = part.treated
            if known is None or known[0] is not mark:
                known = self._remembered(part, "", scene, treatments)
            elements, account = known[1]
            kept += elements
            told.append(account)
        if private:
            kept += self._private_parts(private, scene, told)
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
        """Private elements of an item that may stay, and the creators of just those (PS3.5 section
        7.8)."""
        blocks = safe_private.blocks_of(elements, scene.codecs)
        kept: list[Element] = []
        used: dict[int, str] = {}
        for element in elements:
            if safe_private.is_creator(element.tag):
                continue
            creator = safe_private.creator_of(element.tag, blocks)
            treated = self._treated(element, creator, scene)
            if treated is not None:
                kept.append(treated)
                used[safe_private.block_of(element.tag)] = creator
        return kept + _creators(used)

    def _private_parts(
        self, parts: list[Run | Element], scene: Scene, told: list[Account]
    ) -> list[Element]:
        """The same at top level, where it is remembered and told."""
        reserving = [e for one in parts for e in (one.creators if isinstance(one, Run) else (one,))]
        blocks = safe_private.blocks_of(reserving, scene.codecs)
        mark = self._treatments("", scene).mark
        kept: list[Element] = []
        used: dict[int, str] = {}
        for part in parts:
            known = part.treated if isinstance(part, Run) else None
            if known is not None and known[0] is mark and known[1].blocks == blocks:
                treated: TreatedBlocks = known[1]
            elif isinstance(part, Run):
                treated = self._block(part.elements, blocks, scene)
                part.treated = mark, treated
            else:
                treated = self._block((part,), blocks, scene)
            kept += treated.elements
            used |= treated.used
            told.append(treated.account)
        return kept + _creators(used)

    def _block(
        self, elements: Sequence[Element], blocks: safe_private.Blocks, scene: Scene
    ) -> TreatedBlocks:
        kept: list[Element] = []
        told: list[Account] = []
        used: dict[int, str] = {}
        for element in elements:
            if safe_private.is_creator(element.tag):
                continue
            creator = safe_private.creator_of(element.tag, blocks)
            treatments = self._treatments(creator, scene)
            left, account = self._remembered(element, creator, scene, treatments)[1]
            told.append(account)
            if left:
                kept += left
                used[safe_private.block_of(element.tag)] = creator
        return TreatedBlocks(blocks, tuple(kept), _together(told), used)

    def _remembered(
        self, part: Run | Element, creator: str, scene: Scene, treatments: Treatments
    ) -> tuple[object, Treated]:
        """All that decides is in the bytes, the creator and the scene, but for what is the same
        for the whole cleaner."""
        known = part.treated
        if known is not None and known[0] is treatments.mark:
            return known
        if isinstance(part, Run):
            each = [self._remembered(one, creator, scene, treatments)[1] for one in part.elements]
            left = tuple(element for one in each for element in one.elements)
            treated = Treated(left, _together([one.account for one in each]))
        else:
            treated = self._single(part, creator, scene, treatments)
        known = part.treated = treatments.mark, treated
        return known

    def _single(
        self, element: Element, creator: str, scene: Scene, treatments: Treatments
    ) -> Treated:
        if not element.raw:
            return self._anew(element, creator, scene)
        known: Treated = treatments.get(element.raw)
        if known is MISSING:
            known = self._anew(element, creator, scene)
            treatments.put(element.raw, known)
        return known

    def _anew(self, element: Element, creator: str, scene: Scene) -> Treated:
        told: list[Told] | None = None if self.trail is None else []
        result = self._treated(element, creator, scene._replace(told=told))
        return Treated(() if result is None else (result,), Account(told or ()))

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


def _creators(used: dict[int, str]) -> list[Element]:
    return [Element(tag, "LO", creator.encode()) for tag, creator in used.items()]


def _together(accounts: Sequence[Account]) -> Account:
    return Account(told for one in accounts for told in one.told)


def value_of(elements: list[Element], tag: int) -> bytes | None:
    """The value bytes of an element that is not a sequence; None if it is not there."""
    if isinstance(elements, DataSet):
        found = elements.by_tag.get(tag)
        return None if found is None else found.value
    for element in elements:
        if element.tag == tag and element.items is None:
            return element.value
    return None
