"""QIDO-RS beside C-FIND: the same rows mean the same series; HTTP failures have their codes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest
from pydicom import dcmwrite

from demo.pacs import OrthancPacs
from pacstream.errors import PacstreamError, PacsUnreachableError, RejectedError, RetryLaterError
from pacstream.messages import PacsNode, PacsProfile
from pacstream_query.identifiers import FindRequest
from pacstream_query.qido import WebSource
from pacstream_query.source import FindRefusedError, QueryCancelledError
from tests.fakes.datasets import make_series
from tests.unit.query.rows import INFO, SAVE, answers, ask, knowing

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
STUDIES = FindRequest("STUDY", {"StudyInstanceUID": "", "PatientID": "P*"})

Page = Callable[[dict[str, list[str]]], tuple[int, Any]]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@contextmanager
def server(page: Page) -> Iterator[str]:
    """A web server that answers every GET by `page`; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = page(parse_qs(urlparse(self.path).query))
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}/dicom-web"
        running.shutdown()


def study(number: int) -> dict[str, Any]:
    return {"0020000D": {"vr": "UI", "Value": [f"1.2.{number}"]}}


def test_all_pages_are_read() -> None:
    def page(query: dict[str, list[str]]) -> tuple[int, Any]:
        start = int(query["offset"][0])
        return 200, [study(n) for n in range(start, min(start + 4, 10))]

    with server(page) as url:
        found = answers(WebSource(url, 5, page=4), STUDIES)
    assert [answer.text("StudyInstanceUID") for answer in found] == [f"1.2.{n}" for n in range(10)]


def test_a_server_without_paging_ends_the_search() -> None:
    with server(lambda query: (200, [study(n) for n in range(3)])) as url:
        assert len(answers(WebSource(url, 5, page=3), STUDIES)) == 3


def test_values_are_read_as_text() -> None:
    result = {
        **study(1),
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Yamada^Tarou", "Phonetic": "やまだ"}]},
        "00080061": {"vr": "CS", "Value": ["CT", "MR"]},
        "00200011": {"vr": "IS", "Value": [7.0]},
        "00080020": {"vr": "DA"},
    }
    keys = ("PatientName", "ModalitiesInStudy", "SeriesNumber", "StudyDate", "StudyTime")
    first = iter([[result]])
    with server(lambda query: (200, next(first, []))) as url:
        (answer,) = answers(WebSource(url, 5), FindRequest("STUDY", dict.fromkeys(keys, "")))
    assert answer.text("PatientName") == "Yamada^Tarou==やまだ"
    assert answer.text("ModalitiesInStudy") == "CT\\MR"
    assert answer.text("SeriesNumber") == "7"
    assert answer.holds("StudyDate")
    assert not answer.holds("StudyTime")


@pytest.mark.parametrize(
    ("status", "body", "error", "code"),
    [
        (400, {}, FindRefusedError, "find_refused_400"),
        (401, {}, FindRefusedError, "find_refused_401"),
        (404, {}, FindRefusedError, "find_refused_404"),
        (429, {}, RetryLaterError, "pacs_out_of_resources"),
        (503, {}, RetryLaterError, "pacs_out_of_resources"),
        (500, {}, PacsUnreachableError, "pacs_unreachable"),
        (200, b"<html>", FindRefusedError, "find_refused_not_json"),
    ],
)
def test_http_failures_have_their_codes(
    status: int, body: Any, error: type[PacstreamError], code: str
) -> None:
    with server(lambda query: (status, body)) as url, pytest.raises(error) as raised:
        answers(WebSource(url, 5), STUDIES)
    assert raised.value.code == code
    assert "P*" not in str(raised.value)


def test_wildcards_go_out_as_they_are() -> None:
    asked: list[str] = []

    def page(query: dict[str, list[str]]) -> tuple[int, Any]:
        asked.extend(query["00100020"])
        return 200, []

    with server(page) as url:
        answers(WebSource(url, 5), FindRequest("STUDY", {"PatientID": "P*1 ?"}))
    assert asked == ["P*1 ?"]


def test_a_key_that_finds_nothing_is_asked_again_by_plain_characters() -> None:
    asked: list[str] = []

    def page(query: dict[str, list[str]]) -> tuple[int, Any]:
        asked.extend(query["00100010"])
        return 200, [study(1)] if asked[-1] == "M*ller*Zo*" and query["offset"] == ["0"] else []

    with server(page) as url:
        found = answers(WebSource(url, 5), FindRequest("STUDY", {"PatientName": "Müller^Zoë"}))
    assert asked[:2] == ["Müller^Zoë", "M*ller*Zo*"]
    assert len(found) == 1


def test_a_search_that_is_too_broad_is_limited() -> None:
    with server(lambda query: (413, {})) as url:
        outcome = WebSource(url, 5).find(STUDIES, lambda answer: None)
    assert outcome.limited


def test_a_server_that_is_off_is_asked_again_later() -> None:
    with server(lambda query: (200, [])) as url:
        pass
    with pytest.raises(PacsUnreachableError):
        answers(WebSource(url, 1), STUDIES)


def test_a_wrong_address_is_rejected() -> None:
    with pytest.raises(RejectedError) as raised:
        WebSource("pacs/dicom-web", 5)
    assert raised.value.code == "bad_web_url"


def test_a_cancelled_search_ends_between_pages() -> None:
    asked: list[int] = []
    with server(lambda query: (200, [study(len(asked))])) as url:
        source = WebSource(url, 5, cancelled=lambda: len(asked) > 0)
        with pytest.raises(QueryCancelledError):
            source.find(STUDIES, lambda answer: asked.append(1))
    assert asked == [1]


# Orthanc

WANTED = make_series("P1", "Müller^Zoë", modality="MR", instances=3, series_description="Séquence")
SECOND = make_series(
    "P1", "Müller^Zoë", modality="MR", instances=2, series_number=2, series_description="T2"
)
OTHER = make_series("P2", instances=2, study_date="20210304", study_time="093000.5")


class OrthancWithWeb(OrthancPacs):
    def _configuration(self) -> dict[str, object]:
        return {
            **super()._configuration(),
            "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
        }

    @property
    def web_url(self) -> str:
        return f"http://127.0.0.1:{self._http_port}/dicom-web"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PacsNode, PacsNode]]:
    """One Orthanc, asked by C-FIND and by QIDO-RS (`scripts/install --for-tests` installs both)."""
    assert PLUGIN.exists(), "Debian's orthanc-dicomweb is not installed"
    folder = tmp_path_factory.mktemp("orthanc")
    paths = []
    for number, instance in enumerate([*WANTED, *SECOND, *OTHER]):
        paths.append(folder / f"{number}.dcm")
        dcmwrite(paths[-1], instance, enforce_file_format=True)
    with OrthancWithWeb(folder / "server", {}, clients=["PACSTREAM"]) as pacs:
        pacs.load(paths)
        node = PacsNode(
            address=pacs.address, port=pacs.port, called_aet=pacs.aet, calling_aet="PACSTREAM"
        )
        yield node, knowing(node, PacsProfile(source="dicomweb", web_url=pacs.web_url))


@pytest.mark.pacs
@pytest.mark.parametrize(
    "keys",
    [
        {"PatientID": "P1"},
        {"PatientID": "P?"},
        {"PatientName": "Müll*"},
        {"PatientName": "Doe^Jane"},
        {"PatientName": "d?e*"},
        {"StudyDate": "20200101-20201231"},
        {"StudyDate": "20210304-"},
        {"StudyTime": "0930"},
        {"PatientID": "P*", "StudyTime": "09-10"},
        {"Modality": "MR"},
        {"SeriesDescription": "Séqu*"},
        {"SeriesNumber": "2", "PatientID": "P1"},
        {"SeriesInstanceUID": str(SECOND[0].SeriesInstanceUID)},
        {"SeriesInstanceUID": f"{SECOND[0].SeriesInstanceUID}\\{OTHER[0].SeriesInstanceUID}"},
        {"StudyInstanceUID": f"{WANTED[0].StudyInstanceUID}\\{OTHER[0].StudyInstanceUID}"},
        {"PatientID": "P*", "ImageType": "ORIGINAL", "SequenceName": "*fl3d?"},
        {"PatientID": "P*", "RepetitionTime": "8.0"},
        {"PatientID": "P*", "Manufacturer": "pac*"},
        {"PatientID": "nobody"},
    ],
    ids=lambda keys: "+".join(keys),
)
def test_the_same_row_gives_the_same_series_by_qido_and_by_c_find(
    nodes: tuple[PacsNode, PacsNode], keys: dict[str, str]
) -> None:
    dimse, web = (ask(node, keys, SAVE) for node in nodes)
    assert web[1] == dimse[1]
    assert web[1].reason == ""
    by_uid = [{fact.series.series_uid: fact for fact in found} for found, _ in (dimse, web)]
    assert by_uid[0].keys() == by_uid[1].keys()
    for series_uid, fact in by_uid[0].items():
        assert by_uid[1][series_uid].series == fact.series
        assert by_uid[1][series_uid].expected == fact.expected
        assert fact.evidence == "uids"
    assert bool(by_uid[0]) is (keys["PatientID"] != "nobody" if "PatientID" in keys else True)


@pytest.mark.pacs
def test_information_by_qido_equals_that_by_c_find(nodes: tuple[PacsNode, PacsNode]) -> None:
    (dimse, _), (web, _) = (ask(node, {"PatientID": "P1"}, INFO) for node in nodes)
    assert len(dimse) == 2
    by_c_find, by_qido = (
        {fact.series.series_uid: fact.attributes for fact in found} for found in (dimse, web)
    )
    assert by_qido == by_c_find
