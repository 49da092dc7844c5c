"""C-STORE, commitment and C-FIND with Orthanc, and C-STORE with DCMTK's storescp."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from pydicom import dcmread
from pydicom.data import get_testdata_file

from demo.pacs import OrthancPacs, dcmtk_environment, free_port
from pacstream_exporter.delivery.destination import DicomNode, parse_destination
from pacstream_exporter.delivery.job import Wish, deliver
from pacstream_exporter.delivery.node import NodeCarrier, Verify
from pacstream_exporter.delivery.outcome import Result
from tests.fakes.datasets import make_series
from tests.unit.exporter.delivery.conftest import put

pytestmark = pytest.mark.pacs


def deliver_to(address: str, folder: Path, data: Path, **wanted: Any) -> Result:
    destination = parse_destination(address)
    assert isinstance(destination, DicomNode)
    verify = Verify(wanted.pop("verify", "auto"))
    carrier = NodeCarrier(
        destination,
        verify=verify,
        decompress=wanted.pop("decompress", False),
        commitment_s=10.0,
        timeout_s=20.0,
        connection_timeout_s=20.0,
    )
    wish = Wish((folder,), destination.name, carrier, data, pause_s=0.1)
    return deliver(replace(wish, **wanted))


class StoringOrthanc(OrthancPacs):
    """Takes C-STORE and commitment requests of the node it knows."""

    def instances(self) -> list[str]:
        with requests.Session() as session:
            session.trust_env = False
            found = session.get(f"{self.http_url}/instances?expand", timeout=10).json()
        return sorted(one["MainDicomTags"]["SOPInstanceUID"] for one in found)


def fill(folder: Path) -> list[str]:
    uids = put(folder / "a", make_series(instances=6))
    uids += put(folder / "b", make_series(instances=3, series_number=2))
    path = Path(str(get_testdata_file("MR_small_jp2klossless.dcm")))
    shutil.copy(path, folder / "jpeg2000")
    return sorted([*uids, str(dcmread(path).SOPInstanceUID)])


def test_orthanc_takes_all_and_commits_itself(folder: Path, tmp_path: Path) -> None:
    uids = fill(folder)
    listen = free_port()
    with StoringOrthanc(tmp_path / "pacs", {"SENDER": ("127.0.0.1", listen)}) as pacs:
        address = f"dicom://{pacs.aet}@127.0.0.1:{pacs.port}?calling=SENDER"
        result = deliver_to(f"{address}&listen={listen}", folder, tmp_path / "data")
        assert result.is_whole and result.evidence == {"commitment": 10}
        assert pacs.instances() == uids
        again = deliver_to(address, folder, tmp_path / "data", from_the_start=True, verify="list")
        assert again.is_whole and again.evidence == {"listed": 10}
        assert pacs.instances() == uids


@contextmanager
def storescp(folder: Path, *options: str) -> Iterator[int]:
    folder.mkdir()
    port = free_port()
    process = subprocess.Popen(
        ["storescp", *options, "-od", str(folder), str(port)], env=dcmtk_environment(nodelay=True)
    )
    try:
        echo = ["echoscu", "-to", "1", "127.0.0.1", str(port)]
        while subprocess.run(echo, capture_output=True, check=False).returncode:
            assert process.poll() is None
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def test_storescp_of_all_syntaxes_gets_files_as_they_are(folder: Path, tmp_path: Path) -> None:
    uids = fill(folder)
    with storescp(tmp_path / "out", "+xa") as port:
        address = f"dicom://STORESCP@127.0.0.1:{port}"
        told = deliver_to(address, folder, tmp_path / "data")
        assert told.states == {"unverified": 10} and told.reasons == {"find_not_supported": 10}
        result = deliver_to(address, folder, tmp_path / "data", verify="status")
    assert result.is_whole and result.evidence == {"status": 10}
    kept = [dcmread(path) for path in (tmp_path / "out").iterdir()]
    assert sorted(one.SOPInstanceUID for one in kept) == uids
    syntaxes = {str(one.file_meta.TransferSyntaxUID) for one in kept}
    assert "1.2.840.10008.1.2.4.90" in syntaxes


def test_storescp_as_shipped_takes_no_compressed_file(folder: Path, tmp_path: Path) -> None:
    fill(folder)
    with storescp(tmp_path / "out") as port:
        address = f"dicom://STORESCP@127.0.0.1:{port}"
        result = deliver_to(address, folder, tmp_path / "data", verify="status")
        assert result.states == {"delivered": 9, "failed": 1}
        assert result.reasons == {"syntax_refused": 1}
        result = deliver_to(address, folder, tmp_path / "data", verify="status", decompress=True)
    assert result.is_whole and result.was_there == 9
