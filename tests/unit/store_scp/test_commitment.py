"""Storage commitment: who is told what, on which association, and what survives a kill."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

from demo.pacs import OrthancPacs
from pacstream.archive import Archive
from pacstream.errors import InputError
from pacstream.receiving.part10 import file_meta
from pacstream.settings import load_settings
from pacstream_store_scp.commitment import (
    LONGEST_REQUEST,
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    Reference,
)
from pacstream_store_scp.holdings import Holdings
from pacstream_store_scp.reports import Peers, Reporter
from pacstream_store_scp.transactions import MOST_OPEN, Transaction, Transactions
from tests.fakes.datasets import make_series, uid_from
from tests.fakes.sender import Sender
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
from tests.unit.store_scp.processes import started, wait_until_listening
from tests.unit.store_scp.scp import (
    Announcements,
    free_port,
    new_settings,
    order_for,
    running,
    saved,
    wait_for,
)
from tests.unit.store_scp.watched import CT, CT_CONTEXT, SERIES, WatchedScp, plain_instance

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


def test_each_instance_that_is_not_committed_has_its_reason(scp: WatchedScp) -> None:
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
    part.write_bytes(file_meta(CT, instance.sop_instance, instance.syntax) + instance.data)
    reference = Reference(CT, instance.sop_instance)
    assert Holdings(archive, 0.1).failures([reference]) == [NO_SUCH_INSTANCE]
    rename = threading.Timer(0.3, part.rename, [folder / f"{instance.sop_instance}.dcm"])
    rename.start()
    try:
        assert Holdings(archive, patience_s).failures([reference]) == [0]
    finally:
        rename.join()


def test_an_instance_of_this_process_is_waited_for_until_it_has_its_name(tmp_path: Path) -> None:
    archive, instance = Archive(tmp_path), plain_instance(1)
    archive.series_folder(SERIES).mkdir(parents=True)
    holdings = Holdings(archive, 2.0)
    holdings.note(SERIES, instance.sop_instance)
    part = tmp_path / "part"
    part.write_bytes(file_meta(CT, instance.sop_instance, instance.syntax) + instance.data)
    final = archive.instance_path(SERIES, instance.sop_instance)
    commit = threading.Timer(0.3, part.rename, [final])
    commit.start()
    try:
        assert holdings.failures([Reference(CT, instance.sop_instance)]) == [0]
    finally:
        commit.join()


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ({"action_type": 2}, NO_SUCH_ACTION),
        ({"instance_uid": "1.2.840.10008.1.20.1.2"}, NO_SUCH_INSTANCE),
        ({"class_uid": VERIFICATION, "meta_uid": PUSH_MODEL}, NO_SUCH_CLASS),
    ],
)
def test_a_wrong_command_is_refused_with_its_status(
    command: dict[str, Any], status: int, scp: WatchedScp
) -> None:
    told = Reports()
    with sender(scp.port, told) as association:
        assert ask(association, [(CT, NOWHERE)], **command) == status
    assert records(scp.archive) == []


def _without(keyword: str) -> bytes:
    action = request([(CT, NOWHERE)], new_transaction())
    delattr(action, keyword)
    return encoded(action)


@pytest.mark.parametrize(
    "data",
    [
        _without("TransactionUID"),
        _without("ReferencedSOPSequence"),
        encoded(request([], new_transaction())),
        encoded(request([("", NOWHERE)], new_transaction())),
        encoded(request([(CT, "../../etc")], new_transaction())),
        encoded(request([(CT, NOWHERE)], "GARBAGE-VALUE")),
        b"GARBAGE-VALUE" * 9,
        bytes.fromhex("08009911 ffffffff feff00e0 ffffffff") * 2000,
    ],
    ids=["no transaction", "no sequence", "empty", "no class", "path", "no UID", "junk", "deep"],
)
def test_action_information_that_names_nothing_is_refused(data: bytes, scp: WatchedScp) -> None:
    with scp.associated(CT_CONTEXT, PUSH_CONTEXT) as asking:
        asking.send(n_action(data))
        assert asking.status() == INVALID_ARGUMENT
        scp.stays_usable(asking)
    assert records(scp.archive) == []


def test_a_request_beyond_its_limit_is_refused_and_the_association_goes_on(
    scp: WatchedScp,
) -> None:
    with scp.associated(CT_CONTEXT, PUSH_CONTEXT) as asking:
        asking.send(n_action(bytes(LONGEST_REQUEST + 2)))
        assert asking.status() == RESOURCE_LIMITATION
        scp.stays_usable(asking)


def test_a_request_too_many_is_refused(scp: WatchedScp) -> None:
    folder, token = scp.archive.state / "commitments", living_token(scp.archive)
    folder.mkdir(parents=True)
    for number in range(MOST_OPEN):
        (folder / f"{token}.x{number}.json").touch()
    told = Reports()
    with sender(scp.port, told) as association:
        assert ask(association, [(CT, NOWHERE)]) == RESOURCE_LIMITATION
        (folder / f"{token}.x0.json").unlink()
        assert ask(association, [(CT, NOWHERE)]) == 0
        told.next()


def living_token(archive: Archive) -> str:
    [lock] = archive.run.glob("receiver.*.lock")
    return lock.name.split(".")[1]


def test_the_report_waits_for_the_end_of_a_message_that_is_under_way(scp: WatchedScp) -> None:
    asked = encoded(request([(CT, NOWHERE)], new_transaction()))
    first, *rest = store_pdus(scp.ordered(4096), size=1024)
    with scp.associated(CT_CONTEXT, PUSH_CONTEXT) as asking:
        asking.send(n_action(asked))
        assert asking.status() == 0
        asking.send(first)
        asking.socket.settimeout(1.5)
        with pytest.raises(TimeoutError):
            asking.read()
        asking.socket.settimeout(10)
        asking.send(b"".join(rest))
        response, report = asking.response(), asking.response()
        assert asking.read() is not None  # the event information
        answer = {0x0100: 0x8100, 0x0120: 1, 0x0800: 0x0101, 0x0900: 0}
        asking.send(p_data(*fragments(3, command_set(answer), COMMAND, 16372)))
        wait_for(lambda: records(scp.archive) == [])
        scp.stays_usable(asking)

    assert int.from_bytes(response[0x0100], "little") == 0x8001
    assert int.from_bytes(report[0x0100], "little") == 0x0100
    assert int.from_bytes(report[0x1002], "little") == 2


def test_a_report_keeps_to_the_senders_longest_pdu(scp: WatchedScp) -> None:
    references = [(CT, uid_from("nowhere", n)) for n in range(50)]
    with scp.connect() as asking:
        asking.send(associate_rq([PUSH_CONTEXT], longest=256))
        asking.read()
        asking.send(n_action(encoded(request(references, new_transaction()))))
        assert asking.status() == 0
        content = b""
        while True:
            pdu = asking.read()
            assert pdu is not None and len(pdu.body) <= 256
            content += b"" if pdu.body[5] & COMMAND else pdu.body[6:]
            if pdu.body[5] == LAST:
                break
        asking.release()
    assert content.count(b"\x08\x00\x97\x11") == 50


def test_a_sender_is_scu_of_commitment_and_nothing_else(scp: WatchedScp) -> None:
    roles = []
    for scu, scp_role in ((1, 0), (1, 1)):
        proposal = len(PUSH_MODEL).to_bytes(2) + PUSH_MODEL.encode() + bytes([scu, scp_role])
        item = b"\x54\0" + len(proposal).to_bytes(2) + proposal
        with scp.connect() as asking:
            asking.send(associate_rq([PUSH_CONTEXT], further=item))
            answer = asking.read()
            assert answer is not None
            roles += [role[-2:] for role in user_items(answer)[0x54]]
            asking.release()
    assert roles == [b"\1\0", b"\1\0"]


@contextmanager
def reporter(
    archive: Archive, peers: Peers, *pauses_s: float, patience_s: float = 0.0
) -> Iterator[tuple[Reporter, Transactions]]:
    transactions = Transactions(archive, "token")
    working = Reporter(
        transactions, Holdings(archive, patience_s), peers, pauses_s=pauses_s, response_s=1.0
    )
    working.start()
    yield working, transactions
    working.stop(5.0)


def asked_for(*references: Reference) -> Transaction:
    return Transaction(
        calling_aet="SENDER",
        called_aet="OURS",
        transaction_uid=new_transaction(),
        references=references,
    )


def test_a_sender_that_has_released_is_told_on_an_association_of_our_own(tmp_path: Path) -> None:
    port, told = free_port(), Reports()
    settings = new_settings(tmp_path, store_commitment_peers=f"SENDER=127.0.0.1:{port}")
    announced = Announcements()
    with running(settings, announced), listening(port, told):
        scp = WatchedScp(settings.store_port, Archive(tmp_path), announced)
        instance = scp.ordered()
        scp.takes(instance)
        with sender(settings.store_port, told) as association:
            assert ask(association, [(CT, instance.sop_instance)]) == 0
        event_type, event = told.next()
        wait_for(lambda: records(scp.archive) == [])

    assert (event_type, committed(event)) == (1, [instance.sop_instance])
    assert told.by == [("PACSTREAM", False, True)]


def test_a_sender_that_does_not_answer_is_told_on_an_association_of_our_own(
    tmp_path: Path,
) -> None:
    port, told = free_port(), Reports()
    archive = Archive(tmp_path)
    with listening(port, told), reporter(archive, {"SENDER": ("127.0.0.1", port)}) as (work, open_):
        work.begin(open_.open(asked_for(Reference(CT, NOWHERE))), lambda report: None)
        assert failed(told.next()[1]) == {NOWHERE: NO_SUCH_INSTANCE}
        wait_for(lambda: records(archive) == [])


def test_a_sender_that_answers_is_not_told_twice(tmp_path: Path) -> None:
    port, told, archive = free_port(), Reports(), Archive(tmp_path)
    with listening(port, told), reporter(archive, {"SENDER": ("127.0.0.1", port)}) as (work, open_):
        work.begin(open_.open(asked_for(Reference(CT, NOWHERE))), lambda report: 0)
        wait_for(lambda: records(archive) == [])
    with pytest.raises(queue.Empty):
        told.next(0.2)


@pytest.mark.parametrize("trouble", ["nobody listens", "refused"])
def test_a_report_that_is_not_taken_is_tried_again(trouble: str, tmp_path: Path) -> None:
    port, told, archive = free_port(), Reports(), Archive(tmp_path)
    with reporter(archive, {"SENDER": ("127.0.0.1", port)}, 0.2, 0.5, 0.5) as (work, transactions):
        if trouble == "refused":
            told.status = PROCESSING_FAILURE
            with listening(port, told):
                work.resume([transactions.open(asked_for(Reference(CT, NOWHERE)))])
                told.next()
            told.status = 0
        else:
            work.resume([transactions.open(asked_for(Reference(CT, NOWHERE)))])
            time.sleep(0.2)
        assert len(records(archive)) == 1
        with listening(port, told):
            assert failed(told.next()[1]) == {NOWHERE: NO_SUCH_INSTANCE}
            wait_for(lambda: records(archive) == [])


@pytest.mark.parametrize("address", [True, False])
def test_a_report_that_nobody_takes_is_given_up(
    address: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archive = Archive(tmp_path)
    peers = {"SENDER": ("127.0.0.1", free_port())} if address else {}
    with caplog.at_level("INFO"), reporter(archive, peers, 0.1) as (work, transactions):
        work.begin(transactions.open(asked_for(Reference(CT, NOWHERE))), lambda report: None)
        wait_for(lambda: records(archive) == [])
    [told] = [line for line in caplog.records if line.name == "pacstream_store_scp.reports"]
    assert told.getMessage() == "commitment not reported"
    assert told.fields["outcome"] == ("pacs_unreachable" if address else "no_address")  # type: ignore[attr-defined]


def test_a_killed_process_leaves_the_report_to_the_next(tmp_path: Path) -> None:
    """The sender has its N-ACTION-RSP, and never the report, when the process is killed."""
    port, told, archive = free_port(), Reports(), Archive(tmp_path / "data")
    instance = plain_instance(1)
    announced = Announcements()
    with started(archive.root, port) as process:
        wait_until_listening(process)
        WatchedScp(port, archive, announced)
        with Sender(port).associate(CT_CONTEXT, PUSH_CONTEXT) as asking:
            assert asking.store(instance) == 0
            references = [(CT, instance.sop_instance), (CT, NOWHERE)]
            asking.send(n_action(encoded(request(references, new_transaction()))))
            assert asking.status() == 0
            process.kill()
            process.wait()
            assert asking.rest() == []
    assert len(records(archive)) == 1
    peer = free_port()
    settings = new_settings(archive.root, store_commitment_peers=f"SENDER=127.0.0.1:{peer}")
    with listening(peer, told), running(settings, announced):
        event_type, event = told.next(20)
        wait_for(lambda: records(archive) == [])

    assert event_type == 2
    assert event.TransactionUID == new_transaction()
    assert (committed(event), failed(event)) == (
        [instance.sop_instance],
        {NOWHERE: NO_SUCH_INSTANCE},
    )


def test_what_a_sibling_received_is_committed_and_its_records_are_left_alone(
    tmp_path: Path,
) -> None:
    archive, told, announced = Archive(tmp_path / "data"), Reports(), Announcements()
    instance = plain_instance(1)
    one, other = new_settings(archive.root), new_settings(archive.root)
    with running(one, announced):
        WatchedScp(one.store_port, archive, announced).takes(instance)
        theirs = archive.state / "commitments" / f"{living_token(archive)}.7.json"
        theirs.parent.mkdir(parents=True)
        theirs.write_text(asked_for(Reference(CT, NOWHERE)).model_dump_json())
        with running(other, announced), sender(other.store_port, told) as association:
            assert ask(association, [(CT, instance.sop_instance)]) == 0
            assert told.next()[0] == 1
        assert theirs.exists()


@pytest.mark.parametrize(
    "places",
    [
        "PACS",
        "PACS=host",
        "PACS=host:0",
        "PACS=host:70000",
        "=host:104",
        "A=h:1,A=h:2",
        "A=h:1,",
        "SEVENTEEN-LETTERS=host:104",
        "PACS=two words:104",
    ],
)
def test_peers_that_are_no_addresses_are_told_at_the_start(places: str) -> None:
    with pytest.raises(InputError, match="PACSTREAM_STORE_COMMITMENT_PEERS"):
        load_settings({"PACSTREAM_STORE_COMMITMENT_PEERS": places})


def test_peers_are_read_from_the_environment() -> None:
    settings = load_settings({"PACSTREAM_STORE_COMMITMENT_PEERS": "CT 1=ct1:104, B=[::1]:11112"})

    assert settings.commitment_peers == {"CT 1": ("ct1", 104), "B": ("::1", 11112)}
    assert load_settings({}).commitment_peers == {}


@pytest.mark.pacs
def test_orthanc_learns_what_is_committed(tmp_path: Path) -> None:
    """It releases at once and takes the report on an association to itself."""
    instances, archive, announced = (
        make_series(instances=3),
        Archive(tmp_path / "data"),
        Announcements(),
    )
    port = free_port()
    pacs = OrthancPacs(tmp_path / "orthanc", {"PACSTREAM": ("127.0.0.1", port)}, nodelay=True)
    settings = new_settings(
        archive.root, store_port=port, store_commitment_peers=f"{pacs.aet}=127.0.0.1:{pacs.port}"
    )
    archive.write_order(order_for(instances[0]))
    with running(settings, announced), pacs:
        pacs.load(saved(tmp_path / "sent", instances))
        stored = post(
            pacs,
            "modalities/PACSTREAM/store",
            {
                "Resources": get(pacs, "instances"),
                "StorageCommitment": True,
                "Synchronous": True,
            },
        )
        assert stored["FailedInstancesCount"] == 0
        report = orthanc_report(pacs, stored["StorageCommitmentTransactionUID"])
        assert report["Status"] == "Success"
        assert len(report["Success"]) == 3

        lost = str(instances[0].SOPInstanceUID)
        archive.instance_path(str(instances[0].SeriesInstanceUID), lost).unlink()
        asked = [[str(i.SOPClassUID), str(i.SOPInstanceUID)] for i in instances]
        reply = post(pacs, "modalities/PACSTREAM/storage-commitment", {"DicomInstances": asked})
        report = orthanc_report(pacs, reply["ID"])
    assert report["Status"] == "Failure"
    assert [(f["SOPInstanceUID"], f["FailureReason"]) for f in report["Failures"]] == [
        (lost, NO_SUCH_INSTANCE)
    ]
    assert {s["SOPInstanceUID"] for s in report["Success"]} == {uid for _, uid in asked[1:]}


def get(pacs: OrthancPacs, path: str) -> Any:
    return requests.get(f"{pacs.http_url}/{path}", timeout=30, proxies={"http": ""}).json()


def post(pacs: OrthancPacs, path: str, body: dict[str, object]) -> Any:
    answer = requests.post(f"{pacs.http_url}/{path}", json=body, timeout=30, proxies={"http": ""})
    assert answer.ok, answer.text
    return answer.json()


def orthanc_report(pacs: OrthancPacs, transaction: str) -> Any:
    wait_for(lambda: get(pacs, f"storage-commitment/{transaction}")["Status"] != "Pending", 20.0)
    return get(pacs, f"storage-commitment/{transaction}")
