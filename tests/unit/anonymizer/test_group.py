"""The instances of a message are released as one group, and what one has taught serves the next."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from pacstream import durable
from pacstream.archive import Archive
from pacstream.durable import FileGroup
from pacstream.errors import PacstreamError, RejectedError, RetryLaterError
from pacstream.keys import create_key
from pacstream.messages import DeidentifyRequested, InstancesDeidentified, Message
from pacstream_anonymizer import release
from pacstream_anonymizer.deidentifier import Learnt, Parsed, Released, Withheld, release_of
from pacstream_anonymizer.gate import Gate
from pacstream_anonymizer.release import release_requested
from tests.unit.anonymizer.instances import INSTANCE, KEY, SERIES, an_instance, order_for, saved

UIDS = tuple(f"{INSTANCE}.{number}" for number in range(3))


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    archive = Archive(tmp_path / "data")
    create_key(archive.keys, "trial")
    for uid in UIDS:
        saved(an_instance(SOPInstanceUID=uid), archive.instance_path(SERIES, uid))
    return archive


def request(folder: Path, uids: tuple[str, ...] = UIDS) -> DeidentifyRequested:
    order = order_for(an_instance(), folder / "out")
    return DeidentifyRequested(batch_id="batch-1", order=order, instances=uids)


def deidentified(*uids: str) -> InstancesDeidentified:
    return InstancesDeidentified(batch_id="batch-1", series_uid=SERIES, instances=uids)


def told_before(error: type[PacstreamError], facts: Iterable[Message]) -> tuple[list[Message], str]:
    """What was published before the handler raised, and the code of the error."""
    told: list[Message] = []
    with pytest.raises(error) as caught:
        for fact in facts:
            told.append(fact)
    return told, caught.value.code


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file()}


def test_an_instance_that_the_disk_refuses_is_not_told_and_brings_the_message_back(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    fdatasync = os.fdatasync

    def second_fails(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(errno.EIO, "no")
        fdatasync(handle)

    monkeypatch.setattr(os, "fdatasync", second_fails)
    told = told_before(RetryLaterError, release_requested(archive, request(tmp_path)))
    assert told == ([deidentified(UIDS[0], UIDS[2])], "disk")
    assert len(files(tmp_path)) == 2
    assert list(release_requested(archive, request(tmp_path))) == [deidentified(*UIDS)]
    assert len(files(tmp_path)) == 3


def test_an_instance_that_is_not_there_stops_no_other(archive: Archive, tmp_path: Path) -> None:
    archive.instance_path(SERIES, UIDS[1]).unlink()
    told = told_before(RejectedError, release_requested(archive, request(tmp_path)))
    assert told == ([deidentified(UIDS[0], UIDS[2])], "original_missing")


def test_an_error_that_time_may_cure_goes_before_one_that_stays(
    archive: Archive, tmp_path: Path
) -> None:
    archive.instance_path(SERIES, UIDS[0]).unlink()
    (tmp_path / "out").write_text("a file where a folder must be")
    told = told_before(RetryLaterError, release_requested(archive, request(tmp_path)))
    assert told == ([], "disk")


def test_nothing_is_told_before_it_is_durable(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[Path] = []
    monkeypatch.setattr(durable, "flush_folder", flushed.append)
    (fact,) = release_requested(archive, request(tmp_path))
    assert fact == deidentified(*UIDS)
    (folder,) = {path.parent for path in files(tmp_path)}
    assert flushed.count(folder) == 1


def kill_at(line: int) -> None:
    """From now on: die without a farewell before the so many-th line of the group's code."""
    left = [line]

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        if frame.f_code.co_filename not in (durable.__file__, release.__file__):
            return None
        if event == "line":
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def run_and_die(archive: Archive, message: DeidentifyRequested, line: int) -> bool:
    """Handle the message in a child that is killed; False if it came to its end before."""
    child = os.fork()
    if child == 0:
        kill_at(line)
        list(release_requested(archive, message))
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_a_process_killed_at_any_line_leaves_only_what_the_next_run_removes(
    archive: Archive, tmp_path: Path
) -> None:
    message = request(tmp_path, UIDS[:2])
    list(release_requested(archive, message))
    whole = files(tmp_path)
    line = 0
    while True:
        line += 1
        shutil.rmtree(tmp_path / "out")
        if not run_and_die(archive, message, line):
            break
        left = files(tmp_path) if (tmp_path / "out").exists() else {}
        named = {path: content for path, content in left.items() if path.name[0] != "."}
        assert named.items() <= whole.items(), line
        assert list(release_requested(archive, message)) == [deidentified(*UIDS[:2])]
        assert files(tmp_path) == whole, line
    assert line > 100


NAMES = st.sampled_from(["Quixotesson^Ambrosius", "Vandersloot^Maj", "Äßling^Ûte", ""])
TEXTS = st.sampled_from(
    ["", "Vandersloot", "7", "ACC-55120", "for Quixotesson", "Äßling", "Mini 3"]
)
CREATORS = st.sampled_from(["SIEMENS MR HEADER", "ACMECOM MR HEADER", "GEMS_ACQU_01"])
"""The bytes of a private element do not tell whose it is."""
BLOCKS = st.lists(
    st.tuples(CREATORS, st.lists(st.sampled_from([b"1 ", b"MRN-88213 "]), max_size=2)), max_size=2
)
OTHER_IDS = st.lists(st.sampled_from(["Mini 3", "7", "OLD-11"]), max_size=2)
ATTRIBUTES = st.fixed_dictionaries(
    {},
    optional={
        "PatientName": NAMES,
        "PatientBirthName": NAMES,
        "AccessionNumber": TEXTS,
        "ManufacturerModelName": TEXTS,
        "ProtocolName": TEXTS,
        "SequenceName": TEXTS,
        "PatientBirthDate": st.sampled_from(["19410307", "19500101", ""]),
        "ContentDate": st.sampled_from(["20240301", "19500101"]),
        "PatientAge": st.sampled_from(["007Y", "093Y"]),
        "SpecificCharacterSet": st.sampled_from(["ISO_IR 100", "ISO_IR 192"]),
        "FrameOfReferenceUID": st.sampled_from(["1.2.826.0.1.77.9", "1.2.826.0.1.77.10"]),
        "BurnedInAnnotation": st.sampled_from(["YES", "NO"]),
        "PatientID": st.sampled_from(["MRN-88213", "MRN-88213 ", "other"]),
    },
)
SYNTAXES = st.sampled_from(
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ]
)


Blocks = list[tuple[str, list[bytes]]]
"""Private blocks of group 0019: the creator, and values of elements xx0C and following."""


def instance(
    number: int, attributes: dict[str, Any], others: list[str], blocks: Blocks | None = None
) -> Dataset:
    data_set = an_instance(SpecificCharacterSet="ISO_IR 192")
    for keyword, value in attributes.items():
        setattr(data_set, keyword, value)
    data_set.SOPInstanceUID = f"{INSTANCE}.{number}"
    for block, (creator, values) in enumerate(blocks or [], 0x10):
        data_set.add_new(0x00190000 | block, "LO", creator)
        for place, value in enumerate(values, 0x0C):
            data_set.add_new(0x00190000 | block << 8 | place, "UN", value)
    data_set.OtherPatientIDsSequence = []
    code, study = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "T-D1100", "SRT", "Head"
    study.ReferencedSOPInstanceUID = str(data_set.FrameOfReferenceUID)
    study.PurposeOfReferenceCodeSequence = [code]
    data_set.ReferencedStudySequence = [study]
    for one in others:
        item = Dataset()
        item.PatientID = one
        data_set.OtherPatientIDsSequence.append(item)
    return data_set


Described = tuple[dict[str, Any], list[str], Blocks, str]


def with_and_without_memory(series: list[Described]) -> list[list[tuple[str, bytes]]]:
    """What becomes of the instances of a series where all is remembered, and where nothing is."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = [
            saved(instance(number, attributes, others, blocks), folder / f"{number}.dcm", syntax)
            for number, (attributes, others, blocks, syntax) in enumerate(series)
        ]
        order, memory = order_for(an_instance()), Gate(remembered=2)
        with FileGroup() as group:
            together = release_of(order, KEY, folder / "with", group, gate=memory)
            remembering = [together.add(source) for source in sources]
            assert group.commit() == {}
        with FileGroup() as group:
            forgetting = [
                replace(
                    release_of(order, KEY, folder / "without", group, gate=Gate(remembered=0)),
                    parsed=Parsed(room=0),
                    learnt=Learnt(0),
                ).add(source)
                for source in sources
            ]
            assert group.commit() == {}
        return [[outcome(result) for result in results] for results in (remembering, forgetting)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ATTRIBUTES, OTHER_IDS, BLOCKS, SYNTAXES), min_size=2, max_size=6))
def test_what_is_remembered_changes_no_verdict_and_no_byte(series: list[Described]) -> None:
    remembering, forgetting = with_and_without_memory(series)
    assert remembering == forgetting


def test_private_elements_are_those_of_their_creator_also_if_they_come_together() -> None:
    siemens, acme = "SIEMENS MR HEADER", "ACMECOM MR HEADER"
    values = [b"-54321", b"DIRECTIONAL "]
    series: list[Described] = [
        ({}, [], [(creator, values)], ImplicitVRLittleEndian)
        for creator in (siemens, acme, siemens, siemens, acme, acme, siemens)
    ]
    remembering, forgetting = with_and_without_memory(series)
    assert remembering == forgetting
    kept = [values[0] in content for _, content in remembering]
    assert kept == [True, False, True, True, False, False, True]


def test_the_same_bytes_in_another_character_set_are_another_text(tmp_path: Path) -> None:
    models = {"ISO_IR 192": "Zürich 3", "ISO_IR 100": "ZÃ¼rich 3"}
    with FileGroup() as group:
        release = release_of(order_for(an_instance()), KEY, tmp_path / "out", group)
        for number, (character_set, model) in enumerate(models.items()):
            data_set = instance(number, {"SpecificCharacterSet": character_set}, [])
            data_set.ManufacturerModelName = model
            release.add(saved(data_set, tmp_path / f"{number}.dcm"))
        assert group.commit() == {}
    contents = [path.read_bytes() for path in (tmp_path / "out").rglob("*.dcm")]
    assert all(any(model.encode() in content for content in contents) for model in models.values())


def outcome(result: Released | Withheld) -> tuple[str, bytes]:
    if isinstance(result, Withheld):
        return result.reason, b""
    return result.path.name, result.path.read_bytes()
