"""STOW-RS to a server that behaves, to one that does not, and to Orthanc."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from demo.pacs import free_port
from pacstream.errors import InputError, RetryLaterError
from pacstream_exporter.delivery.carriers import Terms, carrier_of
from pacstream_exporter.delivery.credentials import Credentials
from pacstream_exporter.delivery.destination import parse_destination
from pacstream_exporter.delivery.job import Wish, deliver
from pacstream_exporter.delivery.node import Verify
from pacstream_exporter.delivery.outcome import REASONS, Result
from tests.fakes.datasets import make_series
from tests.unit.exporter.delivery.conftest import put
from tests.unit.exporter.delivery.stow_server import StowServer, serving
from tests.unit.retrieve.test_real_pacs import WebOrthanc


def post(url: str, folder: Path, terms: Terms | None = None, **wanted: Any) -> Result:
    destination = parse_destination(url)
    carrier = carrier_of(destination, replace(terms or Terms(), connection_timeout_s=20.0))
    data = folder.parent / "data"
    wish = Wish((folder,), destination.name, carrier, data, pause_s=0.01)
    result = deliver(replace(wish, **wanted))
    assert {*result.reasons, *result.warnings} <= REASONS
    return result


def test_files_arrive_byte_for_byte(folder: Path) -> None:
    uids = put(folder, make_series(instances=5))
    with serving(StowServer()) as server:
        result = post(server.url, folder)
        assert result.is_whole and result.evidence == {"listed": 5}
        again = post(server.url, folder)
    assert again.is_whole and again.was_there == 5 and server.posts == 2  # one for each job
    for uid in uids:
        assert server.files[uid] == (folder / f"{uid}.dcm").read_bytes()


def test_failures_and_warnings_of_single_instances(folder: Path) -> None:
    uids = put(folder, make_series(instances=4))
    server = StowServer(failures={uids[0]: 0xA900, uids[1]: 0x0111}, warnings={uids[2]: 0xB000})
    with serving(server):
        result = post(server.url, folder, Terms(verify=Verify.STATUS), jobs=1)
    assert result.states == {"delivered": 3, "failed": 1}
    assert result.reasons == {"class_mismatch": 1} and result.was_there == 1
    assert result.warnings == {"store_warning": 1}


def test_a_server_that_is_busy_is_tried_again(folder: Path) -> None:
    put(folder, make_series(instances=3))
    with serving(StowServer(codes=[503, 429])) as server:
        assert post(server.url, folder, jobs=1).is_whole


@pytest.mark.parametrize(
    ("code", "reason"), [(400, "request_refused"), (413, "too_large"), (415, "not_acceptable")]
)
def test_a_refused_request_has_its_reason(code: int, reason: str, folder: Path) -> None:
    put(folder, make_series(instances=2))
    with serving(StowServer(codes=[code])) as server:
        result = post(server.url, folder, jobs=1)
    assert result.reasons == {reason: 2} and server.posts == 1


def test_what_is_not_listed_afterwards_is_not_delivered(folder: Path) -> None:
    uids = put(folder, make_series(instances=3))
    with serving(StowServer(loses=frozenset(uids[:1]), speechless=True)) as server:
        result = post(server.url, folder)
    assert result.states == {"delivered": 2, "unverified": 1}
    assert result.reasons == {"not_listed": 1}


def test_a_token_opens_the_server_and_is_told_to_nobody(folder: Path) -> None:
    put(folder, make_series(instances=1))
    with serving(StowServer(token="s3cret")) as server:
        with pytest.raises(InputError) as refusal:
            post(server.url, folder, Terms(credentials=Credentials(token="wrong")))
        assert "wrong" not in str(refusal.value)
        result = post(server.url, folder, Terms(credentials=Credentials(token="s3cret")))
    assert result.is_whole
    kept = [path for path in (folder.parent / "data").rglob("*") if path.is_file()]
    assert kept and not any(b"s3cret" in path.read_bytes() for path in kept)


def test_terms_that_can_not_be_met_are_refused() -> None:
    web = parse_destination("http://pacs.example/dicom-web")
    with pytest.raises(InputError, match="http://"):
        carrier_of(web, Terms(credentials=Credentials(token="s3cret")))
    with pytest.raises(InputError, match="commitment"):
        carrier_of(web, Terms(verify=Verify.COMMITMENT))
    with pytest.raises(InputError, match="decompress"):
        carrier_of(web, Terms(decompress=True))


def test_nobody_there(folder: Path) -> None:
    put(folder, make_series(instances=1))
    with pytest.raises(RetryLaterError):
        post(f"http://127.0.0.1:{free_port()}/dicom-web", folder)


@pytest.mark.pacs
def test_orthanc_takes_all(folder: Path, tmp_path: Path) -> None:
    uids = put(folder / "a", make_series(instances=6))
    path = Path(str(get_testdata_file("MR_small_jp2klossless.dcm")))
    shutil.copy(path, folder / "jpeg2000")
    uids.append(str(dcmread(path).SOPInstanceUID))
    with WebOrthanc(tmp_path / "pacs", {}) as pacs:
        result = post(pacs.web_url, folder)
        assert result.is_whole and result.evidence == {"listed": 7}
        again = post(pacs.web_url, folder, from_the_start=True)
        assert again.is_whole
