"""The release gate: a second, independent look at each file before it gets its name.

It reads original and result by itself and shares nothing with the parser and the rules, so that a
mistake there shows here: no identifier of anyone met in the original, no original UID, no private
element that the profile does not let through, nothing that makes the file less valid than it was.
What was found in some bytes holds wherever the same bytes stand again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from pathlib import Path

from pacstream.memory import Memory
from pacstream.skim import Content
from pacstream.stretches import LastStretches
from pacstream_anonymizer.gate import form
from pacstream_anonymizer.gate.claims import Claims
from pacstream_anonymizer.gate.echo import Search
from pacstream_anonymizer.gate.form import Body, Tail
from pacstream_anonymizer.gate.identifiers import IDS, LONG_IDS, WHOLE, Traces, union
from pacstream_anonymizer.gate.judge import Finding, Judged, Memories, Verdict, joined, judge
from pacstream_anonymizer.gate.originals import Known, Originals
from pacstream_anonymizer.gate.vocabulary import is_creator
from pacstream_anonymizer.refusal import Echo, Refusal

__all__ = ["Claims", "Gate", "Tail"]

ROOM_FOR_ORIGINALS, ROOM_FOR_RELEASED = 4 << 20, 1 << 20
"""Bytes of elements to remember, for each transfer syntax and each patient."""

DISPENSABLE = frozenset({"CS", "LO", "LT", "SH", "ST", "UC", "UN", "UT"})
"""VRs of attributes whose value is emptied if there is an echo in it, as that of any private one.
Not of those that are there to identify: there the rules have failed, and nothing is released."""

GRAVEST_FIRST = ("echo", "uid_left", "private_left", "invalid")


class Gate:
    """Judges released files, and remembers what it worked out for the last `remembered` patients.

    An original is walked over by `pacstream.skim`; if the walk has any doubt, or nothing is to be
    remembered, pydicom reads it.
    """

    def __init__(self, remembered: int = 32) -> None:
        self._remembered = remembered
        self._originals = Originals(remembered, ROOM_FOR_ORIGINALS)
        self._searches: OrderedDict[object, Search] = OrderedDict()
        self._memories: OrderedDict[object, Memory[Verdict]] = OrderedDict()
        self._stretches = LastStretches(joined, remembered)

    def check(
        self,
        source: Path,
        original: Content,
        released: bytes,
        tail: Tail | None,
        claims: Claims,
        series_uid: str = "",
    ) -> None:
        """Refusal unless `released`, a whole file up to its pixel data, may be released with pixel
        data `tail`. `original` is all that is in the file `source`; `series_uid` only says what it
        will be like.

        Echo if all that is wrong are echoes in attributes that a release can do without.
        """
        known = self._originals.known_of(source, original, series_uid)
        search = self._search(known.personal, claims)
        body = form.body_of(released)
        if tail is not None:
            form.check_tail(tail, body.walk)
        judged = judge(body, claims, search, self._remembered_of(search, claims, body, series_uid))
        findings = [finding for verdict in judged.verdicts for finding in verdict.findings]
        reasons = {finding.reason for finding in findings}
        if not claims.uids and any(
            not known.uids.isdisjoint(verdict.uids) for verdict in judged.verdicts
        ):
            reasons.add("uid_left")
        if not _is_as_valid(original, known, judged, claims):
            reasons.add("invalid")
        _refuse(reasons, findings, search)

    def _search(self, traces: tuple[Traces, ...], claims: Claims) -> Search:
        """The search for what these traces tell: its texts are worked out once for a patient."""
        key = (traces, claims.institution)
        search = self._searches.get(key)
        if search is None:
            search = self._searches[key] = self._new_search(union(traces), claims.institution)
            if len(self._searches) > self._remembered:
                self._searches.popitem(last=False)
        else:
            self._searches.move_to_end(key)
        return search

    def _new_search(self, traces: Traces, institution: bool) -> Search:
        """The same texts may stand in other bytes: a sequence that differs in a UID."""
        sought = (*traces.told, institution)
        for search in self._searches.values():
            if search.sought == sought:
                return search
        return Search(traces, institution=institution)

    def _remembered_of(
        self, search: Search, claims: Claims, body: Body, series_uid: str
    ) -> Memories:
        key = (search, claims, body.transfer_syntax)
        memory = self._memories.get(key)
        if memory is None:
            room = ROOM_FOR_RELEASED if self._remembered else 0
            memory = self._memories[key] = Memory(room)
            if len(self._memories) > self._remembered:
                self._memories.popitem(last=False)
        else:
            self._memories.move_to_end(key)
        return Memories(memory, self._stretches.of((*key, series_uid)))


def _is_as_valid(original: Content, known: Known, judged: Judged, claims: Claims) -> bool:
    """Whether the release is in no worse form than the original, and says what it is."""
    missing = known.mandatory.keys() - judged.present - claims.absent
    return (
        form.IDENTITY_REMOVED in judged.present
        and not any(form.counts(tag, known.mandatory[tag]) for tag in missing)
        and all(original.find(odd) >= 0 for verdict in judged.verdicts for odd in verdict.odd)
    )


def _refuse(reasons: set[str], findings: Collection[Finding], search: Search) -> None:
    """Refusal for the gravest of the reasons; Echo if all that is wrong can be emptied."""
    for reason in GRAVEST_FIRST:
        if reason not in reasons:
            continue
        if reasons == {"echo"} and all(map(_is_dispensable, findings)):
            paths = frozenset(finding.path for finding in findings)
            raise Echo(paths, search.without_names)
        raise Refusal(reason)


def _is_dispensable(finding: Finding) -> bool:
    """Whether the value may as well be empty."""
    tag = finding.path[-1]
    if tag >> 16 & 1:
        return not is_creator(tag)
    return finding.vr in DISPENSABLE and tag not in IDS | LONG_IDS | WHOLE | form.MANDATORY
