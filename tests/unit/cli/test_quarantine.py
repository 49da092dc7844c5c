"""`pacstream quarantine`: what lies there, and what an operator does with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pacstream.archive import Archive
from pacstream.errors import PacstreamError
from pacstream.logs import ref
from pacstream_anonymizer.decisions import Decisions
from pacstream_anonymizer.release import release_received
from pacstream_cli import decide, quarantine
from pacstream_cli.main import pacstream
from pacstream_cli.quarantine import Entry, InvalidRefsError
from tests.fakes.held import ALSO_BURNED, BURNED, CLEAN, DOCUMENT, LEAK, Held, HeldWithLedger
from tests.unit.anonymizer.instances import INSTANCE, SERIES, an_instance, saved

IDENTIFYING = ("Quixotesson", "MRN-88213", "19410307", INSTANCE, SERIES, "20240229")


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HeldWithLedger:
    held = HeldWithLedger(tmp_path)
    monkeypatch.setenv("PACSTREAM_DATA", str(held.settings.data))
    monkeypatch.setenv("PACSTREAM_AMQP_URL", "amqp://guest:guest@127.0.0.1:1/%2F")
    return held


def call(*arguments: str) -> Result:
    return CliRunner().invoke(pacstream, ["quarantine", *arguments])


def listed(*arguments: str) -> list[dict[str, Any]]:
    result = call("list", "--json", *arguments)
    assert result.exit_code == 0, result.exception
    views: list[dict[str, Any]] = json.loads(result.output)
    return views


def aside(archive: Archive, reason: str, uid: str) -> Path:
    """What the store SCP puts aside."""
    return saved(an_instance(), archive.quarantine_path(reason, uid))


def problems(result: Result) -> tuple[str, ...]:
    assert isinstance(result.exception, PacstreamError), result.exception
    found: tuple[str, ...] = getattr(result.exception, "problems", ())
    return found


def test_the_list_counts_by_reason_and_series_and_names_the_batch_that_misses_them(
    held: HeldWithLedger,
) -> None:
    aside(held.archive, "unrequested", "1.2.3")
    burned, document, unrequested = listed()
    assert (burned["reason"], burned["count"], burned["batches"]) == (
        "burned_in_annotation",
        3,
        ["b-0001"],
    )
    assert burned["series"] == ref(SERIES)
    assert sorted(burned["instances"]) == sorted(map(ref, (BURNED, ALSO_BURNED, LEAK)))
    assert (document["reason"], document["releasable"]) == ("encapsulated_document", False)
    assert (unrequested["origin"], unrequested["batches"]) == ("receiving", [])


def test_the_list_can_be_narrowed(held: HeldWithLedger) -> None:
    assert [one["reason"] for one in listed("--reason", "echo")] == []
    assert [one["count"] for one in listed("--reason", "burned_in_annotation")] == [3]
    assert len(listed("--batch", "b-0001", "--series", ref(SERIES))) == 2
    assert listed("--batch", "b-0002") == []


@pytest.mark.parametrize("command", ["list", "show"])
def test_nothing_identifies_unless_it_is_asked_for(held: HeldWithLedger, command: str) -> None:
    refs = [ref(SERIES)] if command == "show" else []
    for arguments in ((), ("--json",)):
        plain = call(command, *refs, *arguments).output
        told = call(command, *refs, *arguments, "--identifiers").output
        assert not [text for text in IDENTIFYING if text in plain]
        assert not [text for text in ("Quixotesson", "MRN-88213", SERIES) if text not in told]


def test_an_instance_is_shown_with_its_reason_in_words_facts_and_a_picture(
    held: HeldWithLedger,
) -> None:
    (view,) = json.loads(call("show", ref(BURNED), "--json").output)
    assert "burned into the pixels" in view["meaning"]
    assert view["facts"]["SOPClass"] == "CT Image Storage"
    assert view["facts"]["BurnedInAnnotation"] == "YES"
    picture = Path(view["picture"])
    assert picture.is_relative_to(held.settings.data)
    with Image.open(picture) as image:
        assert (image.format, image.size) == ("PNG", (4, 4))


def test_what_has_no_picture_says_why(held: HeldWithLedger) -> None:
    broken = held.archive.quarantine_path("unreadable", "file")
    broken.write_bytes(b"no DICOM")
    held.archive.quarantine_path("unreadable", "file").write_bytes(b"no DICOM either")
    (view,) = json.loads(call("show", ref(broken.name), "--json").output)
    assert view["count"] == 1
    assert (view["picture"], view["facts"]) == ("", {})
    assert view["no_picture"] == "the file can't be read"


def test_unknown_references_are_named_all_at_once(held: HeldWithLedger) -> None:
    result = call("show", ref(BURNED), "0123456789ab", f"{ref(BURNED)}/ultrasound", "b-0001")
    assert [one.partition(":")[0] for one in problems(result)] == [
        "0123456789ab",
        f"{ref(BURNED)}/ultrasound",
        "b-0001",
    ]


def chosen(held: HeldWithLedger, *refs: str) -> list[Entry]:
    return quarantine.selected(quarantine.load(held.settings), refs)


def decided(held: HeldWithLedger, *refs: str) -> decide.Outcome:
    """A release with all services but no broker."""
    entries = chosen(held, *refs)
    passes = decide.passes_of(held.settings, entries)
    decide.write_release(held.archive, passes, "operator", "looked at it")
    held.carry_out(decide.requests_of(passes))
    outcome = decide.wait_for(held.settings, passes, 0)
    decide.tidy(held.settings, entries)
    return outcome


def test_a_release_is_written_down_done_and_counted(held: HeldWithLedger) -> None:
    outcome = decided(held, ref(BURNED), ref(ALSO_BURNED))
    assert sorted(outcome.released) == [
        ("b-0001", SERIES, BURNED),
        ("b-0001", SERIES, ALSO_BURNED),
    ]
    assert (outcome.withheld, outcome.unheard) == ({}, ())
    assert held.released() == 3
    assert [one["instances"] for one in listed("--reason", "burned_in_annotation")] == [[ref(LEAK)]]
    report = held.report()
    (series,) = report["report"][0]["series"]
    assert (series["instances"]["done"], series["instances"]["withheld"]) == (3, 2)
    assert series["remark"] == "released_by_decision"
    made = list(Decisions(held.archive.decisions).all())
    assert {(one.by, one.why, one.decision, one.batch_id) for one in made} == {
        ("operator", "looked at it", "release", "b-0001")
    }
    assert {one.sop_instance_uid for one in made} == {BURNED, ALSO_BURNED}


def test_what_the_gate_finds_stays_withheld_and_is_told(held: HeldWithLedger) -> None:
    outcome = decided(held, "b-0001/burned_in_annotation")
    assert outcome.withheld == {("b-0001", SERIES, LEAK): "echo"}
    assert len(outcome.released) == 2
    assert [one["reason"] for one in listed() if ref(LEAK) in one["instances"]] == ["echo"]


def test_what_is_not_heard_of_in_time_is_told_as_such(held: HeldWithLedger) -> None:
    passes = decide.passes_of(held.settings, chosen(held, ref(BURNED)))
    outcome = decide.wait_for(held.settings, passes, 0.01, sleep=lambda _: None)
    assert outcome.unheard == (("b-0001", SERIES, BURNED),)


def test_a_batch_that_shares_the_series_keeps_its_own_withheld(
    held: HeldWithLedger, tmp_path: Path
) -> None:
    HeldWithLedger(tmp_path, "b-0002")
    assert listed("--reason", "burned_in_annotation")[0]["batches"] == ["b-0001", "b-0002"]
    decided(held, "b-0001/burned_in_annotation")
    left = {one: view["batches"] for view in listed() for one in view["instances"]}
    assert left[ref(BURNED)] == ["b-0002"]


def test_a_batch_that_is_under_way_may_be_about_to_miss_it_too(
    held: HeldWithLedger, tmp_path: Path
) -> None:
    under_way = Held(tmp_path, "b-0002")
    held.ledger.record(*under_way.found())
    decided(held, ref(BURNED))
    assert held.released() == 2
    (left,) = [view for view in listed() if ref(BURNED) in view["instances"]]
    assert left["batches"] == []


@pytest.mark.parametrize(
    ("uid", "words"), [(DOCUMENT, "can't clean it"), (LEAK, "no decision makes it go away")]
)
def test_what_nobody_can_judge_is_refused_and_so_is_all_that_is_named_with_it(
    held: HeldWithLedger, uid: str, words: str
) -> None:
    decided(held, ref(LEAK))
    before = held.archive.decisions.read_bytes()
    result = call("release", ref(BURNED), ref(uid), "--reason", "x")
    assert any(words in one for one in problems(result))
    assert not any(ref(BURNED) in one for one in problems(result))
    assert held.archive.decisions.read_bytes() == before


def test_what_was_put_aside_when_it_came_can_not_be_released(held: HeldWithLedger) -> None:
    aside(held.archive, "uid_mismatch", "1.2.3")
    (problem,) = problems(call("release", ref("1.2.3"), "--reason", "x"))
    assert "belongs to no order" in problem


def test_what_is_not_in_incoming_any_more_or_not_the_same_is_refused(
    held: HeldWithLedger,
) -> None:
    held.archive.instance_path(SERIES, BURNED).unlink()
    other = held.archive.instance_path(SERIES, ALSO_BURNED)
    other.unlink()
    saved(an_instance(InstanceNumber=7), other)
    with pytest.raises(InvalidRefsError) as error:
        decide.passes_of(held.settings, chosen(held, ref(BURNED), ref(ALSO_BURNED)))
    gone, changed = sorted(error.value.problems, key=lambda text: "another content" in text)
    assert "not in incoming any more" in gone
    assert "another content" in changed


def test_what_an_offline_run_has_withheld_may_pass_its_next_run_without_any_service(
    held: HeldWithLedger,
) -> None:
    source = saved(an_instance(BurnedInAnnotation="YES", SOPInstanceUID="1.2.7"), held.out / "x")
    kept = held.archive.quarantine / "burned_in_annotation" / "1.2.9-1.2.7-0123456789ab.dcm"
    kept.write_bytes(source.read_bytes())
    result = call("release", ref("1.2.7"), "--reason", "x")
    assert result.exit_code == 0, result.exception
    assert "run `pacstream anonymize` on them again" in result.output
    waived = Decisions(held.archive.decisions).waived("", "1.2.7", source)
    assert waived == {"burned_in_annotation"}
    assert kept.exists()
    (view,) = json.loads(call("show", ref("1.2.7"), "--json").output)
    assert view["decided"] == 1


def test_without_a_broker_nothing_is_decided(held: HeldWithLedger) -> None:
    result = call("release", ref(BURNED), "--reason", "x")
    assert "nothing is decided" in str(result.exception)
    assert not held.archive.decisions.exists()


@pytest.mark.parametrize("command", ["release", "drop"])
@pytest.mark.parametrize("why", [(), ("--reason", " ")])
def test_a_reason_has_to_be_given(held: HeldWithLedger, command: str, why: tuple[str, ...]) -> None:
    result = call(command, ref(BURNED), *why)
    assert result.exit_code != 0
    assert "--reason" in result.output + str(result.exception)
    assert not held.archive.decisions.exists()
    assert listed("--reason", "burned_in_annotation")[0]["count"] == 3


def test_what_is_dropped_is_written_down_and_its_original_stays(held: HeldWithLedger) -> None:
    stranger = aside(held.archive, "unrequested", "1.2.3")
    result = call("drop", ref(BURNED), ref("1.2.3"), "--reason", "not wanted", "--by", "Ada")
    assert result.exit_code == 0, result.exception
    assert "dropped: 2 files" in result.output
    assert "originals that stay in incoming: 1" in result.output
    assert "gone for good from here: 1" in result.output
    assert held.archive.instance_path(SERIES, BURNED).exists()
    assert not stranger.exists()
    assert listed("--reason", "burned_in_annotation")[0]["count"] == 2
    made = list(Decisions(held.archive.decisions).all())
    assert {(one.decision, one.by, one.why) for one in made} == {("drop", "Ada", "not wanted")}
    assert {one.sop_instance_uid for one in made} == {BURNED, "1.2.3"}


def test_what_is_dropped_is_withheld_again_when_its_message_comes_again(
    held: HeldWithLedger,
) -> None:
    call("drop", ref(BURNED), "--reason", "not wanted")
    held.ledger.record(*release_received(held.archive, held.received))
    assert held.released() == 1
    assert ref(BURNED) in listed("--reason", "burned_in_annotation")[0]["instances"]
    assert ref(CLEAN) not in {one for view in listed() for one in view["instances"]}
