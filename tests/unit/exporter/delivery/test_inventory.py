from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from pacstream.errors import InputError
from pacstream_exporter.delivery.inventory import identify, take_stock
from tests.fakes.datasets import make_series
from tests.unit.exporter.delivery.conftest import put
from tests.unit.store_scp.files import real_files


def test_links_parts_and_other_files_are_left_out(folder: Path) -> None:
    uids = put(folder / "a", make_series(instances=2))
    (folder / "a" / ".abc.part").write_bytes(b"unfinished")
    (folder / "readme.txt").write_text("text")
    (folder / "empty").write_bytes(b"")
    (folder / "link").symlink_to(folder / "readme.txt")
    (folder / "loop").symlink_to(folder)
    stock = take_stock([folder], instances_only=True)
    assert [item.key for item in stock.items] == sorted(uids)
    assert stock.left_out == {"not_dicom": 2, "link": 2}
    assert stock.files == 6


def test_names_below_a_root_and_single_files(folder: Path) -> None:
    put(folder / "release" / "a", make_series(instances=1))
    single = folder / "release" / "a.nii.gz"
    single.write_bytes(b"nifti")
    places = [folder / "release" / "a", single]
    stock = take_stock(places, instances_only=False, root=folder / "release")
    assert sorted(item.name.partition("/")[0] for item in stock.items) == ["a", "a.nii.gz"]
    with pytest.raises(InputError, match="is none"):
        take_stock([folder / "missing"], instances_only=False)


def test_all_files_of_a_store_of_files(folder: Path) -> None:
    put(folder / "a", make_series(instances=1))
    (folder / "b.nii.gz").write_bytes(b"nifti")
    stock = take_stock([folder], instances_only=False)
    assert [item.path.suffix for item in stock.items] == [".gz", ".dcm"]


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_jp2klossless.dcm"])
def test_a_cut_file_is_unreadable(name: str, folder: Path) -> None:
    whole = Path(str(get_testdata_file(name))).read_bytes()
    (folder / "cut.dcm").write_bytes(whole[:-2000])
    stock = take_stock([folder], instances_only=True)
    assert [reason for _, reason in stock.broken] == ["unreadable"]


def test_a_file_meta_that_names_another_instance_is_refused(folder: Path) -> None:
    [uid] = put(folder, make_series(instances=1))
    path = folder / f"{uid}.dcm"
    other = uid[:-1] + ("1" if uid[-1] != "1" else "2")
    path.write_bytes(path.read_bytes().replace(uid.encode(), other.encode(), 1))
    stock = take_stock([folder], instances_only=True)
    assert [reason for _, reason in stock.broken] == ["file_meta_differs"]


def test_one_instance_twice_is_delivered_once_and_two_contents_never(folder: Path) -> None:
    first, other = make_series(instances=2)
    put(folder / "a", [first, other])
    put(folder / "b", [first])
    other.PatientComments = "changed"
    put(folder / "b", [other])
    stock = take_stock([folder], instances_only=True)
    assert len(stock.items) == 2 and stock.left_out == {"duplicate": 1}
    assert [reason for _, reason in stock.broken] == ["uid_conflict"]


def test_a_dicomdir_is_no_instance(folder: Path) -> None:
    shutil.copy(str(get_testdata_file("DICOMDIR")), folder / "DICOMDIR")
    stock = take_stock([folder], instances_only=True)
    assert stock.left_out == {"dicomdir": 1} and not stock.broken


def test_two_folders_with_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same").write_text(name)
    with pytest.raises(InputError, match="one name"):
        take_stock([tmp_path / "a", tmp_path / "b"], instances_only=False)


CUT = {"MR_truncated.dcm", "emri_small_jpeg_2k_lossless_too_short.dcm"}
"""Their pixel data end too early, or have no end."""


def test_real_files_are_what_pydicom_says() -> None:
    refused = set()
    number = 0
    for file in real_files():
        try:
            found = identify(file.path)
        except ValueError as error:
            refused.add((file.path.name, str(error)))
            continue
        assert found is not None
        assert found.sop_instance == file.instance.sop_instance
        assert found.transfer_syntax == dcmread(file.path).file_meta.TransferSyntaxUID
        assert (found.study, found.series) == tuple(file.keys)
        number += 1
    assert refused == {(name, "unreadable") for name in CUT}
    assert number > 50
