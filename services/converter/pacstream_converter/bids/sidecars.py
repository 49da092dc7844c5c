"""The sidecar of an image in the data set: what dcm2niix told, and what BIDS wants besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pacstream_converter.bids.consistency import untrue_keys
from pacstream_converter.bids.planning import Item
from pacstream_converter.bids.rules import Json

GUESSES = frozenset({"BidsGuess"})
"""dcm2niix's own idea of a name."""


def sidecar_of(item: Item, additions: Mapping[str, Json]) -> dict[str, Json]:
    """What a rule says goes before what was found; what can't be so is left out."""
    product, kind = item.product, item.kind
    sidecar = {key: value for key, value in product.sidecar.items() if key not in GUESSES}
    if kind is None:
        return sidecar
    entities = dict(kind.entities)
    if "task" in entities and kind.rule.folder == "func":
        sidecar["TaskName"] = entities["task"]
    if entities.get("part") == "phase" or kind.rule.suffix == "phase":
        # dcm2niix leaves the device's own scale.
        sidecar.setdefault("Units", "arbitrary")
    if kind.rule.suffix == "fieldmap" and "fieldmaphz" in product.suffix:
        sidecar["Units"] = "Hz"
    context = asl_context(kind.rule.volumes, product.values)
    if context:
        sidecar.setdefault("TotalAcquiredPairs", context.count("label"))
    told = {**sidecar, **additions, **kind.rule.sidecar}
    if not kind.rule.is_bids:
        return told
    untrue = untrue_keys(kind.rule.suffix, entities, told, product.grid)
    return {key: value for key, value in told.items() if key not in untrue}


def asl_context(pattern: Sequence[str], values: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The kind of each volume of an ASL series: `pattern` repeated, without the m0scans that lead
    it. Empty if that does not give as many as there are."""
    volumes = int(values["Volumes"][0])
    if len(pattern) == volumes:
        return [*pattern]
    leading = next((i for i, one in enumerate(pattern) if one != "m0scan"), len(pattern))
    head, cycle = pattern[:leading], pattern[leading:]
    rest = volumes - leading
    if not cycle or rest <= 0 or rest % len(cycle):
        return []
    return [*head, *(list(cycle) * (rest // len(cycle)))]
