"""`python -m tests.answer_key --engine ours --options default`: privacy and utility by category."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.answer_key.engines import ENGINES
from tests.answer_key.generate import generate
from tests.answer_key.key import PROFILES
from tests.answer_key.scorer import Score, score

CONSOLE = Console(highlight=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=ENGINES, default="ours")
    parser.add_argument("--options", choices=PROFILES, default="default")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--failures", type=int, default=0, help="list so many of each category")
    wishes = parser.parse_args()
    options = PROFILES[wishes.options]
    with tempfile.TemporaryDirectory(prefix="pacstream-answer-key-") as folder:
        originals, released = Path(folder) / "originals", Path(folder) / "released"
        released.mkdir()
        key = generate(originals, wishes.seed)
        ENGINES[wishes.engine](originals, released, options)
        result = score(key, originals, released, options)
    print_score(f"{wishes.engine}, {wishes.options}, seed {wishes.seed}", result, wishes.failures)
    return 0


def print_score(title: str, result: Score, failures: int) -> None:
    table = Table(title=title, title_justify="left")
    for column in ("category", "privacy", "%", "utility", "%"):
        table.add_column(column, justify="left" if column == "category" else "right")
    for category in (*result.categories, ""):
        cells = []
        for privacy in (True, False):
            passed, total = result.of(privacy=privacy, category=category)
            percent = result.percent(privacy=privacy, category=category)
            cells += [f"{passed}/{total}", f"{percent:.1f}"] if total else ["", ""]
        table.add_row(category or "all", *cells)
    CONSOLE.print(table)
    shown: dict[tuple[str, bool], int] = {}
    for one in result.failures:
        kind = (one.category, one.is_privacy)
        shown[kind] = shown.get(kind, 0) + 1
        if shown[kind] <= failures:
            side = "privacy" if one.is_privacy else "utility"
            CONSOLE.print(f"{one.category}, {side}: {one.action.value}: {one.where}: {one.said}")


if __name__ == "__main__":
    sys.exit(main())
