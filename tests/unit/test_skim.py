"""The walk over a header says what pydicom reads, or nothing."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_files
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from pacstream.skim import Skimmed, skim, skim_file

NAME, ID, OTHER_IDS, ROWS = 0x00100010, 0x00100020, 0x00101002, 0x00280010
TAGS = frozenset({0x00080005, 0x00080008, 0x00080016, 0x00080018, NAME, ID, OTHER_IDS, ROWS})


def a_file(transfer_syntax: str = ExplicitVRLittleEndian, *, undefined: bool = False) -> bytes:
    data_set = Dataset()
    data_set.SOPClassUID, data_set.SOPInstanceUID = CTImageStorage, "1.2.3"
    data_set.PatientName, data_set.PatientID = "Quixotesson^A", "MRN-1"
    item, inner = Dataset(), Dataset()
    item.PatientID, inner.PatientID = "OLD-1", "OLDER"
    item.OtherPatientIDsSequence = [inner]
    data_set.OtherPatientIDsSequence = [item]
    for one in (data_set, item):
        one["OtherPatientIDsSequence"].is_undefined_length = undefined
    item.is_undefined_length_sequence_item = undefined
    data_set.Rows = data_set.Columns = 2
    data_set.BitsAllocated, data_set.PixelData = 8, b"\0\1\2\3"
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = transfer_syntax
    buffer = DicomBytesIO()
    data_set.save_as(buffer, enforce_file_format=True)
    content: bytes = buffer.getvalue()
    return content


def values(skimmed: Skimmed | None) -> dict[int, bytes]:
    assert skimmed is not None
    return {tag: value for tag, (_, value) in skimmed.elements.items()}


def read(content: bytes) -> dict[int, bytes | list[object]]:
    """What pydicom finds, values as they stand there; sequences only by their presence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set = dcmread(
            DicomBytesIO(content), stop_before_pixels=True, specific_tags=[*TAGS], force=True
        )
        raw = {int(tag): data_set.get_item(tag).value for tag in list(data_set.keys())}
    return {tag: value if isinstance(value, bytes) else [] for tag, value in raw.items()}


def agrees(skimmed: Skimmed, content: bytes) -> bool:
    theirs = read(content)
    ours = {tag: value if theirs.get(tag) != [] else [] for tag, value in values(skimmed).items()}
    return ours == theirs


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
)
@pytest.mark.parametrize("undefined", [False, True])
def test_values_are_the_bytes_of_the_file(syntax: str, undefined: bool) -> None:
    content = a_file(syntax, undefined=undefined)
    skimmed = skim(content, TAGS)
    assert skimmed is not None and skimmed.transfer_syntax == syntax
    assert values(skimmed)[ID] == b"MRN-1 "
    assert b"OLD-1" in values(skimmed)[OTHER_IDS] and b"OLDER" in values(skimmed)[OTHER_IDS]
    assert agrees(skimmed, content)


def test_deflated_data_sets_and_files_without_prefix_are_left_to_pydicom(tmp_path: Path) -> None:
    assert skim(a_file(DeflatedExplicitVRLittleEndian), TAGS) is None
    assert skim(a_file()[132:], TAGS) is None
    (tmp_path / "empty").write_bytes(b"")
    assert skim_file(tmp_path / "empty", TAGS) is None


def test_elements_out_of_order_or_twice_are_left_to_pydicom() -> None:
    content = a_file()
    rows = content.index(b"\x28\x00\x10\x00US\x02\x00")
    element = content[rows : rows + 10]
    assert skim(content[:rows] + element + content[rows:], TAGS) is None
    name = content.index(b"\x10\x00\x10\x00PN")
    assert skim(content[:name] + element + content[name:], TAGS) is None


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        (b"\xfe\xff\xdd\xe0\0\0\0\0", b"\xfe\xff\x0d\xe0\0\0\0\0"),
        (b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0"),
        (b"\xfe\xff\x00\xe0", b"\x10\x00\x20\x00"),
    ],
)
def test_a_sequence_with_a_delimiter_too_many_or_too_few_is_left_to_pydicom(
    there: bytes, instead: bytes
) -> None:
    content = a_file(undefined=True)
    assert there in content
    assert skim(content.replace(there, instead, 1), TAGS) is None


@pytest.mark.parametrize(
    ("written", "claimed"),
    [
        (ExplicitVRLittleEndian, ImplicitVRLittleEndian),
        (ImplicitVRLittleEndian, ExplicitVRLittleEndian),
    ],
)
def test_a_file_whose_encoding_is_not_what_it_says_is_left_to_pydicom(
    written: str, claimed: str
) -> None:
    def element(uid: str) -> bytes:
        value = uid.encode() + b"\0" * (len(uid) % 2)
        return b"\x02\x00\x10\x00UI" + len(value).to_bytes(2, "little") + value

    content = a_file(written)
    assert element(written) in content
    assert skim(content.replace(element(written), element(claimed)), TAGS) is None


def real_files() -> list[Path]:
    found = {Path(name) for name in get_testdata_files() if "pydicom/data" in name}
    return sorted(path for path in found if path.is_file() and path.suffix == ".dcm")


def test_real_files_are_read_as_pydicom_reads_them() -> None:
    sure = 0
    for path in real_files():
        skimmed = skim_file(path, TAGS)
        if skimmed is not None:
            sure += 1
            assert agrees(skimmed, path.read_bytes()), path.name
    assert sure > len(real_files()) // 2


@settings(max_examples=1000, deadline=None)
@given(st.data())
def test_a_damaged_file_is_read_as_pydicom_reads_it_or_not_at_all(data: st.DataObject) -> None:
    content = bytearray(
        a_file(
            data.draw(st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian])),
            undefined=data.draw(st.booleans()),
        )
    )
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(132, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = st.integers(132, len(content)) | st.just(len(content))
    damaged = bytes(content[: data.draw(cut)])
    skimmed = skim(damaged, TAGS)
    event("sure" if skimmed else "in doubt")
    if skimmed is not None:
        assert agrees(skimmed, damaged)
