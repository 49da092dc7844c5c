"""Files to an object store (moto's S3)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from pacstream.errors import InputError
from pacstream_exporter.delivery.carriers import Terms, carrier_of
from pacstream_exporter.delivery.destination import parse_destination
from pacstream_exporter.delivery.job import Wish, deliver
from pacstream_exporter.delivery.node import Verify
from pacstream_exporter.delivery.outcome import REASONS, Result
from tests.fakes.datasets import make_series
from tests.unit.exporter.delivery.conftest import put


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="study-7")
        yield client


def to_store(folder: Path, terms: Terms | None = None, **wanted: Any) -> Result:
    destination = parse_destination("s3://study-7/release/one")
    carrier = carrier_of(destination, terms or Terms())
    wish = Wish((folder,), destination.name, carrier, folder.parent / "data", pause_s=0.01)
    result = deliver(replace(wish, **wanted))
    assert {*result.reasons, *result.warnings} <= REASONS
    return result


def content(store: Any, name: str) -> bytes:
    found: bytes = store.get_object(Bucket="study-7", Key=f"release/one/{name}")["Body"].read()
    return found


def test_all_files_arrive_with_their_checksum(folder: Path, store: Any) -> None:
    put(folder / "sub-1" / "ses-1", make_series(instances=3))
    (folder / "sub-1" / "t1.nii.gz").write_bytes(b"nifti")
    result = to_store(folder)
    assert result.is_whole and result.files == 4 and result.evidence == {"checksum": 4}
    for path in folder.rglob("*"):
        if path.is_file():
            assert content(store, path.relative_to(folder).as_posix()) == path.read_bytes()
    assert to_store(folder).was_there == 4


def test_a_lost_journal_costs_no_second_upload(folder: Path, store: Any) -> None:
    (folder / "a.json").write_bytes(b"{}")
    to_store(folder)
    first = store.head_object(Bucket="study-7", Key="release/one/a.json")["LastModified"]
    result = to_store(folder, from_the_start=True)
    assert result.is_whole and result.was_there == 1 and result.sent_bytes == 0
    assert store.head_object(Bucket="study-7", Key="release/one/a.json")["LastModified"] == first


def test_other_content_is_replaced_only_if_wanted(folder: Path, store: Any) -> None:
    (folder / "a.json").write_bytes(b"{}")
    (folder / "b.json").write_bytes(b"[]")
    store.put_object(Bucket="study-7", Key="release/one/a.json", Body=b"of somebody else")
    result = to_store(folder)
    assert result.states == {"delivered": 1, "failed": 1}
    assert result.reasons == {"other_content_there": 1}
    assert content(store, "a.json") == b"of somebody else"
    assert to_store(folder, Terms(replace=True)).is_whole
    assert content(store, "a.json") == b"{}"


def test_a_store_without_checksums_is_believed_by_size_and_mark(folder: Path, store: Any) -> None:
    (folder / "a.json").write_bytes(b"{}")
    digest = hashlib.sha256(b"{}").hexdigest()
    store.put_object(
        Bucket="study-7", Key="release/one/a.json", Body=b"{}", Metadata={"sha256": digest}
    )
    result = to_store(folder)
    assert result.is_whole and set(result.evidence) <= {"size", "checksum"}
    assert result.was_there == 1


def test_the_stores_own_checksum_counts_more_than_the_mark(folder: Path, store: Any) -> None:
    (folder / "a.json").write_bytes(b"{}")
    other = base64.b64encode(hashlib.sha256(b"[]").digest()).decode()
    digest = hashlib.sha256(b"{}").hexdigest()
    store.put_object(
        Bucket="study-7", Key="release/one/a.json", Body=b"[]", Metadata={"sha256": digest},
        ChecksumAlgorithm="SHA256", ChecksumSHA256=other,
    )  # fmt: skip
    assert to_store(folder).reasons == {"other_content_there": 1}


def test_a_bucket_that_is_not_there_is_told(folder: Path, store: Any) -> None:
    (folder / "a.json").write_bytes(b"{}")
    store.delete_bucket(Bucket="study-7")
    with pytest.raises(InputError, match="no such bucket"):
        to_store(folder)


def test_terms_of_dicom_are_refused() -> None:
    with pytest.raises(InputError, match="SHA-256"):
        carrier_of(parse_destination("s3://study-7"), Terms(verify=Verify.LIST))
