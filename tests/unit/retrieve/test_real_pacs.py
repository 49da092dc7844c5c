"""C-GET and WADO-RS from Orthanc and DCMTK's dcmqrscp."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from demo.pacs import DcmqrscpPacs, OrthancPacs, Pacs
from pacstream.archive import Archive
from pacstream.messages import PacsNode
from tests.fakes.datasets import make_series
from tests.unit.retrieve.asking import Bench, counters, request_for, with_profile
from tests.unit.store_scp.scp import data_set_of, parts, quarantined, saved

pytestmark = pytest.mark.pacs

DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
Start = Callable[[Path, ExitStack], Pacs]
JPEG_2000 = "1.2.840.10008.1.2.4.90"


class WebOrthanc(OrthancPacs):
    """With Orthanc's DICOMweb plugin (Debian: orthanc-dicomweb)."""

    def _configuration(self) -> dict[str, object]:
        web = {"Enable": True, "Root": "/dicom-web/"}
        return super()._configuration() | {"Plugins": [str(DICOMWEB)], "DicomWeb": web}

    @property
    def web_url(self) -> str:
        return f"http://127.0.0.1:{self._http_port}/dicom-web"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def orthanc(folder: Path, running: ExitStack) -> Pacs:
    return running.enter_context(OrthancPacs(folder, {}, clients=["PACSTREAM"], nodelay=True))


def dcmqrscp(folder: Path, running: ExitStack) -> Pacs:
    return running.enter_context(DcmqrscpPacs(folder, {}, nodelay=True))


def c_get_node(pacs: Pacs) -> PacsNode:
    node = PacsNode(
        address=pacs.address, port=pacs.port, called_aet=pacs.aet, calling_aet="PACSTREAM"
    )
    return with_profile(node, retrieve="c-get")


def web_node(pacs: WebOrthanc) -> PacsNode:
    return with_profile(c_get_node(pacs), retrieve="wado-rs", web_url=pacs.web_url)


def assert_here(archive: Archive, series: Sequence[Dataset]) -> None:
    """Exactly these instances, with their pixels, in the transfer syntax of their file meta."""
    folder = series[0].SeriesInstanceUID
    assert archive.instances(folder) == {d.SOPInstanceUID for d in series}
    for sent in series:
        kept = dcmread(archive.instance_path(folder, sent.SOPInstanceUID))
        assert kept.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
        assert kept.PixelData == sent.PixelData
        assert kept.PatientID == sent.PatientID
    assert parts(archive) == [] and quarantined(archive) == {}


@pytest.mark.parametrize("start", [orthanc, dcmqrscp])
def test_c_get_brings_a_series_and_nothing_else(
    start: Start, archive: Archive, bench: Bench, tmp_path: Path, running: ExitStack
) -> None:
    series = make_series(instances=8)
    sibling = make_series(instances=3, series_number=2)
    pacs = start(tmp_path / "pacs", running)
    pacs.load(saved(tmp_path / "sent", series + sibling))
    moved = bench.ask(request_for(c_get_node(pacs), series[0]))

    assert (moved.status, moved.reason, counters(moved)) == (0x0000, "", (8, 0, 0))
    assert sorted(bench.announced.uids) == sorted(d.SOPInstanceUID for d in series)
    assert_here(archive, series)


@pytest.mark.parametrize("start", [orthanc, dcmqrscp])
@pytest.mark.parametrize("lists", [True, False])
def test_c_get_brings_missing_instances_and_nothing_else(
    start: Start, lists: bool, archive: Archive, bench: Bench, tmp_path: Path, running: ExitStack
) -> None:
    series = make_series(instances=6)
    pacs = start(tmp_path / "pacs", running)
    pacs.load(saved(tmp_path / "sent", series))
    node = with_profile(c_get_node(pacs), retrieve="c-get", uid_lists=lists)
    missing = [d.SOPInstanceUID for d in series[2:4]]
    moved = bench.ask(request_for(node, series[0], missing))

    assert (moved.reason, counters(moved)) == ("", (2, 0, 0))
    assert_here(archive, series[2:4])


def test_a_narrow_c_get_brings_compressed_instances_as_they_are_stored(
    archive: Archive, bench: Bench, tmp_path: Path, running: ExitStack
) -> None:
    compressed = Path(str(get_testdata_file("MR_small_jp2klossless.dcm")))
    instance = dcmread(compressed)
    pacs = orthanc(tmp_path / "pacs", running)
    pacs.load([compressed])
    request = request_for(c_get_node(pacs), instance, modality="MR", number=1)
    moved = bench.ask(request)

    assert (moved.reason, counters(moved)) == ("", (1, 0, 0))
    kept = archive.instance_path(instance.SeriesInstanceUID, instance.SOPInstanceUID)
    assert dcmread(kept).file_meta.TransferSyntaxUID == JPEG_2000


def test_instances_that_a_pacs_does_not_send_compressed_are_told_as_failed(
    archive: Archive, bench: Bench, tmp_path: Path, running: ExitStack
) -> None:
    compressed = Path(str(get_testdata_file("MR_small_jp2klossless.dcm")))
    instance = dcmread(compressed)
    pacs = dcmqrscp(tmp_path / "pacs", running)
    pacs.load([compressed])
    moved = bench.ask(request_for(c_get_node(pacs), instance, modality="MR", number=1))

    assert (moved.status, moved.reason) == (0xA702, "sub_operations_refused")
    assert counters(moved) == (0, 1, 0)
    assert archive.instances(instance.SeriesInstanceUID) == set()


def test_wado_rs_brings_a_series_and_nothing_else(
    archive: Archive, bench: Bench, tmp_path: Path, running: ExitStack
) -> None:
    series = make_series(instances=8)
    sibling = make_series(instances=3, series_number=2)
    pacs = running.enter_context(WebOrthanc(tmp_path / "pacs", {}))
    paths = saved(tmp_path / "sent", series + sibling)
    pacs.load(paths)
    moved = bench.ask(request_for(web_node(pacs), series[0]))

    assert (moved.status, moved.reason, counters(moved)) == (0x0000, "", (8, 0, 0))
    assert_here(archive, series)
    kept = archive.instance_path(series[0].SeriesInstanceUID, series[0].SOPInstanceUID)
    assert data_set_of(kept) == data_set_of(paths[0])


def test_wado_rs_brings_missing_instances_compressed_as_they_are_stored(
    archive: Archive, bench: Bench, tmp_path: Path, running: ExitStack
) -> None:
    compressed = Path(str(get_testdata_file("MR_small_jp2klossless.dcm")))
    instance = dcmread(compressed)
    pacs = running.enter_context(WebOrthanc(tmp_path / "pacs", {}))
    pacs.load([compressed])
    moved = bench.ask(request_for(web_node(pacs), instance, [instance.SOPInstanceUID]))

    assert (moved.reason, counters(moved)) == ("", (1, 0, 0))
    kept = archive.instance_path(instance.SeriesInstanceUID, instance.SOPInstanceUID)
    assert dcmread(kept).file_meta.TransferSyntaxUID == JPEG_2000


def test_wado_rs_of_a_series_that_is_not_there_has_its_reason(
    bench: Bench, tmp_path: Path, running: ExitStack
) -> None:
    [instance] = make_series(instances=1)
    pacs = running.enter_context(WebOrthanc(tmp_path / "pacs", {}))
    moved = bench.ask(request_for(web_node(pacs), instance))

    assert (moved.status, moved.reason) == (None, "not_found")
