"""A document as lines that people read: what it is, then its tree, two spaces for each level."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pacstream_exporter.reports.tree import Item

INDENT = "  "


def text(head: Mapping[str, object], tree: Item) -> str:
    """Ends in a line break."""
    title = tree.name.get("meaning") or tree.name.get("value") or "Untitled report"
    said = [f"{name.replace('_', ' ')}: {value}" for name, value in head.items() if value]
    lines = [title, *said, "", *(line for item in tree.items for line in _lines(item, 0))]
    return "\n".join(lines).rstrip() + "\n"


def _lines(item: Item, depth: int) -> Iterator[str]:
    name = item.name.get("meaning") or item.name.get("value") or item.value_type.lower()
    head = f"{INDENT * depth}{item.number} {name}".rstrip()
    parts = item.value.split("\n")
    if len(parts) == 1:
        yield f"{head}: {parts[0]}" if parts[0] else head
    else:
        yield f"{head}:"
        yield from (f"{INDENT * (depth + 2)}{part}".rstrip() for part in parts)
    for one in item.items:
        yield from _lines(one, depth + 1)
