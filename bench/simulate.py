"""Which part saturates first when many hospitals fetch very much: a discrete simulation.

python -m bench.simulate [--hospitals 50] [--instances 1e7] [--token 5000] [--layout NAME]

A token is a group of instances that moves as one: 50 x 10^7 instances are 100,000 tokens of 5,000.
Each stage has so many servers, in each hospital or for all of them, and takes so many
server-seconds an instance. A hospital's PACS gives the next token only while fewer than `WINDOW` of
its tokens are under way: that is what the disk's watermark does. `docs/scaling.md` has the results
and says where the constants come from.
"""

from __future__ import annotations

import argparse
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import simpy
from rich.table import Table

from bench.rounds import CONSOLE

WINDOW = 8
"""Tokens of one hospital that are under way at once."""


@dataclass(frozen=True)
class Stage:
    """`seconds`: of one server, for one instance. `shared`: one for all hospitals."""

    name: str
    seconds: float
    servers: int
    shared: bool = True

    @property
    def per_second(self) -> float:
        """Instances per second, of one such stage."""
        return self.servers / self.seconds


@dataclass
class Load:
    """What one stage, or the stages of all hospitals together, had to bear."""

    busy: float = 0.0
    waited: float = 0.0
    served: int = 0


@dataclass
class Run:
    """Times in seconds. `content` is the integral of the tokens under way over time."""

    seconds: float = 0.0
    entered: int = 0
    left: int = 0
    content: float = 0.0
    time_inside: float = 0.0
    loads: dict[str, Load] = field(default_factory=dict)


MEGABYTE = 0.33
"""Of an instance: two thirds MR (0.14), one third CT (0.53), as in the benches."""

PACS_PER_SECOND = 60.0
"""Assumed: what a clinical PACS gives through two C-MOVEs in the hours that it allows."""

VOLUME_MB_S = 1000.0
"""Assumed: a shared file system (RWX) of ten gigabit."""

OBJECT_STORE_MB_S = 20_000.0
"""Assumed: object storage of a large centre, which grows with its nodes."""

PASSES = 4
"""How often an instance crosses the volume: received, read for the release, written, converted."""

LEDGER_MS, ANONYMIZER_MS, CONVERTER_MS, STORE_MS = 0.24, 2.0, 6.3, 1.1
"""Of a core for an instance: the first three by bench.scale (the converter's is the time that one
replica takes, dcm2niix included), the last by bench.receive."""

BROKER_PER_SECOND = 20_000.0
"""Assumed: confirmed messages of a three-node quorum queue cluster, all queues together."""

MESSAGES = 0.28
"""Of an instance, measured by bench.scale; each counted in every queue that gets it."""


def central(cores: int = 64) -> tuple[Stage, ...]:
    """All hospitals send to one cluster with one ledger."""
    return (
        Stage("PACS", 1 / PACS_PER_SECOND, 1, shared=False),
        Stage("store SCP", STORE_MS / 1000, 8),
        Stage("broker", MESSAGES / BROKER_PER_SECOND, 1),
        Stage("volume", PASSES * MEGABYTE / VOLUME_MB_S, 1),
        Stage("anonymizer", ANONYMIZER_MS / 1000, cores),
        Stage("converter", CONVERTER_MS / 1000, cores // 2),
        Stage("ledger", LEDGER_MS / 1000, 1),
    )


def changed(stages: Sequence[Stage], **by_name: Any) -> tuple[Stage, ...]:
    """Some stages with other values: `ledger={"servers": 8}`."""
    return tuple(
        replace(stage, **by_name.get(stage.name.replace(" ", "_"), {})) for stage in stages
    )


OBJECTS = {"seconds": PASSES * MEGABYTE / OBJECT_STORE_MB_S}

LAYOUTS: dict[str, tuple[Stage, ...]] = {
    "one centre": central(),
    "object storage": changed(central(), volume=OBJECTS),
    "object storage, faster PACS": changed(
        central(), volume=OBJECTS, PACS={"seconds": 1 / (2 * PACS_PER_SECOND)}
    ),
    "a site each": tuple(
        replace(stage, shared=False, servers=min(stage.servers, 4)) for stage in central()
    ),
}
"""The last one: each hospital with a broker, a volume, a ledger and up to four cores of its own."""


def simulate(stages: Sequence[Stage], hospitals: int, tokens: int, token: int) -> Run:
    """Let each of the hospitals bring `tokens` tokens of `token` instances through all stages."""
    world = simpy.Environment()
    run = Run(loads={stage.name: Load() for stage in stages})
    shared = {stage.name: simpy.Resource(world, stage.servers) for stage in stages if stage.shared}
    under_way = _UnderWay(world, run)
    for _ in range(hospitals):
        own = {
            stage.name: simpy.Resource(world, stage.servers) for stage in stages if not stage.shared
        }
        places = simpy.Resource(world, WINDOW)
        hospital = _Hospital(world, stages, {**shared, **own}, places, run, under_way, token)
        world.process(hospital.bring(tokens))
    world.run()
    run.seconds = world.now
    return run


@dataclass
class _UnderWay:
    """Counts what is inside, and for how long, without looking at the tokens' own times."""

    world: simpy.Environment
    run: Run
    now_inside: int = 0
    since: float = 0.0

    def change(self, by: int) -> None:
        self.run.content += self.now_inside * (self.world.now - self.since)
        self.since = self.world.now
        self.now_inside += by


@dataclass
class _Hospital:
    world: simpy.Environment
    stages: Sequence[Stage]
    servers: dict[str, simpy.Resource]
    places: simpy.Resource
    run: Run
    under_way: _UnderWay
    token: int

    def bring(self, tokens: int) -> Generator[Any, Any, None]:
        for _ in range(tokens):
            place = self.places.request()
            yield place
            self.world.process(self._pass(place))

    def _pass(self, place: Any) -> Generator[Any, Any, None]:
        came = self.world.now
        self.run.entered += 1
        self.under_way.change(+1)
        for stage in self.stages:
            yield from self._serve(stage)
        self.under_way.change(-1)
        self.run.left += 1
        self.run.time_inside += self.world.now - came
        self.places.release(place)

    def _serve(self, stage: Stage) -> Generator[Any, Any, None]:
        load, asked = self.run.loads[stage.name], self.world.now
        with self.servers[stage.name].request() as server:
            yield server
            load.waited += self.world.now - asked
            seconds = stage.seconds * self.token
            yield self.world.timeout(seconds)
            load.busy += seconds
            load.served += 1


def utilisation(run: Run, stage: Stage, hospitals: int) -> float:
    """Share of the time that the stage's servers worked, 0 to 1."""
    servers = stage.servers * (1 if stage.shared else hospitals)
    return run.loads[stage.name].busy / (servers * run.seconds)


def print_run(name: str, stages: Sequence[Stage], run: Run, hospitals: int, token: int) -> None:
    rate = run.left * token / run.seconds
    table = Table(
        title=f"{name}: {run.seconds / 86400:.0f} days, {rate:.0f} instances/s",
        title_justify="left",
    )
    for column in ("stage", "could do, instances/s", "busy", "mean wait, s a token"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for stage in stages:
        every = stage.per_second * (1 if stage.shared else hospitals)
        load = run.loads[stage.name]
        table.add_row(
            stage.name,
            f"{every:.0f}",
            f"{100 * utilisation(run, stage, hospitals):.0f} %",
            f"{load.waited / load.served:.0f}",
        )
    CONSOLE.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hospitals", type=int, default=50)
    parser.add_argument("--instances", type=float, default=1e7, help="of each hospital")
    parser.add_argument("--token", type=int, default=5000, help="instances that move as one")
    parser.add_argument("--layout", choices=list(LAYOUTS), help="only this one")
    wanted = parser.parse_args()
    for name, stages in LAYOUTS.items():
        if wanted.layout in (None, name):
            tokens = int(wanted.instances / wanted.token)
            run = simulate(stages, wanted.hospitals, tokens, wanted.token)
            print_run(name, stages, run, wanted.hospitals, wanted.token)


if __name__ == "__main__":
    main()
