"""What a batch has delivered, sent on."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from demo.pacs import free_port
from pacstream.errors import RejectedError, RetryLaterError
from pacstream.messages import Actions
from pacstream_exporter.export_action import export_batch
from tests.fakes.store_node import StoreNode
from tests.unit.exporter.test_folder_actions import RELEASE, task


@pytest.mark.parametrize("actions", [RELEASE, Actions(save=True)])
def test_what_the_batch_has_delivered_arrives_and_nothing_else(
    actions: Actions, tmp_path: Path
) -> None:
    with StoreNode().running() as node:
        given = {"to": node.address}
        outcome = export_batch(task(tmp_path, actions, given))
        again = export_batch(task(tmp_path, actions, given))
    assert outcome.counts == {"files": 4, "delivered": 4} == again.counts
    assert (outcome.reason, outcome.going_on) == ("", False)
    assert len(node.held) == len(node.stores) == 4
    assert {str(one.PatientID) for one in node.held.values()} == {"P1"}


def test_a_part_goes_on_where_it_was(tmp_path: Path) -> None:
    with StoreNode().running() as node:
        given = {"to": node.address}
        part = export_batch(task(tmp_path, RELEASE, given, may_go_on=lambda: False))
        assert part.going_on and part.counts["waiting"] == 4
        assert export_batch(task(tmp_path, RELEASE, given)).counts["delivered"] == 4


def test_what_is_not_delivered_is_a_failure_of_the_action(tmp_path: Path) -> None:
    with StoreNode(classes=("1.2.840.10008.5.1.4.1.1.1",)).running() as node:
        outcome = export_batch(task(tmp_path, RELEASE, {"to": node.address}))
    assert outcome.reason == "not_all_delivered" and outcome.counts["failed"] == 4


def test_a_node_that_is_away_is_tried_again_later(tmp_path: Path) -> None:
    address = f"dicom://A@127.0.0.1:{free_port()}"
    with pytest.raises(RetryLaterError):
        export_batch(task(tmp_path, RELEASE, {"to": address}))


def test_a_store_of_files_gets_the_layout_of_the_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACSTREAM_SECRET_USER", "key")
    monkeypatch.setenv("PACSTREAM_SECRET_PASSWORD", "s3cret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        given = task(tmp_path, RELEASE, {"to": "s3://study-7/one"})
        with pytest.raises(RejectedError) as refusal:
            export_batch(given)
        assert refusal.value.code == "destination_refused"
        client = boto3.client("s3", aws_access_key_id="key", aws_secret_access_key="s3cret")
        client.create_bucket(Bucket="study-7")
        assert export_batch(given).counts == {"files": 4, "delivered": 4}
        keys = [one["Key"] for one in client.list_objects_v2(Bucket="study-7")["Contents"]]
    release = tmp_path / "out" / "release"
    assert all((release / key.removeprefix("one/")).is_file() for key in keys)
