"""The overlay `single-node` on a real cluster: batches that pods are taken away from.

Each ends complete, with the results that the same batch has on one machine.
"""

from __future__ import annotations

import json
import sys

import pytest

from tests.k8s.cluster import PACS, Cluster, until
from tests.k8s.conftest import FLAGS, Results, results_in
from tests.k8s.rig import PREVIOUS, ROOT, TAG, Rig, previous_commit

pytestmark = pytest.mark.k8s

SLOWEST, SLOW, FAST = "4", "8", "none"
"""Instances per second, so that there is a middle of a batch; and as fast as it goes."""


def throttled(cluster: Cluster, rate: str) -> None:
    cluster.cli("throttle", "set", "--pacs", PACS, "--instances-per-second", rate)


def has_ended_well(cluster: Cluster, name: str, batch_id: str, here: Results) -> Results:
    """Delivered, and each instance of it as on this machine; what has been fetched."""
    until(lambda: cluster.job_state(name), f"the end of job {name}", 400)
    report = cluster.report(batch_id)
    assert report["delivered"] is True, json.dumps(report["series"], indent=1)[:4000]
    assert cluster.job_state(name) == "Complete"
    there = results_in(cluster.fetch(name))
    assert there.released.keys() == here.released.keys()
    assert there.originals == here.originals
    return there


def is_the_same(cluster: Cluster, name: str, batch_id: str, here: Results) -> None:
    """The same, byte for byte."""
    there = has_ended_well(cluster, name, batch_id, here)
    assert there.released == here.released
    assert there.volumes == here.volumes


@pytest.mark.timeout(1500)
def test_a_pod_of_each_service_may_go_in_the_middle_of_a_batch(
    cluster: Cluster, here: Results, queries: str, capsys: pytest.CaptureFixture[str]
) -> None:
    throttled(cluster, SLOW)
    batch = cluster.submit("a", queries, *FLAGS)
    until(lambda: cluster.received(batch) > 0, "the first instance")
    drains = {name: cluster.drain_s(name) for name in cluster.deployments()}
    assert 0 < cluster.received(batch) < len(here.originals), "the batch had no middle left"
    is_the_same(cluster, "a", batch, here)
    with capsys.disabled():
        told = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in sorted(drains.items()))
        sys.stdout.write(f"\ndrained in: {told}\n")


@pytest.mark.timeout(900)
def test_a_roll_out_and_a_scale_down_in_the_middle_of_a_batch_lose_nothing(
    cluster: Cluster, here: Results, queries: str
) -> None:
    throttled(cluster, SLOW)
    cluster.kubectl("scale", "deploy/anonymizer", "--replicas", "3")
    cluster.wait_ready()
    batch = cluster.submit("b", queries, *FLAGS, "--refresh")
    until(lambda: cluster.received(batch) > 0, "the first instance")
    cluster.kubectl("scale", "deploy/anonymizer", "--replicas", "1")
    cluster.kubectl("rollout", "restart", "deploy")
    assert cluster.received(batch) < len(here.originals), "the batch had no middle left"
    cluster.wait_ready()
    is_the_same(cluster, "b", batch, here)


@pytest.mark.timeout(1800)
def test_two_versions_share_a_batch_while_one_replaces_the_other(
    rig: Rig, cluster: Cluster, here: Results, queries: str
) -> None:
    """First those that take in what the others, still old, send; then the other way round. What the
    previous version de-identified is as that one did it."""
    commit = previous_commit()
    if not commit:
        pytest.skip("no history: there is no previous version to build")
    rig.build_previous(commit)
    services = cluster.deployments()
    cluster.set_version(services, PREVIOUS)
    cluster.wait_ready()
    assert cluster.versions() == {PREVIOUS}
    throttled(cluster, SLOWEST)
    batch = cluster.submit("d", queries, *FLAGS, "--refresh")
    until(lambda: cluster.received(batch) > 0, "the first instance")
    takers = ("anonymizer", "exporter", "ledger")
    cluster.set_version(takers, TAG)
    cluster.wait_ready()
    assert cluster.versions() == {PREVIOUS, TAG}
    began = cluster.received(batch)
    until(lambda: cluster.received(batch) > began, "an instance that both have handled")
    cluster.set_version([name for name in services if name not in takers], TAG)
    assert cluster.received(batch) < len(here.originals), "the batch had no middle left"
    cluster.wait_ready()
    assert cluster.versions() == {TAG}
    has_ended_well(cluster, "d", batch, here)


@pytest.mark.timeout(900)
def test_the_anonymizer_follows_its_queue_from_none_to_some_to_none(
    cluster: Cluster, here: Results, queries: str
) -> None:
    cluster.apply(ROOT / "tests/k8s/single-node-keda")
    until(lambda: cluster.replicas("anonymizer") == 0, "no anonymizer where there is no work", 240)
    until(lambda: cluster.replicas("converter") == 0, "no converter where there is no work", 240)
    throttled(cluster, FAST)
    batch = cluster.submit("c", queries, *FLAGS, "--refresh")
    most = 0

    def watched() -> bool:
        nonlocal most
        most = max(most, cluster.replicas("anonymizer"))
        return bool(cluster.job_state("c"))

    until(watched, "the end of job c", 400)
    assert most > 1
    is_the_same(cluster, "c", batch, here)
    until(lambda: cluster.replicas("anonymizer") == 0, "no anonymizer afterwards", 240)
