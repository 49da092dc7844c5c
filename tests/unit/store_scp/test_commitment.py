"""Storage commitment: who is told what, on which association, and what survives a kill."""

from __future__ import annotations

import os
import queue
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.dsutils import encode

from pacstream.archive import Archive
from pacstream.errors import InputError
from pacstream.settings import load_settings
from pacstream_store_scp import reports as reports_module
from pacstream_store_scp.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE, Reference
from pacstream_store_scp.holdings import Holdings
from tests.fakes.datasets import uid_from
from tests.fakes.upper_layer import (
    COMMAND,
    IMPLICIT_LITTLE,
    LAST,
    Context,
    Instance,
    associate_rq,
    command_set,
    fragments,
    p_data,
    store_pdus,
    user_items,
)
from tests.unit.store_scp.committing import (
    Reports,
    ask,
    committed,
    failed,
    listening,
    new_transaction,
    request,
    sender,
)
from tests.unit.store_scp.scp import Announcements, free_port, new_settings, running, wait_for
from tests.unit.store_scp.test_process import started, wait_until_listening
from tests.unit.store_scp.watched import CT, CT_CONTEXT, SERIES, STUDY, WatchedScp, plain_instance

MR = "1.2.840.10008.5.1.4.1.1.4"
MPPS = "1.2.840.10008.3.1.2.3.3"
VERIFICATION = "1.2.840.10008.1.1"
PUSH_CONTEXT = Context(3, PUSH_MODEL, (IMPLICIT_LITTLE,))
NOWHERE = uid_from("nowhere")

PROCESSING_FAILURE, NO_SUCH_INSTANCE, CONFLICT = 0x0110, 0x0112, 0x0119
INVALID_ARGUMENT, NO_SUCH_CLASS, NOT_SUPPORTED = 0x0115, 0x0118, 0x0122
NO_SUCH_ACTION, RESOURCE_LIMITATION = 0x0123, 0x0213


def records(archive: Archive) -> list[Path]:
    return list((archive.state / "commitments").glob("*.json"))


def n_action(data: bytes, message_id: int = 9) -> bytes:
    """The PDUs of a right N-ACTION-RQ with this data set."""
    command = command_set(
        {
            0x0003: PUSH_MODEL,
            0x0100: 0x0130,
            0x0110: message_id,
            0x0800: 1,
            0x1001: PUSH_MODEL_INSTANCE,
            0x1008: 1,
        }
    )
    parts = [*fragments(3, command, COMMAND, 16372), *fragments(3, data, 0, 16372)]
    return b"".join(p_data(part) for part in parts)


def encoded(action: Dataset) -> bytes:
    content = encode(action, True, True)
    assert content is not None
    return content


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"]
)
def test_what_was_just_stored_is_committed_on_the_same_association(
    scp: WatchedScp, syntax: str
) -> None:
    told, instances = Reports(), [scp.ordered() for _ in range(5)]
    with scp.associated() as storing:
        assert {storing.store(instance) for instance in instances} == {0}
        with sender(scp.port, told, syntax) as association:
            assert ask(association, [(CT, i.sop_instance) for i in instances]) == 0
            event_type, event = told.next()
        storing.release()

    assert event_type == 1
    assert event.TransactionUID == new_transaction()
    assert committed(event) == [instance.sop_instance for instance in instances]
    assert "FailedSOPSequence" not in event
    assert all(scp.holds(instance) for instance in instances)
    wait_for(lambda: records(scp.archive) == [])


def test_each_instance_that_is_not_committed_has_its_reason(
    scp: WatchedScp, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, of_other_class, conflicting = scp.ordered(), scp.ordered(), scp.ordered()
    unrequested = plain_instance(1, series_uid=uid_from("unrequested"))
    with scp.associated() as storing:
        assert [storing.store(i) for i in (kept, of_other_class, conflicting)] == [0, 0, 0]
        wait_for(lambda: scp.holds(conflicting))
        other = replace_content(conflicting)
        assert storing.store(other) == 0xB000
        assert storing.store(unrequested) == 0xA900
        storing.release()
    references = [
        (CT, kept.sop_instance),
        (MR, of_other_class.sop_instance),
        (CT, conflicting.sop_instance),
        (CT, unrequested.sop_instance),
        (CT, NOWHERE),
        (MPPS, kept.sop_instance + ".1"),
    ]
    told = Reports()
    with sender(scp.port, told) as association:
        assert ask(association, references) == 0
        event_type, event = told.next()

    assert event_type == 2
    assert committed(event) == [kept.sop_instance]
    assert failed(event) == {
        of_other_class.sop_instance: CONFLICT,
        conflicting.sop_instance: PROCESSING_FAILURE,
        unrequested.sop_instance: NO_SUCH_INSTANCE,
        NOWHERE: NO_SUCH_INSTANCE,
        kept.sop_instance + ".1": NOT_SUPPORTED,
    }


def replace_content(instance: Instance) -> Instance:
    """The same UIDs, other pixels."""
    return instance._replace(data=instance.data[:-2] + b"\xff\xff")


def test_a_file_that_cannot_be_read_is_a_processing_failure(scp: WatchedScp) -> None:
    instance = scp.ordered()
    scp.takes(instance)
    path = scp.archive.instance_path(SERIES, instance.sop_instance)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(b"no DICOM")
    holdings = Holdings(scp.archive, 0.0)

    assert holdings.failures([Reference(CT, instance.sop_instance)]) == [PROCESSING_FAILURE]
    path.write_bytes(content)
    assert holdings.failures([Reference(CT, instance.sop_instance)]) == [0]


def test_an_instance_that_another_process_is_committing_is_waited_for(tmp_path: Path) -> None:
    """Another process has it under a temporary name; the name comes while we wait."""
    archive, patience_s = Archive(tmp_path), 2.0
    folder = archive.series_folder(SERIES)
    folder.mkdir(parents=True)
    part = folder / ".other.1.part"
    instance = plain_instance(1)
    from pacstream.receiving.part10 import file_meta

    part.write_bytes(file_meta(CT, instance.sop_instance, instance.syntax) + instance.data)
    reference = Reference(CT, instance.sop_instance)
    assert Holdings(archive, 0.1).failures([reference]) == [NO_SUCH_INSTANCE]
    import threading

    rename = threading.Timer(0.3, part.rename, [folder / f"{instance.sop_instance}.dcm"])
    rename.start()
    try:
        assert Holdings(archive, patience_s).failures([reference]) == [0]
    finally:
        rename.join()
