"""Where files are delivered to, as a user writes it.

    dicom://CALLED@host:port?calling=AET[&listen=PORT]    C-STORE; commitment is told at PORT
    https://host/dicom-web                                STOW-RS
    s3://bucket/prefix[?endpoint=https://host:9000]       an object store with S3's interface
    sftp://user@host[:port]/path

An address holds no password: it is printed, and kept beside the journal.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from pacstream.errors import InputError
from pacstream.messages import PacsNode

OUR_TITLE = "PACSTREAM"
AE_TITLE = re.compile(r"[\x21-\x5b\x5d-\x7e]([\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?")
"""PS3.5 table 6.2-1, without spaces around it."""
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
FORMS = "dicom://CALLED@host:port?calling=AET, https://…, s3://bucket/prefix, sftp://user@host/path"


@dataclass(frozen=True)
class DicomNode:
    node: PacsNode
    listen: int | None = None
    """Where we take N-EVENT-REPORTs on an association of the node's own."""

    @property
    def name(self) -> str:
        one = self.node
        return f"dicom://{one.called_aet}@{_host(one.address)}:{one.port}?calling={one.calling_aet}"


@dataclass(frozen=True)
class WebServer:
    url: str
    """The base URL of the DICOMweb services, without a slash at its end."""

    @property
    def name(self) -> str:
        return self.url


@dataclass(frozen=True)
class ObjectStore:
    bucket: str
    prefix: str = ""
    """Empty, or with a slash at its end."""
    endpoint: str = ""
    """Empty: Amazon's, or what AWS_ENDPOINT_URL says."""

    @property
    def name(self) -> str:
        endpoint = f"?endpoint={self.endpoint}" if self.endpoint else ""
        return f"s3://{self.bucket}/{self.prefix}{endpoint}"


@dataclass(frozen=True)
class SftpServer:
    host: str
    port: int
    user: str
    path: str

    @property
    def name(self) -> str:
        user = f"{self.user}@" if self.user else ""
        return f"sftp://{user}{_host(self.host)}:{self.port}{self.path}"


Destination = DicomNode | WebServer | ObjectStore | SftpServer


def parse_destination(text: str) -> Destination:
    """Raises InputError that says what is wrong; the address itself is not repeated."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise InputError("the destination is no address: a port or a host is not valid") from None
    if parts.password is not None:
        raise InputError(
            "the destination holds a password: leave it out, and give it by the environment or by "
            "a file of credentials"
        )
    readers: dict[str, Callable[[SplitResult, int | None], Destination]] = {
        "dicom": _dicom,
        "https": _web,
        "http": _web,
        "s3": _object_store,
        "sftp": _sftp,
    }
    reader = readers.get(parts.scheme.lower())
    if reader is None:
        raise InputError(f"the destination has none of the forms {FORMS}")
    return reader(parts, port)


def _dicom(parts: SplitResult, port: int | None) -> DicomNode:
    options = _options(parts, {"calling", "listen"})
    called, calling = unquote(parts.username or ""), options.get("calling", OUR_TITLE)
    for title in (called, calling):
        if not AE_TITLE.fullmatch(title):
            raise InputError("dicom://: an AE title of 1 to 16 characters is missing or wrong")
    if not parts.hostname or port is None or parts.path not in ("", "/"):
        raise InputError("dicom://: dicom://CALLED@host:port is expected, and the port is needed")
    node = PacsNode(
        address=parts.hostname, port=_port(port), called_aet=called, calling_aet=calling
    )
    listen = options.get("listen")
    return DicomNode(node, None if listen is None else _port(listen))


def _web(parts: SplitResult, port: int | None) -> WebServer:
    if not parts.hostname or parts.username or parts.query or parts.fragment:
        raise InputError(
            "the base URL of a DICOMweb server is expected, without user, ? and #: "
            "https://host/dicom-web"
        )
    return WebServer(parts.geturl().rstrip("/"))


def _object_store(parts: SplitResult, port: int | None) -> ObjectStore:
    options = _options(parts, {"endpoint"})
    if not BUCKET.fullmatch(parts.netloc):
        raise InputError("s3://: a bucket's name has 3 to 63 of a-z, 0-9, `-` and `.`")
    endpoint = options.get("endpoint", "")
    if endpoint and not re.fullmatch(r"https?://[^/?#@\s]+/?", endpoint):
        raise InputError("s3://: endpoint has to be https://host:port, without user and path")
    prefix = "/".join(part for part in unquote(parts.path).split("/") if part)
    if any(part in (".", "..") for part in prefix.split("/")):
        raise InputError("s3://: the prefix has `.` or `..` as a part")
    return ObjectStore(parts.netloc, f"{prefix}/" if prefix else "", endpoint.rstrip("/"))


def _sftp(parts: SplitResult, port: int | None) -> SftpServer:
    _options(parts, set())
    path = unquote(parts.path)
    if not parts.hostname or not path.strip("/"):
        raise InputError("sftp://: sftp://user@host/path is expected")
    if any(part in (".", "..") for part in path.split("/")):
        raise InputError("sftp://: the path has `.` or `..` as a part")
    user = unquote(parts.username or "")
    return SftpServer(parts.hostname, _port(22 if port is None else port), user, path.rstrip("/"))


def _options(parts: SplitResult, known: set[str]) -> dict[str, str]:
    given = parse_qs(parts.query, keep_blank_values=True)
    unknown = sorted(set(given) - known)
    if unknown or parts.fragment:
        names = ", ".join(sorted(known)) or "nothing"
        raise InputError(f"{parts.scheme}://: after the `?` only {names} is known")
    if any(len(values) > 1 for values in given.values()):
        raise InputError(f"{parts.scheme}://: an option is given twice")
    return {name: values[0] for name, values in given.items()}


def _port(value: object) -> int:
    text = str(value)
    if not re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) or not 1 <= int(text) <= 65535:
        raise InputError("the destination: a port is a number between 1 and 65535")
    return int(text)


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
