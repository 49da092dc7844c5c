"""The matching rules of the fake PACS that pacstream ships."""

from pacstream_cli.fake_pacs.find_rules import (
    LEVEL_OF,
    LEVELS,
    UNIQUE_KEY,
    answer,
    entities,
    level_of,
    matcher,
    matches,
    reaches,
    texts,
    with_counts,
)

__all__ = [
    "LEVELS",
    "LEVEL_OF",
    "UNIQUE_KEY",
    "answer",
    "entities",
    "level_of",
    "matcher",
    "matches",
    "reaches",
    "texts",
    "with_counts",
]
