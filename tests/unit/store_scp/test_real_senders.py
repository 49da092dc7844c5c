"""DCMTK's storescu and dcmsend, and Orthanc, as senders."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from demo.pacs import OrthancPacs, dcmtk_environment
from tests.fakes.datasets import make_series
from tests.unit.store_scp.files import RealFile, SeriesKeys, distinct, real_files
from tests.unit.store_scp.scp import saved, wait_for
from tests.unit.store_scp.watched import WatchedScp

pytestmark = pytest.mark.pacs

PROPOSALS = {
    "-xe": "1.2.840.10008.1.2.1",
    "-xb": "1.2.840.10008.1.2.2",
    "-xi": "1.2.840.10008.1.2",
    "-xd": "1.2.840.10008.1.2.1.99",
    "-xs": "1.2.840.10008.1.2.4.70",
    "-xy": "1.2.840.10008.1.2.4.50",
    "-xx": "1.2.840.10008.1.2.4.51",
    "-xv": "1.2.840.10008.1.2.4.90",
    "-xw": "1.2.840.10008.1.2.4.91",
    "-xt": "1.2.840.10008.1.2.4.80",
    "-xr": "1.2.840.10008.1.2.5",
}
"""storescu's option for each transfer syntax of which there are files."""


NOT_FOR_DCMTK = {
    "MR_truncated.dcm",
    "SC_rgb_jpeg.dcm",
    "emri_small_jpeg_2k_lossless_too_short.dcm",
    "explicit_VR-UN.dcm",
    "rtdose_rle.dcm",
    "rtdose_rle_1frame.dcm",
}
"""Cut, in implicit VR under an explicit transfer syntax, or with pixels in OW: DCMTK reads none."""


def files_for_dcmtk() -> list[RealFile]:
    return [file for file in real_files() if file.path.name not in NOT_FOR_DCMTK]


def files_in(syntax: str) -> list[RealFile]:
    return [file for file in files_for_dcmtk() if file.instance.syntax == syntax]


def run(*command: str | Path) -> None:
    done = subprocess.run(
        [*map(str, command)],
        env=dcmtk_environment(nodelay=True),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout


def arrives(scp: WatchedScp, path: Path, keys: SeriesKeys) -> Dataset:
    """The instance on disk, with the pixels and the transfer syntax of the file."""
    sent = dcmread(path)
    wait_for(lambda: str(sent.SOPInstanceUID) in scp.announced.uids)
    kept = dcmread(scp.archive.instance_path(keys.series_uid, str(sent.SOPInstanceUID)))
    assert kept.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
    assert kept.get("PixelData") == sent.get("PixelData")
    return kept


@pytest.mark.parametrize(("option", "syntax"), PROPOSALS.items(), ids=PROPOSALS)
def test_storescu_sends_in_the_transfer_syntax_it_proposes(
    option: str, syntax: str, scp: WatchedScp
) -> None:
    files = distinct(files_in(syntax))[:5]
    assert files
    for path, keys, _ in files:
        scp.order(*keys)
        run("storescu", option, "-R", "127.0.0.1", str(scp.port), path)
        arrives(scp, path, keys)


@pytest.mark.parametrize("combined", [[], ["+C"]])
def test_storescu_may_propose_contexts_for_everything(
    combined: list[str], scp: WatchedScp, tmp_path: Path
) -> None:
    """All of its 120 classes, in separate contexts or with all transfer syntaxes in each."""
    [instance] = make_series(instances=1)
    [path] = saved(tmp_path / "sent", [instance])
    keys = SeriesKeys(str(instance.StudyInstanceUID), str(instance.SeriesInstanceUID))
    scp.order(*keys)
    run("storescu", *combined, "127.0.0.1", str(scp.port), path)

    arrives(scp, path, keys)


@pytest.mark.parametrize(
    "options",
    [
        ["-pdu", "4096"],
        ["-pdu", "131072"],
        ["--max-send-pdu", "4096"],
        ["-usr", "user"],
        ["-usr", "user", "-pwd", "secret"],
    ],
    ids=" ".join,
)
def test_storescu_with_other_options_is_served(
    options: list[str], scp: WatchedScp, tmp_path: Path
) -> None:
    instances = make_series(instances=5, rows=64)
    paths = saved(tmp_path / "sent", instances)
    keys = SeriesKeys(str(instances[0].StudyInstanceUID), str(instances[0].SeriesInstanceUID))
    scp.order(*keys)
    run("storescu", *options, "127.0.0.1", str(scp.port), *paths)

    for path in paths:
        arrives(scp, path, keys)


def test_dcmsend_sends_everything_over_one_association_after_the_other(scp: WatchedScp) -> None:
    # what is neither compressed nor explicit little endian, dcmsend converts
    converted = {PROPOSALS[option] for option in ("-xb", "-xi", "-xd")}
    files = distinct(f for f in files_for_dcmtk() if f.instance.syntax not in converted)
    for file in files:
        scp.order(*file.keys)
    run("dcmsend", "-dn", "+ma", "127.0.0.1", str(scp.port), *(file.path for file in files))

    for file in files:
        arrives(scp, file.path, file.keys)


def test_orthanc_sends_what_it_has_as_it_has_it(scp: WatchedScp, tmp_path: Path) -> None:
    files = distinct(file for syntax in PROPOSALS.values() for file in files_in(syntax)[:3])
    destinations = {"PACSTREAM": ("127.0.0.1", scp.port)}
    with OrthancPacs(tmp_path / "orthanc", destinations, clients=["SENDER"], nodelay=True) as pacs:
        pacs.load(file.path for file in files)
        for keys in {file.keys for file in files}:
            scp.order(*keys)
            query = ["-k", "0008,0052=SERIES", "-k", f"0020,000D={keys.study_uid}"]
            query += ["-k", f"0020,000E={keys.series_uid}", "-aet", "SENDER", "-aec", pacs.aet]
            run("movescu", "-S", *query, "-aem", "PACSTREAM", pacs.address, str(pacs.port))

        for file in files:
            arrives(scp, file.path, file.keys)
