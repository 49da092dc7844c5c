"""Which field map is meant for which images: B0FieldIdentifier, B0FieldSource and IntendedFor."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pacstream_converter.bids.book import Entry, State
from pacstream_converter.bids.planning import Item, run_of
from pacstream_converter.bids.rules import Json

CORRECTED = frozenset(
    {("func", "bold"), ("func", "sbref"), ("dwi", "dwi"), ("dwi", "sbref"), ("perf", "asl")}
)
"""Echo-planar images, which a field map can correct."""

ASL = ("perf", "asl")
OPPOSED = frozenset({"epi", "m0scan"})
RATES = frozenset({"magnitude", "fieldmap"})

Additions = dict[str, dict[str, Json]]
"""What goes into sidecars, by the source of a product."""


@dataclass(frozen=True)
class FieldMap:
    """Files that together are one map."""

    name: str
    items: tuple[Item, ...]

    @property
    def begins(self) -> tuple[object, ...]:
        return min(item.header.order for item in self.items)

    @property
    def shims(self) -> set[str]:
        return {shim for item in self.items if (shim := _shim(item))}


def link_fieldmaps(items: Sequence[Item], entries: Mapping[str, Entry]) -> Additions:
    """An image belongs to a map with its own shim, where shims are told; of those to the last one
    before it, or to the first one. Maps do not cross sessions."""
    additions: Additions = defaultdict(dict)
    sessions: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        if entries[item.source].state == State.BIDS:
            sessions[item.folder].append(item)
    for session in sessions.values():
        _link_session(session, entries, additions)
    return dict(additions)


def _link_session(
    items: Sequence[Item], entries: Mapping[str, Entry], additions: Additions
) -> None:
    maps = _maps(items, entries)
    targets: dict[str, list[str]] = defaultdict(list)
    for item in items:
        if _place(item) in CORRECTED and maps:
            chosen = _chosen(item, maps)
            additions[item.source]["B0FieldSource"] = chosen.name
            targets[chosen.name].append(f"bids::{entries[item.source].target}.nii.gz")
    for one in maps:
        for item in one.items:
            additions[item.source]["B0FieldIdentifier"] = one.name
            if targets[one.name]:
                additions[item.source]["IntendedFor"] = [*sorted(targets[one.name])]
        _add_echo_times(one, additions)
    images = [f"bids::{entries[one.source].target}.nii.gz" for one in items if _place(one) == ASL]
    for item in items:
        if _place(item) == ("perf", "m0scan") and images:
            additions[item.source]["IntendedFor"] = [*sorted(images)]


def _place(item: Item) -> tuple[str, str]:
    return (item.kind.rule.folder, item.kind.rule.suffix) if item.kind else ("", "")


def _maps(items: Sequence[Item], entries: Mapping[str, Entry]) -> list[FieldMap]:
    """In the order of the first of their series."""
    found: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        folder, suffix = _place(item)
        if folder == "fmap":
            entities = dict(item.kind.entities) if item.kind else {}
            kind = "pepolar" if suffix in OPPOSED else "direct" if suffix in RATES else "phase"
            acquisition = entities.get("acq", "")
            found[f"{kind}{acquisition}{run_of(entries[item.source].target)}"].append(item)
    maps = [FieldMap(f"B0map{name}", tuple(members)) for name, members in found.items()]
    return sorted(maps, key=lambda one: (one.begins, one.name))


def _chosen(item: Item, maps: Sequence[FieldMap]) -> FieldMap:
    shim = _shim(item)
    alike = [one for one in maps if shim and shim in one.shims] or maps
    before = [one for one in alike if one.begins < item.header.order]
    return before[-1] if before else alike[0]


def _shim(item: Item) -> str:
    shim = item.product.sidecar.get("ShimSetting")
    return str(shim) if shim else ""


def _add_echo_times(one: FieldMap, additions: Additions) -> None:
    """A phase difference needs the two echo times; its magnitude images have them, in seconds."""
    times = {
        _place(item)[1]: item.product.sidecar.get("EchoTime")
        for item in one.items
        if _place(item)[1] in ("magnitude1", "magnitude2")
    }
    for item in one.items:
        if _place(item)[1] == "phasediff":
            for number in ("1", "2"):
                time = times.get(f"magnitude{number}")
                if time is not None and f"EchoTime{number}" not in item.product.sidecar:
                    additions[item.source][f"EchoTime{number}"] = time
