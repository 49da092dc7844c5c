"""Interleaved runs of contenders, their medians, tables of ratios, and goals."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.console import Console
from rich.table import Table

CONSOLE = Console(highlight=False, width=118)

Measure = Literal["seconds", "cpu"]


@dataclass(frozen=True)
class Taken:
    """What one run took: seconds on the clock, and CPU seconds (user and system)."""

    seconds: float
    cpu: float


@dataclass
class Contender:
    """`run` does the work once and returns its seconds. `once`: in the first round only, for what
    takes minutes."""

    name: str
    run: Callable[[], float | Taken]
    once: bool = False
    note: str = ""
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def title(self) -> str:
        return f"{self.name}{f' ({self.note})' if self.note else ''}"

    def run_once(self) -> str:
        """Run and record; the result as text."""
        taken = self.run()
        if isinstance(taken, Taken):
            self.seconds.append(taken.seconds)
            self.cpu.append(taken.cpu)
            return f"{taken.seconds:.2f} s, CPU {taken.cpu:.2f} s"
        self.seconds.append(taken)
        return f"{taken:.2f} s"

    def median_of(self, measure: Measure) -> float:
        return statistics.median(self.seconds if measure == "seconds" else self.cpu)


@dataclass(frozen=True)
class Goal:
    """`ours` has to be `factor` times as fast as `theirs` at least, or to use so much less CPU."""

    ours: str
    theirs: str
    factor: float
    measure: Measure = "seconds"

    def ratio(self, contenders: Sequence[Contender]) -> float | None:
        """None if one of the two did not run."""
        ran = {one.name: one for one in contenders if one.seconds}
        if self.ours not in ran or self.theirs not in ran:
            return None
        theirs, ours = (ran[name].median_of(self.measure) for name in (self.theirs, self.ours))
        return theirs / ours


def run_interleaved(contenders: Sequence[Contender], rounds: int) -> None:
    """A B C, A B C, ...: what else the machine does meets all of them alike."""
    for number in range(rounds):
        for contender in contenders:
            if number and contender.once:
                continue
            said = contender.run_once()
            CONSOLE.print(f"  round {number + 1}: {contender.name}: {said}", style="dim")


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
        table.add_row(
            one.title,
            *_seconds_of(one),
            f"{units / one.median:.0f}",
            "" if one.name == ours else f"{one.median / reference:.1f}x as fast",
        )
    CONSOLE.print(table)


def print_ratios(title: str, contenders: Sequence[Contender], anchor: str, units: int) -> None:
    """Rates on the clock and per CPU second, and both as multiples of the anchor's."""
    reference = next((one for one in contenders if one.name == anchor), contenders[0])
    table = Table(title=f"{title}; x: times {reference.name}", title_justify="left")
    table.add_column("")
    for column in ("median s", "spread s", "runs", "per s", "x", "CPU ms each", "per CPU s", "x"):
        table.add_column(column, justify="right")
    for one in contenders:
        cpu = one.median_of("cpu")
        table.add_row(
            one.title,
            *_seconds_of(one),
            f"{units / one.median:.0f}",
            f"{reference.median / one.median:.2f}",
            f"{1000 * cpu / units:.2f}",
            f"{units / cpu:.0f}",
            f"{reference.median_of('cpu') / cpu:.2f}",
        )
    CONSOLE.print(table)


def _seconds_of(one: Contender) -> tuple[str, str, str]:
    low, high = min(one.seconds), max(one.seconds)
    return f"{one.median:.2f}", f"{low:.2f}-{high:.2f}", str(len(one.seconds))


def print_goals(jobs: Sequence[Sequence[Contender]], goals: Sequence[Goal]) -> bool:
    """One line a goal, over all jobs (geometric mean of the ratios); whether all are met.

    A goal of contenders that were left out is not judged, and the line says so.
    """
    missed = [goal for goal in goals if not _print_goal(jobs, goal)]
    return not missed


def _print_goal(jobs: Sequence[Sequence[Contender]], goal: Goal) -> bool:
    ratios = [ratio for job in jobs if (ratio := goal.ratio(job)) is not None]
    if not ratios:
        CONSOLE.print(f"goal not judged: {goal.ours} against {goal.theirs}: not both ran")
        return True
    mean = statistics.geometric_mean(ratios)
    what = "as fast as" if goal.measure == "seconds" else "the units per CPU second of"
    spread = f" ({min(ratios):.2f}-{max(ratios):.2f} over {len(ratios)} jobs)" * (len(ratios) > 1)
    CONSOLE.print(
        f"goal {'met' if mean >= goal.factor else 'MISSED'}: {goal.ours} is {mean:.2f}x "
        f"{what} {goal.theirs}{spread}, wanted {goal.factor:g}x"
    )
    return mean >= goal.factor


def print_conditions(when: str) -> None:
    """How busy the machine is: numbers of a busy machine are worth little."""
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    CONSOLE.print(
        f"{when}: {os.cpu_count()} cores, load {load}, Python {platform.python_version()}"
    )
