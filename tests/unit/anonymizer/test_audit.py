"""The audit: whole lines without values, written before anything is told, counted once."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydicom import Dataset

from pacstream.archive import Archive
from pacstream.errors import InputError, RetryLaterError
from pacstream.keys import create_key, load_key
from pacstream.messages import DeidentifyRequested, Order
from pacstream.pseudonyms import ProjectKey
from pacstream_anonymizer.audit import Auditor
from pacstream_anonymizer.audited import account_of, batches, lines_of
from pacstream_anonymizer.cleaner import Account, Told
from pacstream_anonymizer.deidentifier import Released, Withheld
from pacstream_anonymizer.release import release_received, release_requested
from pacstream_anonymizer.shelf import shipped
from tests.unit.anonymizer.instances import INSTANCE, SERIES, an_instance, order_for, saved
from tests.unit.anonymizer.test_release import BURNED, archive, received

__all__ = ["archive"]

KEY = ProjectKey(bytes(32))
NAME = 0x00100010
UID = "1.2.3.4"
TOLD = (
    (Told((NAME,), "E1.1:00100010", "pseudonym", b"Doe^Jane"),),
    (
        Told((0x00081110,), "vr:SQ", "clean", b""),
        Told((0x00081110, 0x00081155), "vr:UI", "clean", b"1.2.3"),
    ),
    (Told((0x00080060,), "vr:CS", "keep", b"MR"),),
)
RELEASED = Released(Path("x.dcm"))


def an_auditor(data: Path, batch_id: str = "batch-1") -> Auditor:
    return Auditor(data, batch_id, "trial", KEY, shipped("research"))


def note(auditor: Auditor, uid: str = UID, result: Released | Withheld = RELEASED) -> None:
    auditor.begin()
    auditor.touched([Account(told) for told in TOLD])
    auditor.end(uid, result)


def texts(data: Path) -> str:
    return "".join(path.read_text() for path in sorted((data / "audit").rglob("*.jsonl")))


def test_a_line_says_what_was_touched_by_which_rule_and_shows_no_value(tmp_path: Path) -> None:
    auditor = an_auditor(tmp_path)
    note(auditor)
    auditor.write()
    (line,) = (json.loads(text) for text in texts(tmp_path).splitlines())
    assert line["instance"] == KEY.uid(UID)
    assert (line["outcome"], line["profile"]) == ("released", shipped("research").digest)
    assert line["touched"] == [
        ["00100010", "E1.1:00100010", "pseudonym", KEY.value_hash(b"Doe^Jane")],
        ["00081110.00081155", "vr:UI", "clean", KEY.value_hash(b"1.2.3")],
    ]
    assert {"table", "engine", "options", "key", "project", "batch"} <= set(line)
    assert not any(value in texts(tmp_path) for value in ("Doe", "Jane", '"1.2.3"', UID))


def test_a_withheld_instance_has_its_reason_and_no_entries(tmp_path: Path) -> None:
    auditor = an_auditor(tmp_path)
    note(auditor, result=Withheld("echo"))
    auditor.write()
    (line,) = lines_of(tmp_path, "batch-1", KEY.uid(UID))
    assert (line.outcome, line.reason, line.touched) == ("withheld", "echo", ())


def test_what_is_written_twice_counts_once(tmp_path: Path) -> None:
    for _ in range(2):
        auditor = an_auditor(tmp_path)
        note(auditor)
        note(auditor, "1.2.3.5", Withheld("echo"))
        auditor.write()
    account = account_of(tmp_path, "batch-1")
    assert (account.instances, account.released, account.withheld) == (2, 1, {"echo": 1})
    assert account.rules["E1.1:00100010", "pseudonym"] == 1
    assert len(lines_of(tmp_path, "batch-1", KEY.uid(UID))) == 1


def test_what_was_withheld_and_released_later_is_released(tmp_path: Path) -> None:
    for result in (Released(Path("x"), frozenset({"echo"})), Withheld("echo")):
        auditor = an_auditor(tmp_path)
        note(auditor, result=result)
        auditor.write()
    account = account_of(tmp_path, "batch-1")
    assert (account.released, account.withheld, account.waived) == (1, {}, {"echo": 1})
    assert len(lines_of(tmp_path, "batch-1", KEY.uid(UID))) == 2


def test_an_instance_whose_file_failed_has_no_line(tmp_path: Path) -> None:
    auditor = an_auditor(tmp_path)
    note(auditor, result=Released(Path("a")))
    note(auditor, "1.2.3.5", Released(Path("b")))
    auditor.write({Path("a"): OSError()})
    assert account_of(tmp_path, "batch-1").instances == 1
    auditor.write()
    assert account_of(tmp_path, "batch-1").instances == 1


def test_a_killed_process_leaves_at_most_one_line_that_is_not_counted(tmp_path: Path) -> None:
    auditor = an_auditor(tmp_path)
    note(auditor)
    auditor.write()
    (path,) = (tmp_path / "audit" / "batch-1").iterdir()
    with path.open("ab") as file:
        file.write(b'{"instance": "2.25.1", "outco')
    assert (account_of(tmp_path, "batch-1").instances, account_of(tmp_path, "batch-1").damaged) == (
        1,
        1,
    )
    note(auditor, "1.2.3.5")
    auditor.write()
    account = account_of(tmp_path, "batch-1")
    assert (account.instances, account.damaged) == (2, 1)


def test_several_processes_write_at_once_and_no_line_is_lost(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.unit.anonymizer.test_audit import an_auditor, note\n"
        "for group in range(20):\n"
        "    auditor = an_auditor(Path(sys.argv[1]))\n"
        "    [note(auditor, f'1.2.{sys.argv[2]}.{group}.{n}') for n in range(10)]\n"
        "    auditor.write()\n"
    )
    root = Path(__file__).parents[3]
    children = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(number)], cwd=root)
        for number in range(3)
    ]
    assert [child.wait() for child in children] == [0, 0, 0]
    account = account_of(tmp_path, "batch-1")
    assert (account.instances, account.damaged) == (600, 0)
    assert len(list((tmp_path / "audit" / "batch-1").iterdir())) == 3


def test_the_audit_is_for_its_owner_and_lists_its_batches(tmp_path: Path) -> None:
    assert batches(tmp_path) == []
    for name in ("b", "a"):
        auditor = an_auditor(tmp_path, name)
        note(auditor)
        auditor.write()
    assert batches(tmp_path) == ["a", "b"]
    (path,) = (tmp_path / "audit" / "a").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for name in ("c", "..", "../audit/a"):
        with pytest.raises(InputError, match="no audit"):
            account_of(tmp_path, name)


def test_a_disk_that_refuses_brings_the_message_back(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("")
    auditor = an_auditor(tmp_path)
    note(auditor)
    with pytest.raises(RetryLaterError):
        auditor.write()


# In the pipeline


def test_every_instance_of_a_message_is_in_the_audit_before_it_is_told(
    archive: Archive,
) -> None:
    facts = release_received(archive, received(archive))
    next(facts)
    account = account_of(archive.root, "batch-1")
    assert (account.released, account.withheld) == (1, {"burned_in_annotation": 1})
    list(facts)
    list(release_received(archive, received(archive)))
    assert account_of(archive.root, "batch-1").instances == 2


def test_the_audit_of_a_release_names_rules_and_no_identifier(
    archive: Archive,
) -> None:
    list(release_received(archive, received(archive)))
    key = load_key(archive.keys, "trial")
    (line,) = lines_of(archive.root, "batch-1", key.uid(INSTANCE))
    rules = {path: rule for path, rule, _, _ in line.touched}
    assert rules["00100010"]
    original = an_instance()
    told = texts(archive.root)
    for value in (str(original.PatientName), original.PatientID, INSTANCE, BURNED):
        assert value not in told


def test_what_instances_have_in_common_is_in_the_line_of_each(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "data")
    create_key(archive.keys, "trial")
    item = Dataset()
    item.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    item.ReferencedSOPInstanceUID = "1.2.826.0.1.77.5"
    uids = [f"{INSTANCE}.{number}" for number in range(3)]
    for uid in uids:
        original = an_instance(SOPInstanceUID=uid, ReferencedImageSequence=[item])
        archive.write_order(order_for(original, tmp_path / "out"))
        saved(original, archive.instance_path(SERIES, uid))
    order = order_for(original, tmp_path / "out")
    request = DeidentifyRequested(batch_id="batch-1", order=order, instances=tuple(uids))
    list(release_requested(archive, request))
    key = load_key(archive.keys, "trial")
    touched = [lines_of(archive.root, "batch-1", key.uid(uid))[0].touched for uid in uids]
    nested = "00081140.00081155"
    assert all(any(path == nested for path, *_ in entries) for entries in touched)
    assert len({frozenset(e for e in entries if e[0] != "00080018") for entries in touched}) == 1


def test_an_order_whose_batch_would_lead_out_of_the_zone_is_none() -> None:
    order = order_for(an_instance())
    with pytest.raises(ValidationError):
        Order.model_validate(order.model_dump() | {"batch_id": "../batch"})
