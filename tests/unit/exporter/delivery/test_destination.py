from __future__ import annotations

from pathlib import Path

import pytest

from pacstream.errors import InputError
from pacstream_exporter.delivery.credentials import Credentials, find_credentials
from pacstream_exporter.delivery.destination import (
    DicomNode,
    ObjectStore,
    SftpServer,
    WebServer,
    parse_destination,
)


def test_a_dicom_node() -> None:
    found = parse_destination("dicom://KARNAK@10.1.2.3:11112?calling=PACS%201&listen=11113")
    assert isinstance(found, DicomNode)
    assert (found.node.called_aet, found.node.calling_aet) == ("KARNAK", "PACS 1")
    assert (found.node.address, found.node.port, found.listen) == ("10.1.2.3", 11112, 11113)
    default = parse_destination("dicom://A@[::1]:104")
    assert isinstance(default, DicomNode) and default.node.calling_aet == "PACSTREAM"
    assert default.name == "dicom://A@[::1]:104?calling=PACSTREAM"


def test_other_destinations() -> None:
    assert parse_destination("https://p.example/dicom-web/") == WebServer(
        "https://p.example/dicom-web"
    )
    assert parse_destination("s3://my-bucket") == ObjectStore("my-bucket")
    assert parse_destination("s3://b-1/a//b/?endpoint=http://127.0.0.1:9000") == ObjectStore(
        "b-1", "a/b/", "http://127.0.0.1:9000"
    )
    assert parse_destination("sftp://karl@h.example:2222/in/here/") == SftpServer(
        "h.example", 2222, "karl", "/in/here"
    )


@pytest.mark.parametrize(
    "text",
    [
        "", "somewhere", "ftp://host/path", "file:///tmp", "dicom://host:104", "dicom://A@host",
        "dicom://A@:104", "dicom://A@host:0", "dicom://A@host:70000", "dicom://A@host:104/path",
        "dicom://SEVENTEEN_LETTERS@host:104", "dicom://A%5CB@host:104", "dicom://A@h:1?colling=B",
        "dicom://A@h:1?calling=", "dicom://A@h:1?listen=x", "dicom://A@h:1?calling=B&calling=C",
        "https:///dicom-web", "https://user@host/dicom-web", "https://host/a?b=c", "s3:///prefix",
        "s3://UPPER/x", "s3://b-1/../x", "s3://b-1/x?endpoint=host:9000", "sftp://host",
        "sftp://host/", "sftp://host/a/../b", "sftp://host/a?key=1",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_destination(text)


@pytest.mark.parametrize("scheme", ["dicom", "https", "sftp", "s3"])
def test_a_password_in_an_address_is_refused_and_not_repeated(scheme: str) -> None:
    with pytest.raises(InputError) as refusal:
        parse_destination(f"{scheme}://karl:s3cretword@host:1/x")
    assert "password" in str(refusal.value) and "s3cretword" not in str(refusal.value)


def test_credentials_of_the_longest_section(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "credentials.toml"
    path.parent.mkdir()
    path.write_text(
        '["https://p.example"]\ntoken = "one"\n["https://p.example/dicom-web"]\ntoken = "two"\n'
        '["https://p.exam"]\ntoken = "never"\n["sftp://karl@h.example"]\npassword = "three"\n'
    )
    path.chmod(0o600)
    assert find_credentials("https://p.example/dicom-web", tmp_path, environ={}).token == "two"
    assert find_credentials("https://p.example/other", tmp_path, environ={}).token == "one"
    assert find_credentials("https://p.example.org/x", tmp_path, environ={}) == Credentials()
    sftp = find_credentials("sftp://karl@h.example:22/in", tmp_path, environ={})
    assert sftp.password == "three" and "three" not in repr(sftp)


def test_variables_go_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "secret.toml"
    path.write_text('["s3://b-1"]\nuser = "a"\npassword = "b"\n')
    path.chmod(0o600)
    environ = {"PACSTREAM_SECRET_FILE": str(path), "PACSTREAM_SECRET_PASSWORD": "c"}
    found = find_credentials("s3://b-1/prefix/", tmp_path, environ=environ)
    assert (found.user, found.password) == ("a", "c")


@pytest.mark.parametrize(
    ("text", "mode"),
    [('["a"]\ntoken="x"', 0o644), ("no toml s3cret", 0o600), ('["a"]\npasword="s3cret"', 0o600),
     ('token="s3cret"', 0o600), ('["a"]\ntoken=7', 0o600)],
)  # fmt: skip
def test_a_bad_file_of_credentials_is_refused(text: str, mode: int, tmp_path: Path) -> None:
    path = tmp_path / "secret.toml"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(InputError) as refusal:
        find_credentials("a", tmp_path, path, environ={})
    assert "s3cret" not in str(refusal.value)


def test_a_file_that_was_named_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read"):
        find_credentials("a", tmp_path, tmp_path / "missing", environ={})
