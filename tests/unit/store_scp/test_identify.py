"""The three UIDs are read from the bytes of every transfer syntax, or not at all."""

from __future__ import annotations

import zlib
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

from pacstream.errors import RejectedError
from pacstream.receiving.identify import identify
from tests.fakes.datasets import make_series

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
BIG, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"


def encoded(dataset: Dataset, syntax: str) -> bytes:
    copy = Dataset()
    copy.update({e.tag: e for e in dataset if e.tag != 0x7FE00010})
    raw = encode(copy, syntax == IMPLICIT, syntax != BIG)
    assert raw is not None
    if syntax != DEFLATED:
        return raw
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflate.compress(raw) + deflate.flush()


def uids_of(dataset: Dataset) -> tuple[str, str, str]:
    return (dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, DEFLATED])
def test_uids_are_found_in_every_encoding(syntax: str) -> None:
    [dataset] = make_series(instances=1)

    assert identify(BytesIO(encoded(dataset, syntax)), syntax) == uids_of(dataset)


def test_uids_are_found_behind_a_long_deflated_head() -> None:
    [dataset] = make_series(instances=1)
    dataset.add_new(0x00091001, "UN", bytes(3_000_000))

    assert identify(BytesIO(encoded(dataset, DEFLATED)), DEFLATED) == uids_of(dataset)


@pytest.mark.parametrize("undefined", [True, False])
def test_uids_of_nested_items_are_not_taken_for_the_data_sets_own(undefined: bool) -> None:
    [dataset] = make_series(instances=1)
    item = Dataset()
    item.SOPInstanceUID, item.SeriesInstanceUID = "1.2.3", "1.2.4"
    dataset.ReferencedSeriesSequence = [item]
    dataset["ReferencedSeriesSequence"].is_undefined_length = undefined
    item.is_undefined_length_sequence_item = undefined

    assert identify(BytesIO(encoded(dataset, EXPLICIT)), EXPLICIT) == uids_of(dataset)


@pytest.mark.parametrize("name", ["MR_small_RLE.dcm", "MR_small_bigendian.dcm", "CT_small.dcm"])
def test_pixels_are_not_needed(name: str) -> None:
    path = Path(str(get_testdata_file(name)))
    dataset = dcmread(path)
    content = path.read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")

    found = identify(BytesIO(content[start : start + 4000]), dataset.file_meta.TransferSyntaxUID)

    assert found == uids_of(dataset)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 64, b"not DICOM at all, but a letter", b"\xff" * 99]
)
def test_bytes_that_are_no_data_set_are_unreadable(content: bytes) -> None:
    with pytest.raises(RejectedError) as raised:
        identify(BytesIO(content), EXPLICIT)

    assert raised.value.code == "unreadable"


@pytest.mark.parametrize("syntax", [EXPLICIT, DEFLATED])
def test_no_cut_of_the_head_gives_a_wrong_uid(syntax: str) -> None:
    [dataset] = make_series(instances=1)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.34567890", "1.2.345678901"
    whole = encoded(dataset, syntax)
    complete = 0
    for length in range(len(whole)):
        try:
            found = identify(BytesIO(whole[:length]), syntax)
        except RejectedError:
            continue
        complete += 1
        assert found == uids_of(dataset)
    assert complete


@pytest.mark.parametrize("uid", ["../../etc", "1.2/3", "1.2 3", "x"])
def test_a_uid_that_is_no_safe_file_name_is_unreadable(uid: str) -> None:
    [dataset] = make_series(instances=1)
    raw = encoded(dataset, EXPLICIT)
    series = dataset.SeriesInstanceUID.encode()

    with pytest.raises(RejectedError):
        identify(BytesIO(raw.replace(series, uid.encode().ljust(len(series), b"\0"))), EXPLICIT)
