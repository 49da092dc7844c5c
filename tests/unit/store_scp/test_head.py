"""The quick look at a data set's head says what the thorough reader says, or nothing."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_testdata_files
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pynetdicom.dsutils import encode

from pacstream.errors import RejectedError
from pacstream.receiving.head import identity_in
from pacstream.receiving.identify import Identity, identify
from tests.fakes.datasets import make_series

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"


def thorough(head: bytes, syntax: str) -> Identity | None:
    try:
        return identify(BytesIO(head), syntax)
    except RejectedError:
        return None


def head_with_sequences(syntax: str, *, undefined: bool = True) -> bytes:
    [dataset] = make_series(instances=1)
    item, inner = Dataset(), Dataset()
    inner.SOPInstanceUID, inner.SeriesInstanceUID = "1.2.3", "1.2.4"
    item.ReferencedSOPSequence = [inner]
    dataset.ReferencedStudySequence = [item, inner]
    for sequence, members in (
        (dataset["ReferencedStudySequence"], [item, inner]),
        (item["ReferencedSOPSequence"], [inner]),
    ):
        sequence.is_undefined_length = undefined
        for member in members:
            member.is_undefined_length_sequence_item = undefined
    raw = encode(dataset, syntax == IMPLICIT, syntax != BIG)
    assert raw is not None
    return raw


@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
def test_sequences_before_the_uids_are_walked_over(syntax: str, undefined: bool) -> None:
    raw = head_with_sequences(syntax, undefined=undefined)

    found = identity_in(raw, syntax)

    assert found is not None and found == thorough(raw, syntax)


def test_every_real_file_is_understood_alike() -> None:
    understood = 0
    for name in get_testdata_files("*.dcm"):
        try:
            dataset = dcmread(name, stop_before_pixels=True)
        except InvalidDicomError:
            continue
        syntax = str(dataset.file_meta.get("TransferSyntaxUID", "")) if dataset.file_meta else ""
        raw = Path(name).read_bytes()
        if not syntax or raw[128:132] != b"DICM":
            continue
        start = 144 + int.from_bytes(raw[140:144], "little")
        found = identity_in(raw[start : start + (1 << 16)], syntax)
        if found is not None:
            understood += 1
            assert found == thorough(raw[start:], syntax), name
    assert understood > 60


def test_a_head_that_is_not_all_here_says_nothing_yet() -> None:
    raw = head_with_sequences(EXPLICIT)
    whole = identity_in(raw, EXPLICIT)
    assert whole is not None
    end = raw.index(whole.series_uid.encode()) + len(whole.series_uid)

    assert identity_in(raw[: end - 1], EXPLICIT) is None


def test_a_deflated_data_set_is_left_to_the_thorough_reader() -> None:
    assert identity_in(head_with_sequences(EXPLICIT), DEFLATED) is None


@settings(max_examples=300, deadline=None)
@given(
    syntax=st.sampled_from([IMPLICIT, EXPLICIT, BIG]),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 2000),
)
def test_damaged_heads_never_give_another_identity(
    syntax: str, changes: list[tuple[int, int]], cut: int
) -> None:
    raw = bytearray(head_with_sequences(syntax)[: 2000 - cut])
    for at, value in changes:
        if at < len(raw):
            raw[at] = value

    found = identity_in(bytes(raw), syntax)

    # the thorough one also refuses heads that hold the UIDs, but a value that it can't decode
    assert found is None or thorough(bytes(raw), syntax) in (None, found)
