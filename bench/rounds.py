"""Interleaved runs of contenders, their medians, and a table of ratios."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

CONSOLE = Console(highlight=False, width=110)


@dataclass
class Contender:
    """`run` does the work once and returns its seconds. `once`: in the first round only, for what
    takes minutes."""

    name: str
    run: Callable[[], float]
    once: bool = False
    note: str = ""
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Goal:
    """`ours` has to be at least `factor` times as fast as `theirs`."""

    ours: str
    theirs: str
    factor: float


def run_interleaved(contenders: Sequence[Contender], rounds: int) -> None:
    """A B C, A B C, ...: what else the machine does meets all of them alike."""
    for number in range(rounds):
        for contender in contenders:
            if number and contender.once:
                continue
            contender.seconds.append(contender.run())
            CONSOLE.print(
                f"  round {number + 1}: {contender.name}: {contender.seconds[-1]:.2f} s",
                style="dim",
            )


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def print_table(title: str, contenders: Sequence[Contender], ours: str, units: int) -> None:
    """Seconds, `units` per second, and how many times faster `ours` is."""
    reference = next(one for one in contenders if one.name == ours).median
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for column in ("median s", "spread s", "runs", "per s", f"{ours} is"):
        table.add_column(column, justify="right")
    for one in contenders:
        low, high = min(one.seconds), max(one.seconds)
        table.add_row(
            f"{one.name}{f' ({one.note})' if one.note else ''}",
            f"{one.median:.2f}",
            f"{low:.2f}-{high:.2f}",
            str(len(one.seconds)),
            f"{units / one.median:.0f}",
            "" if one.name == ours else f"{one.median / reference:.1f}x as fast",
        )
    CONSOLE.print(table)


def print_goals(contenders: Sequence[Contender], goals: Sequence[Goal]) -> bool:
    """One line a goal; whether all are met."""
    medians = {one.name: one.median for one in contenders}
    met = True
    for goal in goals:
        ratio = medians[goal.theirs] / medians[goal.ours]
        reached = ratio >= goal.factor
        met &= reached
        CONSOLE.print(
            f"goal {'met' if reached else 'MISSED'}: {goal.ours} is {ratio:.2f}x as fast as "
            f"{goal.theirs}, wanted {goal.factor:g}x"
        )
    return met


def print_conditions(when: str) -> None:
    """How busy the machine is: numbers of a busy machine are worth little."""
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    CONSOLE.print(
        f"{when}: {os.cpu_count()} cores, load {load}, Python {platform.python_version()}"
    )
