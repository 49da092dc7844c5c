"""C-MOVE and C-GET of the fake PACS, each misbehaviour seen from a peer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from io import BytesIO

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import RLELossless
from pynetdicom.dsutils import decode, encode

from tests.fakes.datasets import make_series
from tests.fakes.pacs import ALWAYS, STUDY_ROOT_GET, STUDY_ROOT_MOVE, Behaviour, FakePacs
from tests.unit.fakes.peer import (
    TITLE,
    Peer,
    associated,
    counters,
    identifier,
    of_series,
    retrieve,
)

WAYS = ("C-MOVE", "C-GET")
SERIES = make_series(instances=6)
OTHER = make_series(instances=2, series_number=2)
UIDS = [str(instance.SOPInstanceUID) for instance in SERIES]


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as one:
        yield one


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def pacs_with(peer: Peer, behaviour: Behaviour | None = None) -> FakePacs:
    return FakePacs(SERIES + OTHER, destinations=peer.destinations, behaviour=behaviour)


def test_a_series_is_sent_whole_and_nothing_else(peer: Peer, way: str) -> None:
    with pacs_with(peer) as pacs:
        response = retrieve(pacs, peer, way, of_series(SERIES))

    assert peer.uids == UIDS
    assert (response.Status, counters(response)) == (0x0000, (6, 0, 0))
    assert peer.contents == [encode(instance, False, True) for instance in SERIES]


def test_a_list_of_uids_selects_instances(peer: Peer, way: str) -> None:
    asked = identifier("IMAGE", SOPInstanceUID=UIDS[1:3])
    with pacs_with(peer) as pacs:
        response = retrieve(pacs, peer, way, asked)

    assert peer.uids == UIDS[1:3]
    assert counters(response) == (2, 0, 0)


def test_one_of_n_is_dropped_in_each_request_and_counted_as_completed(peer: Peer, way: str) -> None:
    with pacs_with(peer, Behaviour(drop_every=3)) as pacs:
        response = retrieve(pacs, peer, way, of_series(SERIES))
        retrieve(pacs, peer, way, identifier("IMAGE", SOPInstanceUID=[UIDS[2], UIDS[5]]))

    assert peer.uids == [*UIDS[0:2], *UIDS[3:5], UIDS[2], UIDS[5]]
    assert (response.Status, counters(response)) == (0x0000, (6, 0, 0))


@pytest.mark.parametrize("status", [0xB000, 0x0000])
def test_what_is_not_sent_can_be_told_as_failed_with_an_honest_status_or_a_lie(
    peer: Peer, way: str, status: int
) -> None:
    with pacs_with(peer, Behaviour(drop_every=3, unsent_status=status)) as pacs:
        response = retrieve(pacs, peer, way, of_series(SERIES))

    assert peer.uids == [*UIDS[0:2], *UIDS[3:5]]
    assert (response.Status, counters(response)) == (status, (4, 2, 0))


def test_what_is_withheld_never_comes(peer: Peer, way: str) -> None:
    with pacs_with(peer, Behaviour(withhold_every=3)) as pacs:
        retrieve(pacs, peer, way, of_series(SERIES))
        response = retrieve(pacs, peer, way, identifier("IMAGE", SOPInstanceUID=UIDS[2]))

    assert peer.uids == [*UIDS[0:2], *UIDS[3:5]]
    assert (response.Status, counters(response)) == (0x0000, (1, 0, 0))


def test_an_empty_success_sends_nothing(peer: Peer, way: str) -> None:
    with pacs_with(peer, Behaviour(empty_success=True)) as pacs:
        response = retrieve(pacs, peer, way, of_series(SERIES))

    assert peer.uids == []
    assert (response.Status, counters(response)) == (0x0000, (0, 0, 0))


def test_counts_are_wrong_or_missing(peer: Peer, way: str) -> None:
    with pacs_with(peer, Behaviour(count_error=3)) as pacs:
        assert counters(retrieve(pacs, peer, way, of_series(SERIES))) == (9, 0, 0)
    with pacs_with(peer, Behaviour(omit_counts=True)) as pacs:
        assert counters(retrieve(pacs, peer, way, of_series(SERIES))) == (None, None, None)


def test_failures_are_counted_out(peer: Peer, way: str) -> None:
    with pacs_with(peer, Behaviour(fail_moves=1, fail_status=0xA702)) as pacs:
        first = retrieve(pacs, peer, way, of_series(SERIES))
        second = retrieve(pacs, peer, way, of_series(SERIES))

    assert (first.Status, second.Status) == (0xA702, 0x0000)


def test_an_abort_comes_after_k_instances_as_often_as_said(peer: Peer, way: str) -> None:
    with pacs_with(peer, Behaviour(abort_after=2, abort_times=ALWAYS)) as pacs:
        for _ in range(2):
            assert "Status" not in retrieve(pacs, peer, way, of_series(SERIES))

    assert peer.uids == [*UIDS[:2], *UIDS[:2]]


def test_a_stall_ends_with_the_peers_patience(peer: Peer, way: str) -> None:
    with pacs_with(peer, Behaviour(stall_after=2)) as pacs, associated(pacs, peer) as association:
        association.dimse_timeout = 0.5
        asked = of_series(SERIES)
        if way == "C-MOVE":
            responses = list(association.send_c_move(asked, TITLE, STUDY_ROOT_MOVE))
        else:
            responses = list(association.send_c_get(asked, STUDY_ROOT_GET))

    assert "Status" not in responses[-1][0]
    assert peer.uids == UIDS[:2]


@pytest.mark.parametrize("heeds", [True, False])
def test_a_cancel_is_heeded_unless_told_not_to(peer: Peer, way: str, heeds: bool) -> None:
    behaviour = Behaviour(move_delay_s=0.05, ignore_cancel=not heeds)
    model = STUDY_ROOT_MOVE if way == "C-MOVE" else STUDY_ROOT_GET
    with pacs_with(peer, behaviour) as pacs, associated(pacs, peer) as association:
        asked = of_series(SERIES)
        responses = (
            association.send_c_move(asked, TITLE, model)
            if way == "C-MOVE"
            else association.send_c_get(asked, model)
        )
        next(responses)
        association.send_c_cancel(1, query_model=model)
        last = [status for status, _ in responses][-1]

    assert (last.Status, len(peer.uids) < 6) == ((0xFE00, True) if heeds else (0x0000, False))


def test_an_instance_of_another_patient_follows_uncounted(peer: Peer, way: str) -> None:
    [stranger] = make_series("P9", instances=1)
    with pacs_with(peer, Behaviour(send_foreign=stranger)) as pacs:
        response = retrieve(pacs, peer, way, of_series(SERIES))

    assert peer.uids == [*UIDS, stranger.SOPInstanceUID]
    assert counters(response) == (6, 0, 0)


def test_an_instance_comes_twice_with_other_pixels(peer: Peer, way: str) -> None:
    with pacs_with(peer, Behaviour(send_twice=True)) as pacs:
        response = retrieve(pacs, peer, way, of_series(SERIES))

    assert peer.uids == [UIDS[0], *UIDS]
    one, other = peer.contents[:2]
    assert one != other
    assert len(one) == len(other)
    assert counters(response) == (6, 0, 0)


def test_compressed_instances_are_rle_and_decode_to_the_same_pixels(peer: Peer, way: str) -> None:
    with pacs_with(peer, Behaviour(compress=True)) as pacs:
        retrieve(pacs, peer, way, of_series(SERIES))

    assert {syntax for _, syntax in peer.arrived} == {"1.2.840.10008.1.2.5"}
    assert peer.uids == UIDS
    for content, instance in zip(peer.contents, SERIES, strict=True):
        assert pixels_of(content) == instance.PixelData


def pixels_of(content: bytes) -> bytes:
    dataset: Dataset = decode(BytesIO(content), False, True)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = RLELossless
    return bytes(dataset.pixel_array.astype("<u2").tobytes())


def test_a_slow_pacs_takes_its_multiple(peer: Peer, way: str) -> None:
    with pacs_with(peer, Behaviour(slow=20)) as pacs:
        began = time.monotonic()
        retrieve(pacs, peer, way, of_series(SERIES))

    assert time.monotonic() - began > 6 * 19 * 0.002
    assert peer.uids == UIDS


def test_a_misbehaviour_may_be_for_one_series_only(peer: Peer, way: str) -> None:
    only = frozenset({str(OTHER[0].SeriesInstanceUID)})
    with pacs_with(peer, Behaviour(empty_success=True, only=only)) as pacs:
        retrieve(pacs, peer, way, of_series(OTHER))
        retrieve(pacs, peer, way, of_series(SERIES))

    assert peer.uids == UIDS


def test_the_network_is_lost_once_and_comes_back_at_the_same_port(peer: Peer, way: str) -> None:
    behaviour = Behaviour(network_loss_after=2, network_loss_s=0.5)
    with pacs_with(peer, behaviour) as pacs:
        port = pacs.port
        assert "Status" not in retrieve(pacs, peer, way, of_series(SERIES))
        with pytest.raises(AssertionError), associated(pacs):
            pass
        wait_until_open(pacs)
        response = retrieve(pacs, peer, way, of_series(SERIES))

    assert pacs.port == port
    assert peer.uids == [*UIDS[:2], *UIDS]
    assert counters(response) == (6, 0, 0)


def wait_until_open(pacs: FakePacs) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            with associated(pacs):
                return
        except AssertionError:
            time.sleep(0.05)
    raise AssertionError("the port never came back")


def test_associations_are_refused_in_turn(peer: Peer) -> None:
    outcomes = []
    with pacs_with(peer, Behaviour(refuse_after=2, refuse_times=1)) as pacs:
        for _ in range(6):
            try:
                with associated(pacs):
                    outcomes.append(True)
            except AssertionError:
                outcomes.append(False)

    assert outcomes == [True, True, False, True, True, False]


def test_stopping_ends_a_stall(peer: Peer, way: str) -> None:
    pacs = pacs_with(peer, Behaviour(stall_after=1))
    pacs.start()
    asking = threading.Thread(target=retrieve, args=(pacs, peer, way, of_series(SERIES)))
    asking.start()
    deadline = time.monotonic() + 5
    while not peer.uids and time.monotonic() < deadline:
        time.sleep(0.01)
    pacs.stop()
    asking.join(4)

    assert not asking.is_alive()
