"""The DICOMweb source: QIDO-RS (PS3.18 section 10.6), page by page."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import requests
from dicomweb_client import DICOMwebClient

from pacstream import archive
from pacstream.errors import PacsUnreachableError, RejectedError, RetryLaterError
from pacstream_query.columns import TEXT_VRS, tag_of
from pacstream_query.identifiers import PADDING, UNIQUE_KEY, Answer, FindRequest, sent, vr_of
from pacstream_query.matching import is_only_wildcards
from pacstream_query.source import FindRefusedError, Outcome, QueryCancelledError, Take, never

PAGE = 500
AWKWARD = re.compile(r"[^A-Za-z0-9._~*?\- ]+")
WILDCARD_VRS = TEXT_VRS - {"CS"}
TOO_BROAD, TOO_MANY, UNAVAILABLE = 413, 429, 503

# it logs what is searched for
logging.getLogger("dicomweb_client").setLevel(logging.CRITICAL)


class PlainSession(requests.Session):
    """Leaves `*` and `?` as they are in a query, which RFC 3986 section 3.4 allows, and writes a
    space as %20: Orthanc 1.10 does not decode %2A and %3F, and servers disagree on `+`."""

    def get(self, url: str | bytes, **options: Any) -> requests.Response:
        path, mark, query = str(url).partition("?")
        for quoted, plain in (("%2A", "*"), ("%3F", "?"), ("+", "%20")):
            query = query.replace(quoted, plain)
        return super().get(path + mark + query, **options)


class WebSource:
    """Searches at one base URL, on one HTTP connection that is kept."""

    def __init__(
        self, url: str, timeout_s: float, cancelled: Callable[[], bool] = never, page: int = PAGE
    ) -> None:
        try:
            self._client = DICOMwebClient(
                url, session=PlainSession(), timeout=timeout_s, permissive_uid=True
            )
        except ValueError:
            raise RejectedError("the profile's web_url is no URL", code="bad_web_url") from None
        self._client.set_http_retry_params(retry=False)
        self._cancelled = cancelled
        self._page = page

    def find(self, request: FindRequest, take: Take) -> Outcome:
        """As `Source.find`. HTTP statuses become codes: find_refused_400, pacs_out_of_resources for
        429 and 503, pacs_unreachable for other failures of the server and the network.

        Nothing found by a key with characters that some servers decode wrongly: it is asked again
        with `*` in their place, and the answers are left to be matched by who asks.
        """
        outcome = self._find(request, take)
        simpler = _simplified(request)
        if outcome.received or outcome.limited or simpler == request:
            return outcome
        return self._find(simpler, take)

    def _find(self, request: FindRequest, take: Take) -> Outcome:
        outcome = Outcome()
        for single in _single_uids(request):
            for result in self._results(single, outcome):
                answer = read_result(result, request)
                if outcome.count(answer) and answer is not None:
                    take(answer)
        return outcome

    def _results(self, request: FindRequest, outcome: Outcome) -> Iterator[dict[str, Any]]:
        """All results; a server that does not know `offset` gives the first page for ever."""
        first, offset = None, 0
        while True:
            if self._cancelled():
                raise QueryCancelledError("the batch was cancelled")
            page = self._fetch(request, offset, outcome)
            if not page or page[0] == first:
                return
            first = first or page[0]
            yield from page
            offset += len(page)

    def _fetch(self, request: FindRequest, offset: int, outcome: Outcome) -> list[dict[str, Any]]:
        try:
            return self._search(request, offset)
        except requests.HTTPError as error:
            status = error.response.status_code
        except (requests.exceptions.JSONDecodeError, ValueError):
            raise FindRefusedError("not_json") from None
        except requests.RequestException:
            raise PacsUnreachableError("no answer to a QIDO-RS request") from None
        if status == TOO_BROAD:
            outcome.limited = True
            return []
        if status in (TOO_MANY, UNAVAILABLE):
            raise RetryLaterError("the PACS is out of resources", code="pacs_out_of_resources")
        if status >= 500:
            raise PacsUnreachableError("the DICOMweb server has failed")
        raise FindRefusedError(str(status))

    def _search(self, request: FindRequest, offset: int) -> list[dict[str, Any]]:
        """One page. The UIDs of the levels above go into the path."""
        keys = {keyword: sent(vr_of(keyword), key) for keyword, key in request.keys.items()}
        wanted: dict[str, Any] = {
            "fields": [f"{tag_of(keyword):08X}" for keyword in keys],
            "limit": self._page,
            "offset": offset,
        }
        study = keys.pop("StudyInstanceUID", "") if request.level != "STUDY" else ""
        series = keys.pop("SeriesInstanceUID", "") if request.level == "IMAGE" else ""
        wanted["search_filters"] = {f"{tag_of(word):08X}": key for word, key in keys.items() if key}
        if request.level == "STUDY":
            return self._client.search_for_studies(**wanted)
        if request.level == "SERIES":
            return self._client.search_for_series(study or None, **wanted)
        return self._client.search_for_instances(study or None, series or None, **wanted)


def _simplified(request: FindRequest) -> FindRequest:
    """The same keys, and more, by characters that need no escape, if that still says something."""
    keys = {}
    for keyword, key in request.keys.items():
        wider = AWKWARD.sub("*", key) if vr_of(keyword) in WILDCARD_VRS else key
        keys[keyword] = key if is_only_wildcards(wider) else wider
    return FindRequest(request.level, keys)


def _single_uids(request: FindRequest) -> Iterator[FindRequest]:
    """One request for each UID of lists: servers disagree on how a list is written."""
    lists = {
        keyword: key.split("\\")
        for keyword, key in request.keys.items()
        if vr_of(keyword) == "UI" and "\\" in key
    }
    for chosen in itertools.product(*lists.values()):
        keys = {**request.keys, **dict(zip(lists, chosen, strict=True))}
        yield FindRequest(request.level, keys)


def read_result(result: Mapping[str, Any], request: FindRequest) -> Answer | None:
    """What a result (DICOM JSON, PS3.18 annex F) says of the keywords asked, and of PatientID.

    None if it lacks its unique key.
    """
    unique_key = UNIQUE_KEY[request.level]
    found = {
        keyword: _texts(result[tag])
        for keyword in {*request.keys, unique_key, "PatientID"}
        if isinstance(result.get(tag := f"{tag_of(keyword):08X}"), Mapping)
    }
    answer = Answer(found)
    return answer if archive.UID.fullmatch(answer.text(unique_key)) else None


def _texts(element: Mapping[str, Any]) -> tuple[str, ...]:
    values = element.get("Value")
    texts = tuple(_text(value) for value in values) if isinstance(values, list) else ()
    return texts if any(texts) else ()


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        groups = [str(value.get(name) or "") for name in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip(PADDING)
