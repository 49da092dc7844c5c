"""Random streams: `make fuzz` runs as many of them as one likes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.streams import BASES, MOST_CHANGES, Change, Plan, random_plan, stream
from tests.unit.store_scp.fuzzing import failures, outcome, sent_instances
from tests.unit.store_scp.scp import wait_for
from tests.unit.store_scp.watched import WatchedScp

EXAMPLES = 500
INPUTS = 4000

numbers = st.integers(0, 0xFFFF)
changes = st.builds(Change, st.integers(0, 255), numbers, numbers, st.integers(0, 0xFFFFFFFF))
plans = st.builds(
    Plan,
    st.integers(0, 255),
    st.lists(changes, max_size=MOST_CHANGES).map(tuple),
    st.sampled_from([0, 1, 7, 100]),
    st.booleans(),
)


def test_streams_that_are_changed_anywhere_do_no_harm(scp: WatchedScp) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)
    @given(plans)
    def does_no_harm(plan: Plan) -> None:
        assert outcome(scp, plan) == ""

    does_no_harm()


def test_many_random_streams_at_once_do_no_harm(scp: WatchedScp) -> None:
    assert failures(scp, "ci", range(INPUTS)) == []


def test_an_unchanged_stream_of_each_kind_is_stored(scp: WatchedScp) -> None:
    """Else the changed ones would test nothing but a refusal."""
    uids = {instance.sop_instance for instance in sent_instances()}
    for base in range(len(BASES)):
        before = sum(uid in uids for uid in scp.announced.uids)
        assert outcome(scp, Plan(base, (), 0, False)) == ""
        wait_for(lambda before=before: sum(u in uids for u in scp.announced.uids) > before)  # type: ignore[misc]


def test_random_plans_are_the_same_for_the_same_seed_and_use_every_change() -> None:
    plans = [random_plan(f"seed/{number}") for number in range(200)]

    assert plans == [random_plan(f"seed/{number}") for number in range(200)]
    assert len({stream(plan, sent_instances()) for plan in plans}) > 150
    assert {change.kind % 10 for plan in plans for change in plan.changes} == set(range(10))
