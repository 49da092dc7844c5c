"""An A-ASSOCIATE-RQ that came before is answered as it was, and for nobody else."""

from __future__ import annotations

import pytest

from pacstream_store_scp import negotiation
from pacstream_store_scp.negotiation import Policy, RejectedAssociation, negotiate
from pacstream_store_scp.wire import ViolationError
from tests.fakes.upper_layer import Context, associate_rq
from tests.unit.store_scp.watched import CT

MR = "1.2.840.10008.5.1.4.1.1.4"
POLICY = Policy("PACSTREAM")
REQUEST = associate_rq([Context(1, CT)])


def test_the_same_request_is_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    request = associate_rq([Context(1, CT), Context(3, MR)], calling=b"SEEN_BEFORE")
    first = negotiate(request, POLICY)

    def decoded(request: bytes) -> object:
        raise AssertionError("decoded again")

    monkeypatch.setattr(negotiation, "_decoded", decoded)
    assert negotiate(bytes(bytearray(request)), POLICY) == first
    assert first.contexts.keys() == {1, 3}


def test_another_request_or_policy_gets_its_own_answer() -> None:
    assert negotiate(REQUEST, POLICY).contexts.keys() == {1}
    assert negotiate(associate_rq([Context(5, MR)]), POLICY).contexts.keys() == {5}
    strict = Policy("PACSTREAM", calling_aets=frozenset({"OTHER"}))
    with pytest.raises(RejectedAssociation):
        negotiate(REQUEST, strict)
    assert negotiate(REQUEST, POLICY).contexts.keys() == {1}


def test_a_refusal_is_given_each_time() -> None:
    for _ in range(2):
        with pytest.raises(ViolationError):
            negotiate(b"no request", POLICY)
        with pytest.raises(RejectedAssociation):
            negotiate(associate_rq([Context(1, CT)], version=2), POLICY)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3 * negotiation.REMEMBERED):
        negotiate(associate_rq([Context(1, CT)], calling=b"PEER%d" % number), POLICY)
    known = negotiation._remembered.cache_info()
    assert known.currsize == negotiation.REMEMBERED
    monkeypatch.setattr(negotiation, "REMEMBERED_BYTES", len(REQUEST) - 1)
    assert negotiate(REQUEST, POLICY).contexts.keys() == {1}
    assert negotiation._remembered.cache_info() == known
