"""The finder against a PACS on real sockets."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from pacstream.errors import PacsRejectedError, PacsUnreachableError, RejectedError, RetryLaterError
from pacstream.messages import Actions, SeriesFound
from pacstream_query.associations import Associations
from pacstream_query.columns import COLUMNS, Column
from pacstream_query.finder import find_series
from tests.fakes import find_rules
from tests.fakes.datasets import make_series
from tests.fakes.pacs import Behaviour, FakePacs
from tests.unit.query.rows import INFO, SAVE, ask, row, uids

WANTED = make_series(
    "P1",
    "Müller^Zoë",
    modality="MR",
    instances=3,
    series_number=7,
    series_description="Séquence T1",
    study_description="Cerveau",
    study_date="20210304",
    study_time="111213.5",
    birth_date="19811231",
    accession_number="ACC7",
    protocol_name="MPRAGE",
    device_serial_number="SN7",
    acquisition_date="20210305",
    image_type=("DERIVED", "PRIMARY", "M"),
    sequence_name="*tfl3d1",
)
OTHER = make_series("P2", "Doe^Jane", instances=2, series_number=1, sequence_name="*tse2d")
SECOND = make_series("P1", modality="MR", instances=4, series_number=8, series_description="T2")

KEYS = {
    "StudyDate": "20210101-20211231",
    "StudyTime": "1112",
    "SeriesDescription": "Séquence*",
    "PatientID": "P1",
    "ProtocolName": "MPR*",
    "StudyInstanceUID": WANTED[0].StudyInstanceUID,
    "SeriesInstanceUID": WANTED[0].SeriesInstanceUID,
    "PatientName": "MÜLLER^*",
    "PatientBirthDate": "19811231",
    "DeviceSerialNumber": "SN7",
    "AcquisitionDate": "20210305-",
    "Modality": "MR",
    "ImageType": "DERIVED",
    "SeriesNumber": "7",
    "StudyDescription": "Cerv?au",
    "AccessionNumber": "ACC*",
    "SequenceName": "*tfl*",
}


def series_uid(datasets: list[Dataset]) -> str:
    return str(datasets[0].SeriesInstanceUID)


def instance_uids(datasets: list[Dataset]) -> list[str]:
    return sorted(str(dataset.SOPInstanceUID) for dataset in datasets)


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.keyword)
def test_each_column_is_asked_at_its_level_and_filters(column: Column) -> None:
    keyword, level = column.keyword, column.level
    with FakePacs(WANTED + OTHER) as pacs:
        found, answered = ask(pacs.node(), {keyword: KEYS[keyword]})
        asked = pacs.asked("C-FIND", level)
    assert all(keyword in identifier for identifier in asked)
    if level != "IMAGE":
        assert any(str(identifier[keyword].value) for identifier in asked)
    assert uids(found) == (series_uid(WANTED),)
    assert answered.reason == ""
    assert found[0].expected == tuple(instance_uids(WANTED))


@pytest.mark.parametrize("keyword", KEYS)
def test_a_column_that_no_series_has_finds_nothing(keyword: str) -> None:
    other = dict.fromkeys(KEYS, "nothing") | {
        "StudyDate": "19990101",
        "StudyTime": "0102",
        "PatientBirthDate": "19990101",
        "AcquisitionDate": "19990101",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3",
        "SeriesNumber": "99",
    }
    with FakePacs(WANTED + OTHER) as pacs:
        found, answered = ask(pacs.node(), {keyword: other[keyword]})
    assert found == []
    assert answered.reason == ""


def test_all_columns_together_find_the_one_series() -> None:
    with FakePacs(WANTED + OTHER + SECOND) as pacs:
        found, _ = ask(pacs.node(), KEYS)
    assert uids(found) == (series_uid(WANTED),)
    assert len(found) == 1


def test_a_series_is_described_as_the_pacs_told_it() -> None:
    with FakePacs(WANTED) as pacs:
        (found,), _ = ask(pacs.node(), {"PatientID": "P1"}, Actions(info=True, save=True))
    series = found.series
    assert (series.patient_id, series.number, series.modality) == ("P1", "7", "MR")
    assert (series.study_date, series.study_time) == ("20210304", "111213.5")
    assert series.description == "Séquence T1"
    assert found.attributes.keys() == {column.keyword for column in COLUMNS}
    assert found.attributes["ImageType"] == "DERIVED\\PRIMARY\\M"
    assert found.attributes["PatientName"] == "Müller^Zoë"
    assert (found.evidence, found.expected_count) == ("uids", 3)


def test_the_keys_of_these_tests_cover_every_column() -> None:
    assert KEYS.keys() == {column.keyword for column in COLUMNS}


def test_unique_keys_are_sent_at_every_level() -> None:
    with FakePacs(WANTED) as pacs:
        ask(pacs.node(), {"PatientID": "P1"})
        (series,), (image,) = pacs.asked("C-FIND", "SERIES"), pacs.asked("C-FIND", "IMAGE")
    assert series.StudyInstanceUID == image.StudyInstanceUID == WANTED[0].StudyInstanceUID
    assert image.SeriesInstanceUID == series_uid(WANTED)


def test_no_level_is_asked_for_attributes_of_another() -> None:
    with FakePacs(WANTED) as pacs:
        ask(pacs.node(), KEYS)
        (study,), (series,) = pacs.asked("C-FIND", "STUDY"), pacs.asked("C-FIND", "SERIES")
    assert "Modality" not in study
    assert "PatientID" not in series


def test_a_row_of_two_studies_finds_the_series_of_both_once() -> None:
    later = make_series("P1", study_uid="1.2.3.4", series_description="later")
    with FakePacs(
        WANTED + SECOND + later + OTHER, behaviour=Behaviour(duplicate_answers=True)
    ) as pacs:
        found, _ = ask(pacs.node(), {"PatientID": "P1"})
    assert uids(found) == tuple(sorted(map(series_uid, (WANTED, SECOND, later))))
    assert all(len(set(fact.expected)) == len(fact.expected) for fact in found)


def test_the_same_row_gives_the_same_messages_again() -> None:
    one, two = make_series("P4"), make_series("P4", series_number=2)
    with FakePacs(one + two) as pacs:
        first = ask(pacs.node(), {"PatientID": "P4"})
        pacs.datasets.reverse()
        second = ask(pacs.node(), {"PatientID": "P4"})
    ids = [{fact.message_id for fact in found} | {end.message_id} for found, end in (first, second)]
    assert ids[0] == ids[1]


@pytest.mark.parametrize("keyword", ["PatientID", "Modality", "SeriesNumber", "AccessionNumber"])
def test_a_pacs_that_does_not_match_a_key_does_not_widen_the_row(keyword: str) -> None:
    behaviour = Behaviour(unmatched_keys=frozenset(KEYS))
    with FakePacs(WANTED + OTHER, behaviour=behaviour) as pacs:
        found, answered = ask(pacs.node(), {keyword: KEYS[keyword]})
    assert uids(found) == (series_uid(WANTED),)
    assert answered.reason == ""


@pytest.mark.parametrize(
    "keyword", [c.keyword for c in COLUMNS if not c.keyword.endswith("InstanceUID")]
)
def test_a_key_that_the_pacs_never_returns_fails_the_row_by_its_name(keyword: str) -> None:
    behaviour = Behaviour(ignore_keys=frozenset([keyword]))
    with FakePacs(WANTED + OTHER, behaviour=behaviour) as pacs:
        found, answered = ask(pacs.node(), {keyword: KEYS[keyword]})
    assert found == []
    assert answered.reason == f"key_not_supported:{keyword}"


@pytest.mark.parametrize("keyword", ["ProtocolName", "DeviceSerialNumber", "SeriesDescription"])
def test_an_attribute_that_only_instances_have_is_checked_in_them(
    keyword: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(find_rules.LEVEL_OF, keyword, "IMAGE")
    with FakePacs(WANTED + OTHER) as pacs:
        found, answered = ask(pacs.node(), {keyword: KEYS[keyword]})
    assert uids(found) == (series_uid(WANTED),)
    assert answered.reason == ""


def test_a_series_of_which_one_instance_has_the_image_type_is_taken_whole() -> None:
    mixed = make_series("P3", instances=4)
    mixed[2].ImageType = ["DERIVED", "SECONDARY", "MPR"]
    with FakePacs(mixed + OTHER) as pacs:
        (found,), _ = ask(pacs.node(), {"ImageType": "MPR"})
    assert found.expected == tuple(instance_uids(mixed))


def test_a_series_uid_alone_is_looked_up_without_listing_all_studies() -> None:
    with FakePacs(WANTED + SECOND + OTHER) as pacs:
        found, _ = ask(pacs.node(), {"SeriesInstanceUID": series_uid(SECOND)})
        studies = pacs.asked("C-FIND", "STUDY")
    assert uids(found) == (series_uid(SECOND),)
    assert [study.StudyInstanceUID for study in studies] == [SECOND[0].StudyInstanceUID]


@pytest.mark.parametrize(
    "behaviour",
    [Behaviour(relational=False), Behaviour(hide_study_uid=True)],
    ids=["refused", "without a study"],
)
def test_a_series_uid_alone_is_found_on_a_pacs_without_relational_queries(
    behaviour: Behaviour,
) -> None:
    with FakePacs(WANTED + SECOND + OTHER, behaviour=behaviour) as pacs:
        found, _ = ask(pacs.node(), {"SeriesInstanceUID": series_uid(SECOND)})
        (study,) = pacs.asked("C-FIND", "STUDY")
    assert study.StudyInstanceUID == ""
    assert uids(found) == (series_uid(SECOND),)


def test_a_list_of_series_uids_finds_each() -> None:
    wanted = f"{series_uid(WANTED)}\\{series_uid(OTHER)}"
    with FakePacs(WANTED + SECOND + OTHER) as pacs:
        found, _ = ask(pacs.node(), {"SeriesInstanceUID": wanted})
    assert set(uids(found)) == {series_uid(WANTED), series_uid(OTHER)}


def test_a_modality_alone_narrows_the_studies_by_modalities_in_study() -> None:
    with FakePacs(WANTED + OTHER) as pacs:
        found, _ = ask(pacs.node(), {"Modality": "MR"})
        (study,) = pacs.asked("C-FIND", "STUDY")
        series = pacs.asked("C-FIND", "SERIES")
    assert study.ModalitiesInStudy == "MR"
    assert [request.StudyInstanceUID for request in series] == [WANTED[0].StudyInstanceUID]
    assert uids(found) == (series_uid(WANTED),)


def test_a_modality_is_found_although_the_pacs_knows_no_modalities_in_study() -> None:
    behaviour = Behaviour(ignore_keys=frozenset(["ModalitiesInStudy"]))
    with FakePacs(WANTED + OTHER, behaviour=behaviour) as pacs:
        found, _ = ask(pacs.node(), {"Modality": "MR"})
    assert uids(found) == (series_uid(WANTED),)


def test_answers_of_another_level_or_without_unique_key_are_refused() -> None:
    study_level, nameless = Dataset(), Dataset()
    study_level.QueryRetrieveLevel = "STUDY"
    study_level.SeriesInstanceUID = "1.2.3"
    nameless.QueryRetrieveLevel = "SERIES"
    nameless.SeriesNumber = "1"
    behaviour = Behaviour(stray_answers={"SERIES": (study_level, nameless)})
    with FakePacs(WANTED, behaviour=behaviour) as pacs:
        found, _ = ask(pacs.node(), {"PatientID": "P1"})
    assert uids(found) == (series_uid(WANTED),)


def test_a_row_with_only_unusable_answers_says_so() -> None:
    nameless = Dataset()
    nameless.QueryRetrieveLevel = "STUDY"
    nameless.PatientID = "P9"
    behaviour = Behaviour(stray_answers={"STUDY": (nameless,)})
    with FakePacs(WANTED, behaviour=behaviour) as pacs:
        _, answered = ask(pacs.node(), {"PatientID": "P9"})
    assert answered.reason == "answers_unusable"


@pytest.mark.parametrize("level", ["SERIES", "IMAGE"])
def test_answers_of_another_study_or_series_are_not_taken(level: str) -> None:
    foreign = Dataset()
    foreign.QueryRetrieveLevel = level
    foreign.StudyInstanceUID = "1.9"
    foreign.SeriesInstanceUID = "1.9.9"
    foreign.SOPInstanceUID = "1.9.9.9"
    with FakePacs(WANTED, behaviour=Behaviour(stray_answers={level: (foreign,)})) as pacs:
        (found,), _ = ask(pacs.node(), {"PatientID": "P1"})
    assert found.expected == tuple(instance_uids(WANTED))


def test_without_an_image_level_the_count_is_the_evidence() -> None:
    with FakePacs(WANTED, behaviour=Behaviour(refuse_levels={"IMAGE": 0xA900})) as pacs:
        (found,), answered = ask(pacs.node(), {"PatientID": "P1"})
    assert (found.expected, found.expected_count, found.evidence) == ((), 3, "count")
    assert answered.reason == ""


def test_without_image_level_and_count_there_is_no_evidence() -> None:
    behaviour = Behaviour(refuse_levels={"IMAGE": 0xA900}, omit_counts=True)
    with FakePacs(WANTED, behaviour=behaviour) as pacs:
        (found,), _ = ask(pacs.node(), {"PatientID": "P1"})
    assert (found.expected, found.expected_count, found.evidence) == ((), None, "none")


def test_a_list_of_instances_that_the_pacs_cut_short_is_no_evidence() -> None:
    with FakePacs(WANTED, behaviour=Behaviour(limits={"IMAGE": 2})) as pacs:
        (found,), _ = ask(pacs.node(), {"PatientID": "P1"})
    assert (found.expected, found.expected_count, found.evidence) == ((), 3, "count")


def test_a_series_list_that_the_pacs_cut_short_fails_the_row_but_keeps_its_series() -> None:
    with FakePacs(WANTED + SECOND, behaviour=Behaviour(limits={"SERIES": 1})) as pacs:
        found, answered = ask(pacs.node(), {"PatientID": "P1"})
    assert len(found) == 1
    assert answered.reason == "result_limit_reached"


def test_information_alone_needs_no_image_level() -> None:
    with FakePacs(WANTED) as pacs:
        (found,), _ = ask(pacs.node(), {"PatientID": "P1"}, INFO)
        images = pacs.asked("C-FIND", "IMAGE")
    assert images == []
    assert "ImageType" not in found.attributes
    assert found.attributes["ProtocolName"] == "MPRAGE"
    assert (found.expected_count, found.evidence) == (3, "count")


def test_a_rows_pseudonym_goes_with_each_of_its_series() -> None:
    with FakePacs([*make_series("P1"), *make_series("P1", series_number=2)]) as pacs:
        query = row(pacs.node(), {"PatientID": "P1"}).model_copy(update={"pseudonym": "S-01"})
        associations = Associations(10)
        *found, _ = find_series(query, associations)
        associations.close()
    assert [fact.pseudonym for fact in found if isinstance(fact, SeriesFound)] == ["S-01", "S-01"]


def test_a_move_to_a_third_node_lists_the_instances_too() -> None:
    with FakePacs(WANTED) as pacs:
        (found,), _ = ask(pacs.node(), {"PatientID": "P1"}, Actions(move=True))
    assert found.evidence == "uids"


@pytest.mark.parametrize("charset", ["ISO_IR 192", "ISO_IR 100"])
@pytest.mark.parametrize("labelled", [True, False])
def test_names_with_accents_are_found_in_any_character_set(charset: str, labelled: bool) -> None:
    accented = make_series("P5", "Åström^Åse", charset=charset, series_description="été")
    behaviour = Behaviour(omit_charset=not labelled)
    with FakePacs(accented + OTHER, behaviour=behaviour) as pacs:
        (found,), _ = ask(pacs.node(), {"PatientName": "åström^*", "SeriesDescription": "ét?"})
    assert found.attributes["PatientName"] == "Åström^Åse"


@pytest.mark.parametrize(("status", "code"), [(0xA900, "A900"), (0xC001, "C001"), (0x0122, "0122")])
@pytest.mark.parametrize("level", ["STUDY", "SERIES"])
def test_a_refused_request_ends_the_row_with_its_status(level: str, status: int, code: str) -> None:
    with FakePacs(WANTED, behaviour=Behaviour(refuse_levels={level: status})) as pacs:
        found, answered = ask(pacs.node(), {"PatientID": "P1"})
    assert found == []
    assert answered.reason == f"find_refused_{code}"


def test_a_pacs_out_of_resources_is_asked_again_later() -> None:
    with (
        FakePacs(WANTED, behaviour=Behaviour(refuse_levels={"STUDY": 0xA700})) as pacs,
        pytest.raises(RetryLaterError) as raised,
    ):
        ask(pacs.node(), {"PatientID": "P1"})
    assert raised.value.code == "pacs_out_of_resources"


def test_a_silent_pacs_is_asked_again_later() -> None:
    with (
        FakePacs(WANTED, behaviour=Behaviour(find_delay_s=2)) as pacs,
        pytest.raises(PacsUnreachableError),
    ):
        ask(pacs.node(), {"PatientID": "P1"}, timeout_s=0.5)


def test_an_aborted_association_is_asked_again_later() -> None:
    with (
        FakePacs(WANTED, behaviour=Behaviour(abort_finds=1)) as pacs,
        pytest.raises(PacsUnreachableError),
    ):
        ask(pacs.node(), {"PatientID": "P1"})


def test_a_pacs_without_free_associations_is_asked_again_later() -> None:
    with (
        FakePacs(WANTED, behaviour=Behaviour(busy_associations=1)) as pacs,
        pytest.raises(PacsUnreachableError) as raised,
    ):
        ask(pacs.node(), {"PatientID": "P1"})
    assert raised.value.code == "pacs_busy"


def test_a_pacs_that_is_off_is_asked_again_later() -> None:
    with FakePacs(WANTED) as pacs:
        node = pacs.node()
    with pytest.raises(PacsUnreachableError):
        ask(node, {"PatientID": "P1"})


def test_a_wrong_called_title_is_not_asked_again() -> None:
    with FakePacs(WANTED, behaviour=Behaviour(check_called_aet=True)) as pacs:
        node = pacs.node().model_copy(update={"called_aet": "NOBODY"})
        with pytest.raises(PacsRejectedError) as raised:
            ask(node, {"PatientID": "P1"})
    assert raised.value.code == "called_aet_unknown"


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({}, "no_keys"),
        ({"PatientID": "*"}, "no_keys"),
        ({"PatientID": "?*", "PatientName": "*^*"}, "no_keys"),
        ({"new_ids": "S1"}, "unknown_key"),
        ({"PixelData": "1"}, "unknown_key"),
    ],
)
def test_a_row_that_asks_for_everything_or_for_no_column_is_rejected(
    keys: dict[str, str], code: str
) -> None:
    with FakePacs(WANTED) as pacs:
        with pytest.raises(RejectedError) as raised:
            ask(pacs.node(), keys, SAVE)
        assert pacs.requests == []
    assert raised.value.code == code


def test_no_log_line_and_no_error_names_a_patient(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="pacstream_query")
    with FakePacs(WANTED, behaviour=Behaviour(abort_finds=1)) as pacs:
        with pytest.raises(PacsUnreachableError) as raised:
            ask(pacs.node(), {"PatientName": "Müller*"})
        ask(pacs.node(), {"PatientName": "Müller*"})
    text = " ".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert "row answered" in text
    for secret in ("Müller", "P1", series_uid(WANTED)):
        assert secret not in text.replace("'row': 2", "")
        assert secret not in str(raised.value)


def test_pacsman_names_are_used_when_the_batch_says_so() -> None:
    reversed_name = make_series("P7", "JANE DOE")
    associations = Associations(10)
    with FakePacs(WANTED + OTHER + reversed_name) as pacs:
        query = row(pacs.node(), {"PatientName": "Jane Doe"}, pacsman_names=True)
        found, _ = find_series(query, associations)
        asked = pacs.asked("C-FIND", "STUDY")
        associations.close()
    assert [str(request.PatientName) for request in asked] == ["*DOE"]
    assert isinstance(found, SeriesFound)
    assert found.series.series_uid == series_uid(reversed_name)
