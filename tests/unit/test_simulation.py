"""The simulation of many hospitals keeps the laws that any queue keeps."""

from __future__ import annotations

import pytest

from bench.simulate import LAYOUTS, WINDOW, Stage, changed, simulate, utilisation

TOKEN = 100
STAGES = (
    Stage("PACS", 0.01, 1, shared=False),
    Stage("volume", 0.004, 1),
    Stage("ledger", 0.001, 2),
)


@pytest.mark.parametrize("stages", [STAGES, *LAYOUTS.values()], ids=["small", *LAYOUTS])
def test_what_goes_in_comes_out_and_is_served_once_by_each_stage(
    stages: tuple[Stage, ...],
) -> None:
    run = simulate(stages, 3, 40, TOKEN)
    assert run.entered == run.left == 120
    assert {load.served for load in run.loads.values()} == {120}


def test_littles_law_holds(hospitals: int = 4) -> None:
    """Mean number inside = rate times mean time inside, each counted in its own way."""
    run = simulate(STAGES, hospitals, 50, TOKEN)
    inside, rate = run.content / run.seconds, run.left / run.seconds
    assert inside == pytest.approx(rate * run.time_inside / run.left, rel=1e-9)
    assert 0 < inside <= hospitals * WINDOW


def test_no_stage_is_faster_than_its_servers(hospitals: int = 4) -> None:
    run = simulate(STAGES, hospitals, 50, TOKEN)
    rate = run.left * TOKEN / run.seconds
    for stage in STAGES:
        assert rate <= stage.per_second * (1 if stage.shared else hospitals)
        assert 0 < utilisation(run, stage, hospitals) <= 1


def test_the_narrowest_stage_is_busy_and_widening_it_helps(hospitals: int = 8) -> None:
    narrow = simulate(STAGES, hospitals, 100, TOKEN)
    assert utilisation(narrow, STAGES[1], hospitals) > 0.95
    wide = simulate(changed(STAGES, volume={"servers": 4}), hospitals, 100, TOKEN)
    assert wide.seconds < narrow.seconds / 2
    other = simulate(changed(STAGES, ledger={"servers": 9}), hospitals, 100, TOKEN)
    assert other.seconds == pytest.approx(narrow.seconds, rel=0.02)


def test_one_hospital_takes_as_long_as_its_pacs() -> None:
    run = simulate(STAGES, 1, 100, TOKEN)
    assert run.seconds == pytest.approx(100 * TOKEN * STAGES[0].seconds, rel=0.02)
