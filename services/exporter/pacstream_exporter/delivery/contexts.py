"""Presentation contexts made of what the files are (PS3.8 section 9.3.2.2).

Each pair of SOP class and transfer syntax has a context of its own: so all can be sent as they are.
A class with uncompressed instances is proposed in the default transfer syntax, too (PS3.5 section
10.1). An association has room for 128, of which one is for C-ECHO: so a node that takes nothing of
the rest says of each context why.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pynetdicom import build_context
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from pacstream_exporter.delivery.inventory import Identity, Item

VERIFICATION = "1.2.840.10008.1.1"
ROOM = 127
AT_ONCE = 250
"""Instances for one association: more would leave the others with nothing to do at the end."""

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
PLAIN = frozenset({IMPLICIT, EXPLICIT, DEFLATED})
"""Little endian, not compressed: one says the same as the other."""
BIG_ENDIAN = "1.2.840.10008.1.2.2"

Pair = tuple[str, str]
"""SOP class and transfer syntax."""


@dataclass(frozen=True)
class Load:
    """What goes over one association."""

    pairs: tuple[Pair, ...]
    items: tuple[Item, ...]

    def contexts(self) -> list[PresentationContext]:
        proposed = [build_context(sop_class, syntax) for sop_class, syntax in self.pairs]
        return [*proposed, build_context(VERIFICATION)]


def loads(items: Iterable[Item], *, decompress: bool, at_once: int) -> Iterator[Load]:
    """All items, series by series, in loads of at most 128 presentation contexts each."""
    pairs: dict[Pair, None] = {}
    load: list[Item] = []
    for item in sorted(items, key=_series):
        wanted = _pairs(item.instance, decompress=decompress)
        if load and (len({*pairs, *wanted}) > ROOM or len(load) >= at_once):
            yield Load(tuple(pairs), tuple(load))
            pairs, load = {}, []
        pairs |= dict.fromkeys(wanted)
        load.append(item)
    if load:
        yield Load(tuple(pairs), tuple(load))


def _series(item: Item) -> tuple[str, str, str]:
    one = item.instance
    return one.study, one.series, item.name


def _pairs(one: Identity, *, decompress: bool) -> list[Pair]:
    """The instance's own first, then what it may be re-encoded to."""
    return [(one.sop_class, syntax) for syntax in syntaxes(one.transfer_syntax, decompress)]


def syntaxes(own: str, decompress: bool) -> Sequence[str]:
    """In which an instance may be sent, the best first."""
    if own in PLAIN:
        return tuple(dict.fromkeys((own, EXPLICIT, IMPLICIT)))
    if decompress and own != BIG_ENDIAN:
        return (own, EXPLICIT, IMPLICIT)
    return (own,)


def accepted_pairs(association: Association) -> frozenset[Pair]:
    return frozenset(
        (str(one.abstract_syntax), str(one.transfer_syntax[0]))
        for one in association.accepted_contexts
        if one.as_scu
    )
