"""What the PACS's profile says, and what its answers say, decides who matches a key."""

from __future__ import annotations

import pytest

from pacstream.messages import Actions, PacsProfile
from tests.fakes import find_rules
from tests.fakes.datasets import make_series
from tests.fakes.pacs import FakePacs
from tests.unit.query.rows import ask, knowing, uids

WANTED = make_series("P1", series_number=1, study_description="Knee", protocol_name="MPRAGE")
OTHER = make_series("P2", series_number=2, study_description="Head", protocol_name="FLAIR")
WANTED_UID = str(WANTED[0].SeriesInstanceUID)


def test_an_unsupported_key_is_asked_for_and_matched_here() -> None:
    profile = PacsProfile(unsupported_keys=("SeriesNumber", "StudyDescription"))
    with FakePacs(WANTED + OTHER) as pacs:
        node = knowing(pacs.node(), profile)
        found, _ = ask(node, {"SeriesNumber": "1", "StudyDescription": "Kn*"})
        studies, series = pacs.asked("C-FIND", "STUDY"), pacs.asked("C-FIND", "SERIES")
    assert uids(found) == (WANTED_UID,)
    assert not any(str(request.StudyDescription) for request in studies)
    assert all(request["SeriesNumber"].value is None for request in series)


def test_an_unsupported_key_that_is_refused_even_as_a_return_key_is_left_out() -> None:
    class Picky(FakePacs):
        def _on_find(self, event):  # type: ignore[no-untyped-def]  # pynetdicom's event is untyped
            if "ProtocolName" in event.identifier and (
                event.identifier.QueryRetrieveLevel == "SERIES"
            ):
                yield 0xA900, None
            else:
                yield from super()._on_find(event)

    with Picky(WANTED + OTHER) as pacs:
        node = knowing(pacs.node(), PacsProfile(unsupported_keys=("ProtocolName",)))
        found, answered = ask(node, {"ProtocolName": "MPR*"})
    assert (uids(found), answered.reason) == ((WANTED_UID,), "")


def test_a_study_key_on_which_the_study_answer_is_silent_is_decided_by_the_instances(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(find_rules.LEVEL_OF, "StudyDescription", "IMAGE")
    with FakePacs(WANTED + OTHER) as pacs:
        found, answered = ask(pacs.node(), {"StudyDescription": "Knee"})
    assert (uids(found), answered.reason) == ((WANTED_UID,), "")


def test_image_only_attributes_are_read_for_candidate_series_only() -> None:
    with FakePacs(WANTED + OTHER) as pacs:
        ask(pacs.node(), {"PatientID": "P1", "SequenceName": "*"})
        ask(pacs.node(), {"PatientID": "P1", "ImageType": "ORIGINAL"}, Actions(info=True))
        images = pacs.asked("C-FIND", "IMAGE")
    assert {str(request.SeriesInstanceUID) for request in images} == {WANTED_UID}


def test_a_pacs_without_image_level_is_not_asked_at_it() -> None:
    with FakePacs(WANTED) as pacs:
        node = knowing(pacs.node(), PacsProfile(image_level=False))
        (found,), answered = ask(node, {"PatientID": "P1"})
        assert pacs.asked("C-FIND", "IMAGE") == []
    assert (found.evidence, found.expected_count, answered.reason) == ("count", 5, "")


def test_an_image_key_without_image_level_fails_the_row_by_its_name() -> None:
    with FakePacs(WANTED) as pacs:
        node = knowing(pacs.node(), PacsProfile(image_level=False))
        found, answered = ask(node, {"ImageType": "ORIGINAL"})
    assert (found, answered.reason) == ([], "key_not_supported:ImageType")


def test_counts_that_the_profile_does_not_trust_are_no_evidence() -> None:
    with FakePacs(WANTED) as pacs:
        node = knowing(pacs.node(), PacsProfile(image_level=False, counts=False))
        (found,), _ = ask(node, {"PatientID": "P1"})
    assert (found.evidence, found.expected_count) == ("none", None)


def test_a_cut_list_of_instances_that_has_the_counted_number_is_whole() -> None:
    with FakePacs(WANTED) as pacs:
        node = knowing(pacs.node(), PacsProfile(result_limit=5))
        (found,), _ = ask(node, {"SeriesInstanceUID": WANTED_UID})
    assert (found.evidence, found.expected_count) == ("uids", 5)


@pytest.mark.parametrize(
    ("keyword", "key", "level"),
    [
        ("PatientSex", "O", "STUDY"),
        ("StudyID", "1", "STUDY"),
        ("Manufacturer", "pac*", "SERIES"),
        ("KVP", "120.0", "IMAGE"),
        ("InstanceNumber", "1", "IMAGE"),
        ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2", "IMAGE"),
    ],
)
def test_any_keyword_is_asked_at_its_own_level(keyword: str, key: str, level: str) -> None:
    other = make_series("P2", modality="MR")
    for instance in other:
        instance.update({"PatientSex": "F", "StudyID": "2", "Manufacturer": "else"})
        instance.InstanceNumber = "9"
    with FakePacs(WANTED + other) as pacs:
        found, answered = ask(pacs.node(), {keyword: key})
        asked = pacs.asked("C-FIND", level)
    assert any(keyword in identifier for identifier in asked)
    assert answered.reason == ""
    assert uids(found) == ((WANTED_UID,))
    assert found[0].attributes[keyword]
