"""What the service does with its messages."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread

from pacstream.archive import Archive
from pacstream.errors import RejectedError
from pacstream.keys import create_key, rotate_key
from pacstream.messages import (
    Actions,
    DeidentifyRequested,
    InstancesDeidentified,
    InstancesReceived,
    InstancesWithheld,
    Message,
    ReceivedInstance,
    WithheldInstance,
)
from pacstream_anonymizer.release import release_received, release_requested
from pacstream_anonymizer.shelf import Shelf
from tests.unit.anonymizer.instances import (
    INSTANCE,
    SERIES,
    STUDY,
    an_instance,
    order_for,
    saved,
)

BURNED = INSTANCE + ".99"


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """A trusted zone with a key, and one good and one burned-in instance of an ordered series."""
    archive = Archive(tmp_path / "data")
    create_key(archive.keys, "trial")
    archive.write_order(order_for(an_instance(), tmp_path / "out"))
    saved(an_instance(), archive.instance_path(SERIES, INSTANCE))
    burned = an_instance(SOPInstanceUID=BURNED, BurnedInAnnotation="YES")
    saved(burned, archive.instance_path(SERIES, BURNED))
    return archive


def received(archive: Archive, batch_id: str = "batch-1") -> InstancesReceived:
    return InstancesReceived(
        batch_id=batch_id,
        study_uid=STUDY,
        series_uid=SERIES,
        instances=tuple(
            ReceivedInstance(
                sop_instance_uid=uid,
                path=archive.relative(archive.instance_path(SERIES, uid)),
                size=1,
            )
            for uid in (INSTANCE, BURNED)
        ),
    )


FACTS: list[Message] = [
    InstancesDeidentified(batch_id="batch-1", series_uid=SERIES, instances=(INSTANCE,)),
    InstancesWithheld(
        batch_id="batch-1",
        series_uid=SERIES,
        instances=(WithheldInstance(sop_instance_uid=BURNED, reason="burned_in_annotation"),),
    ),
]


def test_received_instances_are_released_or_withheld(archive: Archive, tmp_path: Path) -> None:
    assert list(release_received(archive, received(archive))) == FACTS
    (path,) = (tmp_path / "out").rglob("*.dcm")
    assert dcmread(path).PatientIdentityRemoved == "YES"
    (kept,) = (archive.quarantine / "burned_in_annotation").iterdir()
    assert kept.samefile(archive.instance_path(SERIES, BURNED))


def test_a_given_pseudonym_stands_for_the_patient_and_the_rest_is_the_keys(
    archive: Archive, tmp_path: Path
) -> None:
    list(release_received(archive, received(archive)))
    (made,) = (tmp_path / "out").rglob("*.dcm")
    order = order_for(an_instance(), tmp_path / "given", pseudonym="STUDY_007")
    archive.write_order(order)
    list(release_received(archive, received(archive)))
    (path,) = (tmp_path / "given").rglob("*.dcm")
    content = path.read_bytes()
    list(release_received(archive, received(archive)))

    assert path.read_bytes() == content
    assert path.relative_to(tmp_path / "given" / "release").parts[0] == "sub-STUDY_007"
    assert path.name == made.name
    own, given = dcmread(made), dcmread(path)
    assert (given.PatientID, str(given.PatientName)) == ("STUDY_007", "STUDY_007")
    for data_set in (own, given):
        del data_set.PatientID, data_set.PatientName
    assert own == given


def test_a_pseudonym_that_is_an_identifier_of_the_patient_releases_nothing(
    archive: Archive, tmp_path: Path
) -> None:
    for pseudonym in ("Quixotesson", "ACC-55120"):
        archive.write_order(order_for(an_instance(), tmp_path / "out", pseudonym=pseudonym))
        (fact,) = release_received(archive, received(archive))
        assert isinstance(fact, InstancesWithheld)
        assert {one.reason for one in fact.instances} == {"echo", "burned_in_annotation"}
    assert not list((tmp_path / "out").rglob("*"))


def test_a_second_delivery_adds_no_file(archive: Archive, tmp_path: Path) -> None:
    list(release_received(archive, received(archive)))
    before = sorted(tmp_path.rglob("*"))
    assert list(release_received(archive, received(archive))) == FACTS
    assert sorted(tmp_path.rglob("*")) == before


def test_requested_instances_are_taken_from_the_incoming_zone(
    archive: Archive, tmp_path: Path
) -> None:
    request = DeidentifyRequested(
        batch_id="batch-1",
        order=order_for(an_instance(), tmp_path / "out"),
        instances=(INSTANCE, BURNED),
    )
    assert list(release_requested(archive, request)) == FACTS


def test_a_requested_instance_that_is_not_there_is_rejected(
    archive: Archive, tmp_path: Path
) -> None:
    request = DeidentifyRequested(
        batch_id="batch-1",
        order=order_for(an_instance(), tmp_path / "out"),
        instances=("1.2.3.4.5",),
    )
    with pytest.raises(RejectedError) as caught:
        list(release_requested(archive, request))
    assert caught.value.code == "original_missing"


def test_a_batch_that_did_not_ask_gets_nothing(archive: Archive, tmp_path: Path) -> None:
    assert list(release_received(archive, received(archive, "batch-2"))) == []
    order = order_for(an_instance(), tmp_path / "out", actions=Actions(save=True))
    archive.write_order(order)
    assert list(release_received(archive, received(archive))) == []
    assert not (tmp_path / "out").exists()


def test_instances_of_a_series_without_order_get_nothing(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "data")
    assert list(release_received(archive, received(archive))) == []


def test_without_the_projects_key_nothing_is_released(archive: Archive, tmp_path: Path) -> None:
    (archive.keys / "trial.key").unlink()
    with pytest.raises(RejectedError) as caught:
        list(release_received(archive, received(archive)))
    assert caught.value.code == "project_key_missing"
    assert not (tmp_path / "out").exists()


# The batch's own profile and key


def with_terms(archive: Archive, tmp_path: Path, out: str, **terms: str) -> Path:
    """The folder into which an order with these fields is released."""
    order = order_for(an_instance(), tmp_path / out)
    archive.write_order(order.model_copy(update=terms))
    return tmp_path / out


def test_the_profile_of_the_order_decides(archive: Archive, tmp_path: Path) -> None:
    digest = Shelf(archive.root).put("trial", "name = 'plain'\n").digest
    out = with_terms(archive, tmp_path, "strict", profile=digest)
    list(release_received(archive, received(archive)))
    (path,) = out.rglob("*.dcm")
    released = dcmread(path)
    assert released.LongitudinalTemporalInformationModified == "REMOVED"
    assert released.StudyDate == ""


def test_without_the_profile_of_the_order_nothing_is_released(
    archive: Archive, tmp_path: Path
) -> None:
    out = with_terms(archive, tmp_path, "none", profile="ab" * 32)
    with pytest.raises(RejectedError) as raised:
        list(release_received(archive, received(archive)))
    assert raised.value.code == "project_profile_missing"
    assert not out.exists()


def test_an_order_keeps_its_key_when_the_project_gets_another(
    archive: Archive, tmp_path: Path
) -> None:
    first = with_terms(archive, tmp_path, "first", key_id="1")
    list(release_received(archive, received(archive)))
    rotate_key(archive.keys, "trial")
    again = with_terms(archive, tmp_path, "again", key_id="1")
    list(release_received(archive, received(archive)))
    other = with_terms(archive, tmp_path, "other", key_id="2")
    list(release_received(archive, received(archive)))
    paths = [next(out.rglob("*.dcm")) for out in (first, again, other)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert dcmread(paths[0]).PatientID != dcmread(paths[2]).PatientID
