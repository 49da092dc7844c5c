"""Associations are kept between moves, counted, and given up when they are broken or idle."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_MOVE

from pacstream.associations import Associations, Proposal
from pacstream.errors import PacsUnreachableError
from pacstream.messages import PacsProfile
from tests.fakes.pacs import Behaviour, FakePacs

ECHO = Proposal(["1.2.840.10008.1.1"])
FIND = Proposal(["1.2.840.10008.5.1.4.1.2.2.1"])


@pytest.fixture
def pacs() -> Iterator[FakePacs]:
    with FakePacs([]) as running:
        yield running


@pytest.fixture
def pool() -> Iterator[Associations]:
    associations = Associations(limit=2, timeout_s=5.0)
    yield associations
    associations.close_all()


def test_an_association_is_kept_for_the_next_block(pacs: FakePacs, pool: Associations) -> None:
    for _ in range(3):
        with pool.association(pacs.node(), ECHO) as association:
            assert association.send_c_echo().Status == 0x0000

    assert pacs.associations == 1


def test_an_association_that_the_pacs_ended_is_replaced(pacs: FakePacs, pool: Associations) -> None:
    with pool.association(pacs.node(), ECHO) as association:
        pass
    association.abort()

    with pool.association(pacs.node(), ECHO) as association:
        assert association.is_established
    assert pacs.associations == 2


def test_an_association_under_an_exception_is_aborted(pacs: FakePacs, pool: Associations) -> None:
    kept: list[Association] = []
    with pytest.raises(ZeroDivisionError), pool.association(pacs.node(), ECHO) as association:
        kept.append(association)
        _ = 1 / 0

    assert not kept[0].is_established
    with pool.association(pacs.node(), ECHO):
        assert pacs.associations == 2


def test_no_more_than_the_limit_are_open_at_once(pacs: FakePacs) -> None:
    pool = Associations(limit=2, timeout_s=5.0)
    entered = threading.Semaphore(0)
    leave = threading.Event()

    def hold() -> None:
        with pool.association(pacs.node(), ECHO):
            entered.release()
            leave.wait(10)

    threads = [threading.Thread(target=hold) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert entered.acquire(timeout=5) and entered.acquire(timeout=5)
    third_entered = entered.acquire(timeout=0.3)
    leave.set()
    for thread in threads:
        thread.join(10)
    pool.close_all()

    assert not third_entered
    assert entered.acquire(timeout=5)
    assert pacs.associations == 2


def test_idle_associations_are_released_on_next_use(pacs: FakePacs) -> None:
    now = [0.0]
    pool = Associations(limit=2, timeout_s=5.0, idle_s=20.0, clock=lambda: now[0])
    with pool.association(pacs.node(), ECHO) as first:
        pass
    now[0] = 21.0
    with pool.association(pacs.node(), ECHO) as second:
        assert first.is_released and second is not first
    pool.close_all()

    assert second.is_released


def test_associations_for_other_purposes_count_for_the_same_limit(pacs: FakePacs) -> None:
    pool = Associations(limit=1, timeout_s=5.0)
    with pool.association(pacs.node(), ECHO) as first:
        pass
    with pool.association(pacs.node(), FIND) as second:
        assert first.is_released
        assert [str(c.abstract_syntax) for c in second.accepted_contexts] == list(FIND.contexts)
    pool.close_all()


def test_what_a_profile_says_does_not_make_another_pacs(pacs: FakePacs, pool: Associations) -> None:
    node = pacs.node()
    profiled = node.model_copy(update={"profile": PacsProfile(cancels=False)})
    with pool.association(node, ECHO):
        pass
    with pool.association(profiled, ECHO):
        pass

    assert pacs.associations == 1


def test_a_refusal_does_not_use_up_the_limit() -> None:
    pool = Associations(limit=1, timeout_s=5.0)
    with FakePacs([], behaviour=Behaviour(busy_associations=2)) as pacs:
        for _ in range(2):
            with pytest.raises(PacsUnreachableError), pool.association(pacs.node(), ECHO):
                pass
        with pool.association(pacs.node(), ECHO) as association:
            assert association.is_established
        pool.close_all()


def test_the_reactor_never_takes_a_response_that_a_request_waits_for(
    pacs: FakePacs, pool: Associations
) -> None:
    with pool.association(pacs.node(), ECHO) as association:
        response = C_MOVE()
        association.dimse.msg_queue.put((1, response))
        time.sleep(0.1)  # it polls each millisecond

        assert association.dimse.get_msg(block=True) == (1, response)
