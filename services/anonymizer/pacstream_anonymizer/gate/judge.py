"""A released data set, element by element."""

from __future__ import annotations

import re
from typing import NamedTuple

from pacstream.memory import LONGEST, MISSING, Memory
from pacstream.skim import Walk
from pacstream.stretches import Stretches
from pacstream_anonymizer.gate import form
from pacstream_anonymizer.gate.claims import Claims, PrivateBlocks
from pacstream_anonymizer.gate.echo import LONGEST_BINARY, Search
from pacstream_anonymizer.gate.form import Body
from pacstream_anonymizer.gate.identifiers import CLASS_TAGS
from pacstream_anonymizer.gate.reader import UNREADABLE, Leaf, Place, known_vr
from pacstream_anonymizer.refusal import Refusal

UID_LIKE = re.compile(r"[0-9]+(?:\.[0-9]+){3,}", re.ASCII)
SHORTEST_UID = 8
DEEPEST = 32
SILENT = frozenset({"AS", "AT", "DA", "DS", "DT", "FD", "FL", "IS", "SL", "SS", "TM", "UL", "US"})
"""VRs in which no UID can stand."""


class Finding(NamedTuple):
    """What is wrong with a value: the reason code, and the tags from top level down to it."""

    reason: str
    path: tuple[int, ...]
    vr: str = ""


class Verdict(NamedTuple):
    """What the same bytes always mean for the same patient: findings, UIDs that stand there, and
    values that are right only if they stand in the original too."""

    findings: tuple[Finding, ...] = ()
    uids: frozenset[str] = frozenset()
    odd: tuple[bytes, ...] = ()


CLEAN = Verdict()


class Judged(NamedTuple):
    """The verdicts on all elements that have something to them, and the tags that have a value."""

    verdicts: list[Verdict]
    present: set[int]


class Stood(NamedTuple):
    """Elements that stand together, from tag `first` to `last`: the verdict on all of them, and the
    tags that have a value."""

    first: int
    last: int
    verdict: Verdict
    present: frozenset[int]


class Memories(NamedTuple):
    """What is remembered of released elements under the same search and claims, in one transfer
    syntax; `stretches` in one series."""

    verdicts: Memory[Verdict]
    stretches: Stretches[Stood, Stood]


def joined(stood: list[Stood]) -> Stood:
    verdicts = [one.verdict for one in stood if one.verdict is not CLEAN]
    verdict = CLEAN
    if verdicts:
        verdict = Verdict(
            tuple(finding for one in verdicts for finding in one.findings),
            frozenset().union(*(one.uids for one in verdicts)),
            tuple(odd for one in verdicts for odd in one.odd),
        )
    present = frozenset().union(*(one.present for one in stood))
    return Stood(stood[0].first, stood[-1].last, verdict, present)


def judge(body: Body, claims: Claims, search: Search, memories: Memories) -> Judged:
    """What is to be said of a data set that is to be released. Refusal `invalid` if it is none.

    `memories` are for this `search`, `claims` and transfer syntax alone.
    """
    content, at, end, before = body.content, body.start, len(body.content), -1
    judged = Judged([], set())
    private = PrivateBlocks(claims)
    memories.stretches.begin()
    try:
        while at < end:
            stretch = memories.stretches.found(content, at, end)
            if stretch is None:
                place = body.walk.next(content, at, end, before)
                stood, at = _one(body, at, place, private, search, memories), place[3]
            else:
                stood, at = stretch.what, at + stretch.length
                if stood.first <= before:
                    raise Refusal("invalid")
            before = stood.last
            judged.present.update(stood.present)
            if stood.verdict is not CLEAN:
                judged.verdicts.append(stood.verdict)
    except UNREADABLE:
        raise Refusal("invalid") from None
    memories.stretches.end()
    judged.verdicts.extend(Verdict((Finding("private_left", (tag,)),)) for tag in private.wrong())
    return judged


def _one(
    body: Body,
    at: int,
    place: tuple[int, bytes, int, int],
    private: PrivateBlocks,
    search: Search,
    memories: Memories,
) -> Stood:
    """An element that stands alone: what its neighbours decide about is in no stretch."""
    tag, vr, value, stop = place
    if stop < 0:
        raise Refusal("invalid")
    raw, start = body.content[at:stop], value - at
    is_private = bool(tag >> 16 & 1)
    private_vr = private.vr_of(tag, raw[start:]) if is_private else None
    # Without a VR in the file, whose it is decides what the bytes mean; no tag begins with zeros.
    key = raw if private_vr is None else b"\0\0" + private_vr.encode() + raw
    verdict = memories.verdicts.get(key)
    if verdict is MISSING:
        element = _Element(body.walk, private.claims, search)
        verdict = element.verdict((tag,), vr, raw, start, private_vr)
        memories.verdicts.put(key, verdict)
    present = frozenset((tag,)) if stop > value else frozenset[int]()
    if tag in body.named and body.named[tag] != raw[start:]:
        wrong = Finding("invalid", (tag,))
        verdict = verdict._replace(findings=(*verdict.findings, wrong))
    stood = Stood(tag, tag, verdict, present)
    if is_private or tag in body.named or len(raw) > LONGEST:
        memories.stretches.part()
    else:
        memories.stretches.add(raw, stood)
    return stood


class _Element:
    """The verdict on one top-level element, worked out."""

    def __init__(self, walk: Walk, claims: Claims, search: Search) -> None:
        self._walk = walk
        self._claims = claims
        self._search = search
        self._findings: list[Finding] = []
        self._uids: set[str] = set()
        self._odd: list[bytes] = []

    def verdict(
        self, path: tuple[int, ...], vr: bytes, raw: bytes, start: int, private_vr: str | None
    ) -> Verdict:
        self._look(Place(raw, self._walk, vr, start, len(raw)), path, private_vr)
        if not (self._findings or self._uids or self._odd):
            return CLEAN
        return Verdict(tuple(self._findings), frozenset(self._uids), tuple(self._odd))

    def _look(self, place: Place, path: tuple[int, ...], private_vr: str | None) -> None:
        tag = path[-1]
        if tag & 0xFFFF == 0 or tag >> 16 < 0x0008 or len(path) > DEEPEST:
            raise Refusal("invalid")
        vr = place.vr.decode("latin-1") or private_vr or known_vr(tag)
        if vr != "SQ":
            self._leaf(Leaf(path, vr, place.content[place.start : place.stop], b""))
        elif tag >> 16 & 1:
            self._findings.append(Finding("private_left", path))
        else:
            for start, stop in self._walk.items(place.content, place.start, place.stop):
                self._item(place._replace(start=start, stop=stop), path)

    def _item(self, place: Place, path: tuple[int, ...]) -> None:
        private = PrivateBlocks(self._claims)
        raw = place.content
        for tag, vr, _, value, stop in self._walk.elements(raw, place.start, place.stop):
            if stop < 0:
                raise Refusal("invalid")
            private_vr = private.vr_of(tag, raw[value:stop]) if tag >> 16 & 1 else None
            inner = place._replace(vr=vr, start=value, stop=stop)
            self._look(inner, (*path, tag), private_vr)
        self._findings.extend(Finding("private_left", (*path, tag)) for tag in private.wrong())

    def _leaf(self, leaf: Leaf) -> None:
        if not form.is_well_formed(leaf.vr, leaf.value):
            if leaf.vr == "DA" or (leaf.vr == "UI" and not self._may_be_original(leaf)):
                self._findings.append(Finding("invalid", leaf.path))
            self._odd.append(leaf.value)
        if leaf.vr == "UI":
            if leaf.tag not in CLASS_TAGS:
                self._uids.update(_uids_in(leaf.value))
        elif leaf.vr not in SILENT:
            self._uids.update(_uids_in_text(leaf.value))
        if self._search.finds(leaf):
            self._findings.append(Finding("echo", leaf.path, leaf.vr))

    def _may_be_original(self, leaf: Leaf) -> bool:
        return self._claims.uids or leaf.tag in CLASS_TAGS


def _uids_in(value: bytes) -> list[str]:
    return [uid.strip(" \0") for uid in value.decode("latin-1").split("\\")]


def _uids_in_text(value: bytes) -> list[str]:
    """Of a value of another VR; in UTF-16 every second byte is zero."""
    text = value[:LONGEST_BINARY].replace(b"\0", b"").decode("latin-1")
    return [uid for uid in UID_LIKE.findall(text) if len(uid) >= SHORTEST_UID]
