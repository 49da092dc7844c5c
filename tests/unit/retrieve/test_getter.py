"""C-GET: the same checks and the same commit as through the store SCP, on our own association."""

from __future__ import annotations

import errno
import os

import pytest
from pynetdicom.dsutils import encode

from pacstream.archive import Archive
from pacstream.associations import Proposal
from pacstream.errors import BrokerUnavailableError, RetryLaterError
from pacstream.messages import PacsNode
from pacstream.receiving.reception import Reception
from pacstream.settings import Settings
from pacstream_retrieve.getter import proposal_for
from pacstream_retrieve.storage_classes import CONTEXTS, OF_MODALITY, WIDE, narrow
from tests.fakes.datasets import make_series
from tests.fakes.pacs import Behaviour, FakePacs
from tests.unit.retrieve.asking import Bench, counters, pacs_for, request_for, with_profile
from tests.unit.retrieve.test_no_association import answering
from tests.unit.store_scp.scp import BATCH, data_set_of, parts, quarantined

GET = "1.2.840.10008.5.1.4.1.2.2.3"
MR = "1.2.840.10008.5.1.4.1.1.4"


def get_node(pacs: FakePacs) -> PacsNode:
    return with_profile(pacs.node(), retrieve="c-get")


def test_a_series_arrives_whole_byte_identical_and_announced(
    settings: Settings, archive: Archive, bench: Bench
) -> None:
    series = make_series(instances=12)
    others = make_series(instances=2, series_number=2)
    with pacs_for(settings, series + others) as pacs:
        moved = bench.ask(request_for(get_node(pacs), series[0]))

    assert (moved.status, moved.reason, counters(moved)) == (0x0000, "", (12, 0, 0))
    assert sorted(bench.announced.uids) == sorted(d.SOPInstanceUID for d in series)
    assert {message.batch_id for message in bench.announced.messages} == {BATCH}
    for instance in series:
        kept = archive.instance_path(instance.SeriesInstanceUID, instance.SOPInstanceUID)
        assert data_set_of(kept) == encode(instance, False, True)
    assert parts(archive) == [] and quarantined(archive) == {}


def test_instances_are_durable_when_they_are_announced_and_come_in_groups(
    settings: Settings, archive: Archive, bench: Bench
) -> None:
    series = make_series(instances=10)
    seen: list[bool] = []
    bench.announced.before = lambda message: seen.append(
        {i.sop_instance_uid for i in message.instances} <= archive.instances(message.series_uid)
    )
    with pacs_for(settings, series) as pacs:
        bench.ask(request_for(get_node(pacs), series[0]), commit_instances=4, commit_ms=60000)

    assert [len(message.instances) for message in bench.announced.messages] == [4, 4, 2]
    assert seen == [True, True, True]


def test_missing_instances_are_asked_for_at_image_level(
    settings: Settings, archive: Archive, bench: Bench
) -> None:
    series = make_series(instances=5)
    missing = [d.SOPInstanceUID for d in series[1:4]]
    with pacs_for(settings, series) as pacs:
        moved = bench.ask(request_for(get_node(pacs), series[0], missing))

    [asked] = pacs.asked("C-GET", "IMAGE")
    assert list(asked.SOPInstanceUID) == missing
    assert (moved.reason, counters(moved)) == ("", (3, 0, 0))
    assert archive.instances(series[0].SeriesInstanceUID) == set(missing)


def test_an_instance_of_another_patient_is_put_aside(
    settings: Settings, archive: Archive, bench: Bench
) -> None:
    series = make_series(instances=2)
    [foreign] = make_series(instances=1, patient_id="P2")
    with pacs_for(settings, series, Behaviour(send_foreign=foreign)) as pacs:
        moved = bench.ask(request_for(get_node(pacs), series[0]))

    assert (moved.reason, counters(moved)) == ("", (2, 0, 0))
    assert quarantined(archive) == {"unrequested": 1}
    assert len(bench.announced.uids) == 2


def test_a_second_content_of_an_instance_is_put_aside(
    settings: Settings, archive: Archive, bench: Bench
) -> None:
    series = make_series(instances=3)
    with pacs_for(settings, series, Behaviour(send_twice=True)) as pacs:
        bench.ask(request_for(get_node(pacs), series[0]))

    assert quarantined(archive) == {"conflicting": 1}
    first = archive.instance_path(series[0].SeriesInstanceUID, series[0].SOPInstanceUID)
    assert data_set_of(first) == encode(series[0], False, True)


def test_compressed_instances_come_as_they_are(
    settings: Settings, archive: Archive, bench: Bench
) -> None:
    series = make_series(instances=3)
    with pacs_for(settings, series, Behaviour(compress=True)) as pacs:
        moved = bench.ask(request_for(get_node(pacs), series[0]))
        sent = pacs.datasets[0]

    kept = archive.instance_path(sent.SeriesInstanceUID, sent.SOPInstanceUID)
    assert moved.reason == ""
    assert data_set_of(kept) == encode(sent, False, True)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (Behaviour(abort_after=3), "aborted"),
        (Behaviour(stall_after=3), "stalled"),
        (Behaviour(network_loss_after=3, network_loss_s=0.1), "aborted"),
    ],
)
def test_what_came_before_the_end_is_kept_and_announced(
    behaviour: Behaviour, reason: str, settings: Settings, archive: Archive, bench: Bench
) -> None:
    series = make_series(instances=6)
    with pacs_for(settings, series, behaviour) as pacs:
        moved = bench.ask(request_for(get_node(pacs), series[0]), idle_timeout_s=0.5)

    assert (moved.status, moved.reason) == (None, reason)
    assert len(bench.announced.uids) == 3
    assert archive.instances(series[0].SeriesInstanceUID) == set(bench.announced.uids)


def test_a_get_ends_at_its_deadline_though_instances_keep_coming(
    settings: Settings, bench: Bench
) -> None:
    series = make_series(instances=60)
    with pacs_for(settings, series, Behaviour(move_delay_s=0.05)) as pacs:
        moved = bench.ask(request_for(get_node(pacs), series[0]), move_deadline_s=1.5)

    assert (moved.status, moved.reason) == (None, "deadline")
    assert moved.seconds < 2.8 and bench.announced.uids


def test_a_get_that_ends_without_anything_is_asked_again_at_once(
    settings: Settings, bench: Bench
) -> None:
    series = make_series(instances=2)
    with pacs_for(settings, series, Behaviour(abort_after=0)) as pacs:
        moved = bench.ask(request_for(get_node(pacs), series[0]))

    assert (moved.reason, counters(moved)) == ("", (2, 0, 0))
    assert len(pacs.asked("C-GET")) == 2


def test_a_pacs_that_will_not_be_our_storage_scu_has_its_reason(bench: Bench) -> None:
    [instance] = make_series(instances=1)
    with answering(offer=GET) as node:
        moved = bench.ask(request_for(with_profile(node, retrieve="c-get"), instance))

    assert (moved.status, moved.reason) == (None, "storage_role_refused")


def test_a_broker_that_is_away_is_tried_again_and_nothing_is_lost(
    settings: Settings, archive: Archive, bench: Bench
) -> None:
    series = make_series(instances=5)
    bench.announced.away = True
    with pacs_for(settings, series) as pacs:
        request = request_for(get_node(pacs), series[0])
        with pytest.raises(BrokerUnavailableError):
            bench.ask(request, commit_instances=2)
        assert len(archive.instances(series[0].SeriesInstanceUID)) == 5
        bench.announced.away = False
        moved = bench.ask(request)

    assert (moved.reason, counters(moved)) == ("", (5, 0, 0))
    assert sorted(bench.announced.uids) == sorted(d.SOPInstanceUID for d in series)
    assert parts(archive) == [] and quarantined(archive) == {}


def test_a_full_disk_of_ours_is_tried_again_later(
    settings: Settings, archive: Archive, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Reception, piece: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    series = make_series(instances=2)
    monkeypatch.setattr(Reception, "_put", refuse)
    with pacs_for(settings, series) as pacs, pytest.raises(RetryLaterError) as raised:
        bench.ask(request_for(get_node(pacs), series[0]))

    assert raised.value.code == "disk"
    assert parts(archive) == []


@pytest.mark.parametrize("proposal", [WIDE, *map(narrow, [*OF_MODALITY, "OT"])])
def test_a_proposal_fills_one_association(proposal: Proposal) -> None:
    assert len(proposal.contexts) == CONTEXTS


def test_the_wide_proposal_has_each_class_once() -> None:
    assert len(set(WIDE.stored_here)) == CONTEXTS - 1


def test_each_second_round_offers_each_transfer_syntax_in_a_context_of_its_own() -> None:
    [instance] = make_series(instances=1)
    node = PacsNode(address="x", port=1, called_aet="A", calling_aet="B")
    rounds = [
        proposal_for(request_for(node, instance, modality="MR", number=number))
        for number in range(4)
    ]

    assert rounds == [WIDE, narrow("MR"), WIDE, narrow("MR")]
    own = [
        context.transfer_syntax
        for context in narrow("MR").contexts
        if not isinstance(context, str) and context.abstract_syntax == MR
    ]
    assert len(own) > 20 and {len(syntaxes) for syntaxes in own} == {1}
    assert MR in narrow("MR").stored_here
