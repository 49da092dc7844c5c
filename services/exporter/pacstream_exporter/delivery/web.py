"""STOW-RS of files as they are (PS3.18 section 10.5), then QIDO-RS for what is there.

dicomweb-client, which searches here, would encode each instance anew before it sends it: bytes
would differ, and a whole request would be in memory. So the POST is made with `requests`, as a GET
of WADO-RS is (ADR 14).
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from dicomweb_client import DICOMwebClient

from pacstream.errors import InputError, RetryLaterError
from pacstream_exporter.delivery.credentials import Credentials
from pacstream_exporter.delivery.destination import WebServer
from pacstream_exporter.delivery.inventory import Item
from pacstream_exporter.delivery.node import ENOUGH, Verify
from pacstream_exporter.delivery.outcome import (
    NOT_LISTED,
    Deliveries,
    Delivery,
    Evidence,
    State,
    all_failed,
)
from pacstream_exporter.delivery.storage import delivery_of

# it logs what is searched for
logging.getLogger("dicomweb_client").setLevel(logging.CRITICAL)

CHUNK = 1 << 20
MOST_FILES, MOST_BYTES = 100, 64 << 20
"""In one request: what fails, fails together."""
FAILED_SEQUENCE, STORED_SEQUENCE = "00081198", "00081199"
INSTANCE, WARNING_REASON, FAILURE_REASON = "00081155", "00081196", "00081197"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
ANSWERS = frozenset({200, 202, 409})
"""With a word on each instance (PS3.18 table 10.5.3-1)."""
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
REASONS = {
    400: "request_refused",
    401: "access_denied",
    403: "access_denied",
    404: "not_found",
    405: "not_found",
    413: "too_large",
    415: "not_acceptable",
}


class WebCarrier:
    instances_only = True

    def __init__(
        self,
        destination: WebServer,
        credentials: Credentials,
        *,
        verify: Verify,
        timeout_s: float,
        connection_timeout_s: float,
    ) -> None:
        if verify is Verify.COMMITMENT:
            raise InputError("--verify commitment is for DICOM nodes; DICOMweb has no such thing")
        self._url = destination.url
        self._credentials = credentials
        self._verify = verify
        self._timeouts = (connection_timeout_s, timeout_s)
        self.asked = ENOUGH[verify]
        _check_secrecy(destination, credentials)

    def check(self) -> None:
        """A search that finds nothing: address, TLS and credentials are right."""
        with self._session() as session:
            try:
                answer = session.get(
                    f"{self._url}/studies",
                    params={"StudyInstanceUID": "0.0", "limit": "1"},
                    headers={"Accept": "application/dicom+json"},
                    timeout=self._timeouts,
                )
            except requests.exceptions.SSLError:
                raise InputError(
                    "the server's certificate is not trusted: `ca_file` in the file of credentials"
                ) from None
            except requests.RequestException as error:
                raise RetryLaterError(
                    f"no answer ({type(error).__name__})", code="destination_unreachable"
                ) from None
        if answer.status_code in (401, 403):
            raise InputError("the server wants (other) credentials, or does not let us in")

    def lots(self, items: Sequence[Item], jobs: int) -> Iterator[Sequence[Item]]:
        most = max(1, min(MOST_FILES, -(-len(items) // jobs)))
        lot: list[Item] = []
        for item in items:
            if lot and (len(lot) >= most or sum(one.size for one in lot) + item.size > MOST_BYTES):
                yield lot
                lot = []
            lot.append(item)
        if lot:
            yield lot

    def send(self, items: Sequence[Item]) -> Deliveries:
        with self._session() as session:
            yield from self._post(session, items)

    def _post(self, session: requests.Session, items: Sequence[Item]) -> list[Delivery]:
        body = _Body(items)
        try:
            answer = session.post(
                f"{self._url}/studies",
                data=body,
                headers={"Content-Type": body.content_type, "Accept": "application/dicom+json"},
                timeout=self._timeouts,
            )
        except requests.Timeout:
            return all_failed(items, "timed_out", again=True)
        except requests.exceptions.SSLError:
            return all_failed(items, "tls_failed")
        except requests.RequestException:
            return all_failed(items, "destination_unreachable", again=True)
        except OSError:
            return all_failed(items, "unreadable")
        code = answer.status_code
        if code in ANSWERS:
            return _told(items, answer)
        if code in PASSING:
            return all_failed(items, "out_of_resources", again=True)
        return all_failed(items, REASONS.get(code, "request_refused"))

    def verify(self, sent: Iterable[Delivery]) -> Iterator[Delivery]:
        found = list(sent)
        if self._verify is Verify.STATUS:
            yield from (one.known_by(Evidence.STATUS) for one in found)
            return
        of_series: dict[tuple[str, str], list[Delivery]] = {}
        for one in found:
            series = (one.item.instance.study, one.item.instance.series)
            of_series.setdefault(series, []).append(one)
        with self._session() as session:
            for series, deliveries in of_series.items():
                yield from self._listed(session, series, deliveries)

    def _listed(
        self, session: requests.Session, series: tuple[str, str], sent: list[Delivery]
    ) -> Iterator[Delivery]:
        client = DICOMwebClient(
            self._url, session=session, timeout=self._timeouts[1], permissive_uid=True
        )
        client.set_http_retry_params(retry=False)
        try:
            answers = client.search_for_instances(*series, get_remaining=True)
        except (requests.RequestException, ValueError):
            yield from (one.unverified("find_refused") for one in sent)
            return
        uids = {str(uid) for one in answers for uid in _values(one, "00080018")}
        for one in sent:
            is_there = one.item.key in uids
            yield one.known_by(Evidence.LISTED) if is_there else one.unverified(NOT_LISTED)

    def _session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False  # no proxy, no .netrc: what is to be used is said
        own = self._credentials
        session.verify = own.ca_file or True
        if own.token:
            session.headers["Authorization"] = f"Bearer {own.token}"
        elif own.user:
            session.auth = (own.user, own.password)
        return session


def _check_secrecy(destination: WebServer, credentials: Credentials) -> None:
    address = urlsplit(destination.url)
    has_secret = credentials.token or credentials.password
    if address.scheme == "http" and has_secret and address.hostname not in LOOPBACK:
        raise InputError("credentials are not sent over http://: use https://")


@dataclass
class _Body:
    """multipart/related of whole files (PS3.18 section 8.6.1.2), never in memory."""

    items: Sequence[Item]

    def __post_init__(self) -> None:
        self._boundary = uuid.uuid4().hex
        self._head = f"--{self._boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        self._end = f"--{self._boundary}--\r\n".encode()

    @property
    def content_type(self) -> str:
        return f'multipart/related; type="application/dicom"; boundary={self._boundary}'

    def __len__(self) -> int:
        """`requests` makes it the Content-Length."""
        return sum(len(self._head) + item.size + 2 for item in self.items) + len(self._end)

    def __iter__(self) -> Iterator[bytes]:
        for item in self.items:
            yield self._head
            left = item.size
            with item.path.open("rb") as file:
                while chunk := file.read(min(CHUNK, left)):
                    left -= len(chunk)
                    yield chunk
            if left:
                raise OSError("a file has become shorter")
            yield b"\r\n"
        yield self._end


def _told(items: Sequence[Item], answer: requests.Response) -> list[Delivery]:
    """What the Store Instances Response Module (PS3.3 section C.12.7) says of each."""
    try:
        module = answer.json()
        module = module[0] if isinstance(module, list) else module
        failures = _reasons(module, FAILED_SEQUENCE, FAILURE_REASON)
        warnings = _reasons(module, STORED_SEQUENCE, WARNING_REASON)
    except (json.JSONDecodeError, requests.RequestException, TypeError, AttributeError, IndexError):
        failures, warnings = {}, {}
    told = []
    for item in items:
        if item.key in failures:
            told.append(delivery_of(item, failures[item.key]))
        elif item.key in warnings:
            told.append(_stored(item, warnings[item.key]))
        elif answer.status_code == requests.codes.ok:
            told.append(Delivery(item, State.SENT))
        else:
            told += all_failed([item], "store_refused")
    return told


def _stored(item: Item, reason: int) -> Delivery:
    return Delivery(item, State.SENT, "store_warning" if reason else "", reason)


def _reasons(module: dict[str, Any], sequence: str, tag: str) -> dict[str, int]:
    found = {}
    for one in module.get(sequence, {}).get("Value") or ():
        reasons = _values(one, tag)
        for uid in _values(one, INSTANCE):
            found[str(uid)] = int(reasons[0]) if reasons else 0
    return found


def _values(dataset: dict[str, Any], tag: str) -> list[Any]:
    return dataset.get(tag, {}).get("Value") or []
