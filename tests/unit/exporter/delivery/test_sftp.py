"""Files to an SSH server of this process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import paramiko
import pytest

from demo.pacs import free_port
from pacstream.errors import InputError, RetryLaterError
from pacstream_exporter.delivery.carriers import Terms, carrier_of
from pacstream_exporter.delivery.credentials import Credentials
from pacstream_exporter.delivery.destination import parse_destination
from pacstream_exporter.delivery.job import Wish, deliver
from pacstream_exporter.delivery.outcome import REASONS, Result
from tests.fakes.datasets import make_series
from tests.unit.exporter.delivery.conftest import put
from tests.unit.exporter.delivery.sftp_server import PASSWORD, USER, SftpFolder, serving


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SftpFolder]:
    root = tmp_path / "there"
    root.mkdir()
    with serving(SftpFolder(root)) as running:
        yield running


def to_server(server: SftpFolder, folder: Path, **wanted: Any) -> Result:
    known = wanted.pop("known", None) or server.known_hosts(folder.parent / "known_hosts")
    opened = Credentials(password=wanted.pop("password", PASSWORD), known_hosts=str(known))
    terms = Terms(credentials=opened, replace=wanted.pop("over", False), connection_timeout_s=20.0)
    destination = parse_destination(f"sftp://{USER}@127.0.0.1:{server.port}/in/7")
    carrier = carrier_of(destination, terms)
    wish = Wish((folder,), destination.name, carrier, folder.parent / "data", pause_s=0.01)
    result = deliver(replace(wish, **wanted))
    assert {*result.reasons, *result.warnings} <= REASONS
    return result


def fill(folder: Path) -> dict[str, bytes]:
    put(folder / "sub-1" / "ses-1", make_series(instances=3))
    (folder / "sub-1" / "t1.nii.gz").write_bytes(b"nifti" * 100_000)
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_all_files_arrive_and_are_read_back(folder: Path, server: SftpFolder) -> None:
    files = fill(folder)
    result = to_server(server, folder)
    assert result.is_whole and result.evidence == {"checksum": 4}
    assert contents(server.root / "in" / "7") == files
    again = to_server(server, folder, from_the_start=True)
    assert again.is_whole and again.was_there == 4 and again.sent_bytes == 0


def test_a_file_that_arrives_spoilt_is_sent_again(folder: Path, server: SftpFolder) -> None:
    files = fill(folder)
    server.spoils = 2
    assert to_server(server, folder).is_whole
    assert contents(server.root / "in" / "7") == files


def test_a_cut_connection_is_gone_on_with(folder: Path, server: SftpFolder) -> None:
    files = fill(folder)
    server.cuts = 2
    assert to_server(server, folder).is_whole
    assert contents(server.root / "in" / "7") == files


def test_other_content_is_replaced_only_if_wanted(folder: Path, server: SftpFolder) -> None:
    files = fill(folder)
    there = server.root / "in" / "7" / "sub-1" / "t1.nii.gz"
    there.parent.mkdir(parents=True)
    there.write_bytes(b"of somebody else")
    result = to_server(server, folder)
    assert result.states == {"delivered": 3, "failed": 1}
    assert result.reasons == {"other_content_there": 1}
    assert there.read_bytes() == b"of somebody else"
    assert to_server(server, folder, over=True).is_whole
    assert contents(server.root / "in" / "7") == files


def test_a_host_key_that_is_not_known_is_refused(folder: Path, server: SftpFolder) -> None:
    fill(folder)
    empty = folder.parent / "empty"
    empty.write_text("")
    with pytest.raises(InputError, match="not known"):
        to_server(server, folder, known=empty)
    other = server.known_hosts(folder.parent / "other", paramiko.ECDSAKey.generate())
    with pytest.raises(InputError, match="not the one"):
        to_server(server, folder, known=other)
    assert contents(server.root) == {}


def test_a_wrong_password_is_refused_and_not_repeated(folder: Path, server: SftpFolder) -> None:
    fill(folder)
    with pytest.raises(InputError) as refusal:
        to_server(server, folder, password="w0rdwr0ng")
    assert "does not let us in" in str(refusal.value) and "w0rdwr0ng" not in str(refusal.value)


def test_nobody_there(folder: Path, server: SftpFolder) -> None:
    fill(folder)
    with pytest.raises(RetryLaterError):
        to_server(SftpFolder(server.root, port=free_port()), folder)
