"""What a user typed becomes one batch, or a refusal."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pacstream.errors import InputError
from pacstream.keys import create_key
from pacstream.messages import Actions, Dates
from pacstream.settings import Settings
from pacstream_anonymizer.shelf import shipped
from pacstream_cli.commands_batch import wishes_of
from pacstream_cli.id_mapping import MappingError
from pacstream_cli.preflight import check_destination, needs_store
from pacstream_cli.profiles import path_of
from pacstream_cli.submission import Wishes, check_actions, check_output, folder_problem, prepare

CONFIG = {
    "server_ip": "127.0.0.1",
    "port": "4242",
    "server_AET": "ORTHANC",
    "AET": "PACSTREAM",
    "move_AET": "DEST",
    "move_port": "4006",
    "batch_size": "30",
    "batch_wait_time": "10",
}


@pytest.fixture
def wishes(tmp_path: Path) -> Wishes:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "queries.csv").write_text("PatientID,Modality\nP1,MR\nP2,\n")
    return Wishes(
        queryfile=tmp_path / "queries.csv",
        config=tmp_path / "config.json",
        out=tmp_path / "out",
        actions=Actions(save=True),
    )


def profile_at(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_batch_has_the_rows_and_the_titles_of_the_configuration(
    wishes: Wishes, tmp_path: Path
) -> None:
    submission = prepare(wishes, tmp_path)
    batch = submission.batch
    assert (batch.rows, batch.destination, batch.name) == (2, "PACSTREAM", "queries.csv")
    assert (batch.batch_size, batch.batch_wait_s) == (30, 10.0)
    assert [message.keys for message in submission.messages()] == [
        {"PatientID": "P1", "Modality": "MR"},
        {"PatientID": "P2"},
    ]


def test_move_goes_to_the_third_node(wishes: Wishes, tmp_path: Path) -> None:
    moving = replace(wishes, actions=Actions(move=True))
    assert prepare(moving, tmp_path).batch.destination == "DEST"


def test_the_place_of_the_destination_goes_with_a_move_and_with_nothing_else(
    wishes: Wishes, tmp_path: Path
) -> None:
    place = {"move_query_address": "third.example", "move_query_port": 104}
    wishes.config.write_text(json.dumps({**CONFIG, **place}))
    assert prepare(wishes, tmp_path).batch.destination_node is None
    node = prepare(replace(wishes, actions=Actions(move=True)), tmp_path).batch.destination_node
    assert node is not None
    assert (node.address, node.port, node.called_aet) == ("third.example", 104, "DEST")


def test_flags_become_fields_of_the_batch(wishes: Wishes, tmp_path: Path) -> None:
    plain = prepare(wishes, tmp_path).batch
    assert (plain.priority, plain.refresh, plain.pacsman_names) == (0, False, False)
    wanted = replace(wishes, priority=5, refresh=True, pacsman_names=True)
    batch = prepare(wanted, tmp_path).batch
    assert (batch.priority, batch.refresh, batch.pacsman_names) == (5, True, True)


def test_what_is_done_with_the_whole_batch_comes_in_order(wishes: Wishes, tmp_path: Path) -> None:
    assert prepare(wishes, tmp_path).batch.afterwards == ()
    create_key(tmp_path / "keys", "trial")
    actions = Actions(save=True, info=True, anonymize=True)
    wanted = replace(wishes, actions=actions, project="trial", album="Study 1", dicomdir=True)
    names = [one.name for one in prepare(wanted, tmp_path).batch.afterwards]
    assert names == ["info_table", "karnak", "dicomdir"]
    other = prepare(replace(wanted, creator="OURS"), tmp_path).batch.afterwards[1]
    assert other.options == {"album": "Study 1", "creator": "OURS"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"album": "Study 1"}, "--karnak writes the pseudonyms of a release"),
        ({"creator": "OURS"}, "--karnak-creator is for"),
        ({"dicomdir": True, "actions": Actions(info=True)}, "--dicomdir lists the files"),
        (
            {"album": "a\\b", "actions": Actions(anonymize=True), "project": "trial"},
            "--karnak has a backslash",
        ),
    ],
)
def test_a_batch_action_without_anything_to_work_on_is_refused(
    wishes: Wishes, tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        prepare(replace(wishes, **changes), tmp_path)


def test_the_profile_of_the_data_folder_is_embedded(wishes: Wishes, tmp_path: Path) -> None:
    profile_at(path_of(tmp_path, "ORTHANC"), "counts = false\nrelational = true\n")
    profile = prepare(wishes, tmp_path).batch.pacs.profile
    assert (profile.counts, profile.relational) == (False, True)


def test_a_named_profile_goes_before_the_configurations_and_the_data_folders(
    wishes: Wishes, tmp_path: Path
) -> None:
    profile_at(path_of(tmp_path, "ORTHANC"), "result_limit = 1")
    profile_at(tmp_path / "two.toml", "result_limit = 2")
    three = profile_at(tmp_path / "elsewhere" / "three.toml", "result_limit = 3")
    wishes.config.write_text(json.dumps({**CONFIG, "profile": "two.toml"}))
    assert prepare(wishes, tmp_path).batch.pacs.profile.result_limit == 2
    named = replace(wishes, pacs_profile=three)
    assert prepare(named, tmp_path).batch.pacs.profile.result_limit == 3


def test_a_fallback_and_a_calling_title_of_the_profile_are_embedded(
    wishes: Wishes, tmp_path: Path
) -> None:
    text = "calling_aet = 'QUERY'\n[fallback]\naddress='b'\nport=104\ncalled_aet='OLD'\n"
    profile_at(path_of(tmp_path, "ORTHANC"), text)
    node = prepare(wishes, tmp_path).batch.pacs
    assert node.calling_aet == "QUERY"
    assert node.fallback is not None
    assert node.fallback.called_aet == "OLD"


def test_a_wrong_profile_stops_the_submission(wishes: Wishes, tmp_path: Path) -> None:
    profile_at(path_of(tmp_path, "ORTHANC"), "counts = 3\n")
    with pytest.raises(InputError, match="line 1, counts"):
        prepare(wishes, tmp_path)


def test_images_that_come_without_c_move_need_no_store_port(wishes: Wishes, tmp_path: Path) -> None:
    assert needs_store(prepare(wishes, tmp_path).batch)
    profile_at(path_of(tmp_path, "ORTHANC"), "retrieve = 'c-get'\n")
    submission = prepare(wishes, tmp_path)
    assert not needs_store(submission.batch)
    assert "c-get" in check_destination(submission, Settings(data=tmp_path))


@pytest.mark.parametrize(
    ("actions", "project", "says"),
    [
        (Actions(), "", "nothing to do"),
        (Actions(move=True, save=True), "", "exclude"),
        (Actions(move=True, convert=True), "", "no --convert"),
        (Actions(anonymize=True), "", "--project"),
        (Actions(anonymize=True), "a/b", "--project"),
    ],
)
def test_actions_that_make_no_sense_are_refused(actions: Actions, project: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        check_actions(actions, project)


def test_pseudonyms_go_with_their_rows(wishes: Wishes, tmp_path: Path) -> None:
    wishes.queryfile.write_text("PatientID,new_ids\nP1,S-01\nP2,S-02\n")
    releasing = replace(wishes, actions=Actions(anonymize=True), project="demo")
    messages = list(prepare(releasing, tmp_path).messages())
    assert [message.pseudonym for message in messages] == ["S-01", "S-02"]
    assert [message.keys for message in messages] == [{"PatientID": "P1"}, {"PatientID": "P2"}]


def test_pseudonyms_without_a_release_are_refused_and_not_ignored(
    wishes: Wishes, tmp_path: Path
) -> None:
    wishes.queryfile.write_text("PatientID,new_ids\nP1,S-01\n")
    with pytest.raises(InputError, match=r"new_ids.*--anonymize"):
        prepare(wishes, tmp_path)
    wishes.queryfile.write_text("PatientID,new_ids\nP1,\n")
    assert prepare(wishes, tmp_path).batch.rows == 1


def test_one_query_file_is_wanted(tmp_path: Path) -> None:
    none = dict.fromkeys(("save", "info", "anonymize", "convert", "move"), False)
    others = {"config": tmp_path, "out": tmp_path}
    for query, queryfile in ((None, None), (tmp_path, tmp_path)):
        with pytest.raises(InputError, match="once"):
            wishes_of(query, queryfile, **none, **others)  # type: ignore[arg-type]  # as click does
    made = wishes_of(tmp_path, None, **none, **others)  # type: ignore[arg-type]  # as click does
    assert made.queryfile == tmp_path


def test_checking_the_output_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    check_output(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_without_space_or_below_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is full"):
        check_output(tmp_path, least_free=10**18)
    (tmp_path / "file").write_text("")
    assert "can't be written to" in folder_problem(tmp_path / "file" / "below")


# What a release is made by


def test_an_export_names_its_address_and_comes_last(wishes: Wishes, tmp_path: Path) -> None:
    address = "dicom://KARNAK@gateway.example:104?calling=PACSTREAM"
    config = CONFIG | {"destinations": {"karnak": address}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    wanted = replace(wishes, actions=Actions(save=True), dicomdir=True, export="karnak")
    *_, last = prepare(wanted, tmp_path).batch.afterwards
    assert (last.name, last.options) == ("export", {"to": address, "verify": "auto"})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"export": "karnak"}, "`destinations` of the configuration has none"),
        ({"export": "ftp://x/y"}, "none of the forms"),
        ({"export": "sftp://u:pw@h/x"}, "password"),
        ({"export": "s3://study-7", "export_verify": "list"}, "SHA-256"),
        ({"export": "dicom://A@h:104", "actions": Actions(info=True)}, "--export sends the files"),
    ],
)
def test_an_export_that_can_not_be_is_refused(
    changes: dict[str, Any], says: str, wishes: Wishes, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=says):
        prepare(replace(wishes, **changes), tmp_path)


@pytest.fixture
def releasing(wishes: Wishes) -> Wishes:
    return replace(wishes, actions=Actions(anonymize=True), project="demo")


def test_a_batch_carries_the_digest_of_its_profile_and_its_key(
    releasing: Wishes, tmp_path: Path
) -> None:
    submission = prepare(replace(releasing, profile="strict"), tmp_path)
    assert submission.terms is not None
    assert submission.batch.profile == shipped("strict").digest == submission.terms.profile.digest
    assert (submission.batch.key_id, submission.batch.dates) == ("1", Dates.REMOVED)
    other = prepare(releasing, tmp_path).batch
    assert (other.profile, other.dates) == (shipped("research").digest, Dates.SHIFTED)


def test_a_batch_without_a_release_has_no_profile(wishes: Wishes, tmp_path: Path) -> None:
    assert prepare(wishes, tmp_path).batch.profile == ""
    for wrong in (replace(wishes, profile="strict"), replace(wishes, new_ids=tmp_path / "n.json")):
        with pytest.raises(InputError, match="--anonymize"):
            prepare(wrong, tmp_path)


def test_a_wrong_project_profile_stops_the_submission(releasing: Wishes, tmp_path: Path) -> None:
    path = profile_at(tmp_path / "p.toml", "name = 'p'\ncolour = 1\n")
    with pytest.raises(InputError, match="1 problem"):
        prepare(replace(releasing, profile=str(path)), tmp_path)


def test_a_bids_data_set_is_an_action_of_the_batch(releasing: Wishes, tmp_path: Path) -> None:
    actions = Actions(anonymize=True, convert=True)
    rules = profile_at(tmp_path / "rules.toml", "defaults = false\n")
    wanted = replace(releasing, actions=actions, bids_rules=rules)
    (action,) = prepare(wanted, tmp_path).batch.afterwards
    assert (action.name, action.options["rules"]) == ("bids", "defaults = false\n")
    assert action.options["characteristics"] == "yes"
    (action,) = prepare(replace(wanted, profile="strict"), tmp_path).batch.afterwards
    assert "characteristics" not in action.options
    assert prepare(replace(releasing, actions=actions), tmp_path).batch.afterwards == ()


def test_wrong_rules_and_a_data_set_of_nothing_are_refused(
    releasing: Wishes, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="add --convert"):
        prepare(replace(releasing, bids=True), tmp_path)
    actions = Actions(anonymize=True, convert=True)
    rules = profile_at(tmp_path / "rules.toml", "colour = 1\n")
    with pytest.raises(InputError, match="1 problem"):
        prepare(replace(releasing, actions=actions, bids_rules=rules), tmp_path)


def test_pseudonyms_of_a_file_reach_their_rows(releasing: Wishes, tmp_path: Path) -> None:
    given = profile_at(tmp_path / "new_ids.json", '{"sub-P1": "S-01", "sub-P2": "S-02"}')
    messages = list(prepare(replace(releasing, new_ids=given), tmp_path).messages())
    assert [message.pseudonym for message in messages] == ["S-01", "S-02"]
    given = profile_at(tmp_path / "new_ids.csv", "PatientID,new_ids\nP2,S-02\nP1,S-01\n")
    messages = list(prepare(replace(releasing, new_ids=given), tmp_path).messages())
    assert [message.pseudonym for message in messages] == ["S-01", "S-02"]


@pytest.mark.parametrize(
    ("queries", "given", "problems"),
    [
        (
            "PatientID\nP1\nP2\nP3\n",
            '{"sub-P1": "S-01"}',
            ["row 3: the patient has no entry", "row 4: the patient has no entry"],
        ),
        (
            "PatientID,Modality\nP*,MR\n,CT\n",
            '{"sub-P1": "S"}',
            ["row 2: needs one whole PatientID", "row 3: needs one whole PatientID"],
        ),
        ("PatientID\nP1\nP2\n", '{"sub-P1": "S", "sub-P2": "s"}', ["entry 2: the pseudonym of"]),
        ("PatientID\nP1\n", '{"sub-P1": "a b"}', ["entry 1: a pseudonym has"]),
        ("PatientID\nP1\nP2\n", '{"sub-P1": "P2", "sub-P2": "S"}', ["row 2, column new_ids: is a"]),
    ],
)
def test_a_mapping_is_checked_as_a_whole_before_anything_starts(
    releasing: Wishes, tmp_path: Path, queries: str, given: str, problems: list[str]
) -> None:
    releasing.queryfile.write_text(queries)
    path = profile_at(tmp_path / "new_ids.json", given)
    with pytest.raises(MappingError) as raised:
        prepare(replace(releasing, new_ids=path), tmp_path)
    assert len(raised.value.problems) == len(problems)
    assert all(map(str.startswith, raised.value.problems, problems))


def test_pseudonyms_come_from_one_place(releasing: Wishes, tmp_path: Path) -> None:
    releasing.queryfile.write_text("PatientID,new_ids\nP1,S-01\n")
    path = profile_at(tmp_path / "new_ids.json", '{"sub-P1": "S-01"}')
    with pytest.raises(InputError, match="not from both"):
        prepare(replace(releasing, new_ids=path), tmp_path)
