"""WADO-RS of a series, or of missing instances (PS3.18 section 10.4), into the same receiver.

requests and not dicomweb-client: that one gives parsed data sets, which can't be written byte for
byte as they came, and takes the beginning of a part for the whole where a connection was cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import requests
from urllib3.exceptions import HTTPError, ReadTimeoutError

from pacstream.messages import PacsNode, SeriesRequested
from pacstream_retrieve.exchange import Limits
from pacstream_retrieve.intake import Intake
from pacstream_retrieve.multipart import BadMultipartError, MultipartReader, boundary_of
from pacstream_retrieve.outcome import SOME_FAILED, SUCCESS, Outcome, not_sent

ACCEPTED = (
    'multipart/related; type="application/dicom"; transfer-syntax=*',
    'multipart/related; type="application/dicom"',
)
"""As it is stored; then, for a server that knows no `*`, as it likes."""

CHUNK = 1 << 20
NOT_ACCEPTABLE = frozenset({400, 406, 415})
REASONS = {
    401: "access_denied",
    403: "access_denied",
    404: "not_found",
    406: "not_acceptable",
    408: "timed_out",
    410: "not_found",
    415: "not_acceptable",
    429: "pacs_busy",
    502: "pacs_unreachable",
    503: "pacs_busy",
    504: "timed_out",
}


class StoppedError(Exception):
    """The batch is cancelled, or the deadline is over: the answer is not read to its end."""


def fetch(
    request: SeriesRequested,
    node: PacsNode,
    intake: Intake,
    limits: Limits,
    connection_timeout_s: float,
) -> list[Outcome]:
    """Fetch what is asked for from `node`'s DICOMweb server: an outcome per GET.

    A GET has no status of DIMSE: one whose answer came whole counts as 0x0000, or 0xB000 where an
    instance was not taken. The counters are those of our own receiver.
    """
    outcomes: list[Outcome] = []
    with requests.Session() as session:
        session.trust_env = False  # an archive in the house is not behind the proxy
        for url in _urls(request, node):
            if limits.refusal:
                outcomes.append(not_sent(limits.refusal))
                break
            outcome = _Get(session, url, intake, limits, connection_timeout_s).run()
            outcomes.append(outcome)
            if outcome.broken and outcome.broken != "not_found":
                break
    return outcomes


def reason_of_http(code: int) -> str:
    """The reason code for an HTTP status that is no success (PS3.18 table 8.5-1)."""
    if code in REASONS:
        return REASONS[code]
    return "unable_to_process" if code >= 500 else "request_refused"


def _urls(request: SeriesRequested, node: PacsNode) -> list[str]:
    series = request.order.series
    base = node.profile.web_url.rstrip("/")
    whole = f"{base}/studies/{quote(series.study_uid)}/series/{quote(series.series_uid)}"
    return [f"{whole}/instances/{quote(uid)}" for uid in request.instances] or [whole]


class _Get:
    """One GET and its answer."""

    def __init__(
        self,
        session: requests.Session,
        url: str,
        intake: Intake,
        limits: Limits,
        connection_timeout_s: float,
    ) -> None:
        self._session = session
        self._url = url
        self._intake = intake
        self._limits = limits
        self._connection_timeout_s = connection_timeout_s
        self._before = intake.counters

    def run(self) -> Outcome:
        for accept in ACCEPTED:
            outcome, code = self._try(accept)
            if code not in NOT_ACCEPTABLE:
                break
        return outcome

    def _try(self, accept: str) -> tuple[Outcome, int]:
        limits = self._limits
        silence = min(limits.response_s, max(0.001, limits.deadline - limits.clock()))
        try:
            answer = self._session.get(
                self._url,
                headers={"Accept": accept},
                stream=True,
                timeout=(self._connection_timeout_s, silence),
            )
        except requests.ConnectTimeout:
            return Outcome(broken="connection_timed_out"), 0
        except requests.Timeout:
            return Outcome(broken="timed_out"), 0
        except requests.exceptions.SSLError:
            return Outcome(broken="tls_failed"), 0
        except requests.RequestException:
            return Outcome(broken="pacs_unreachable"), 0
        with answer:
            if not answer.ok:
                return Outcome(broken=reason_of_http(answer.status_code)), answer.status_code
            return self._outcome(self._read(answer)), answer.status_code

    def _read(self, answer: requests.Response) -> str:
        """Take all instances of an answer; why it was not read to its end, or empty."""
        try:
            self._take(answer)
        except StoppedError:
            return self._limits.refusal
        except ReadTimeoutError:
            return "stalled"
        except (BadMultipartError, HTTPError):
            return "aborted"
        return ""

    def _take(self, answer: requests.Response) -> None:
        chunks = self._chunks(answer)
        boundary = boundary_of(answer.headers.get("Content-Type", ""))
        if boundary is not None:
            for file in MultipartReader(chunks, boundary).parts(self._intake.new_file):
                self._intake.receive_file(file)
        elif answer.status_code != requests.codes.no_content:
            # one instance without its multipart wrapping, as some servers send it
            with self._intake.new_file() as file:
                file.writelines(chunks)
                self._intake.receive_file(file)

    def _chunks(self, answer: requests.Response) -> Iterator[bytes]:
        # what is there now: a server that drips must not keep us beyond the deadline
        while chunk := answer.raw.read1(CHUNK, decode_content=True):
            if self._limits.refusal:
                raise StoppedError
            yield chunk

    def _outcome(self, broken: str) -> Outcome:
        counts = zip(self._intake.counters, self._before, strict=True)
        completed, failed, warning = (now - before for now, before in counts)
        status = SOME_FAILED if failed or warning else SUCCESS
        return Outcome(
            status=None if broken else status,
            completed=completed,
            failed=failed,
            warning=warning,
            broken=broken,
        )
