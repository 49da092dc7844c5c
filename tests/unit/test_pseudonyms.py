"""Pseudonyms, mapped UIDs, shifted dates."""

from __future__ import annotations

import datetime
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from pydantic import ValidationError

from pacstream.errors import ZoneError
from pacstream.messages import Actions, Dates, Order, Series
from pacstream.pseudonyms import (
    OWN_PSEUDONYM,
    ProjectKey,
    Subject,
    release_series_folder,
    shifted_date,
)

KEY = ProjectKey(b"\x01" * 32)
OTHER = ProjectKey(b"\x02" * 32)


def an_order(**changes: str) -> Order:
    fields = {"patient_id": "4711", "study_date": "20240229", "study_time": "101530.123"} | changes
    folder = fields.pop("release_folder", "001-MR")
    return Order(
        batch_id="b-001",
        series=Series(study_uid="1.2.3", series_uid="1.2.3.4", **fields),
        actions=Actions(anonymize=True),
        out="out",
        subject="sub-x",
        session="ses-x",
        folder="f",
        release_folder=folder,
    )


def test_a_pseudonym_is_short_and_the_same_for_a_padded_id() -> None:
    assert re.fullmatch(r"P[A-Z2-7]{10}", KEY.pseudonym("4711"))
    assert KEY.pseudonym(" 4711 ") == KEY.pseudonym("4711")


def test_pseudonyms_differ_by_id_by_issuer_and_by_key() -> None:
    given = [
        KEY.pseudonym("4711"),
        KEY.pseudonym("04711"),
        KEY.pseudonym("4711", "A"),
        OTHER.pseudonym("4711"),
    ]
    assert len(set(given)) == 4


def test_id_and_issuer_can_not_be_shifted_into_one_another() -> None:
    assert KEY.pseudonym("ab", "c") != KEY.pseudonym("a", "bc")


def test_a_mapped_uid_is_a_version_8_uuid_below_2_25() -> None:
    mapped = KEY.uid("1.2.3")
    made = uuid.UUID(int=int(mapped.removeprefix("2.25.")))
    assert (made.version, made.variant) == (8, uuid.RFC_4122)
    assert len(mapped) <= 44
    assert mapped == KEY.uid("1.2.3\0")
    assert mapped != OTHER.uid("1.2.3")


def test_shifts_are_whole_weeks_back_and_spread_over_patients() -> None:
    shifts = [KEY.shift_days(str(number)) for number in range(200)]
    assert all(shift % 7 == 0 and -3640 <= shift <= -7 for shift in shifts)
    assert len(set(shifts)) > 100


def test_the_secret_is_not_in_the_repr() -> None:
    assert repr(ProjectKey(b"hunter2" * 5)).count("hunter2") == 0


def test_a_hash_of_a_value_is_the_keys_and_not_that_of_an_id() -> None:
    assert KEY.value_hash(b"4711") == KEY.value_hash(b"4711")
    assert len({KEY.value_hash(b"4711"), OTHER.value_hash(b"4711"), KEY.value_hash(b"4712")}) == 3
    assert re.fullmatch("[0-9a-f]{32}", KEY.value_hash(b""))


def test_the_check_value_tells_keys_apart() -> None:
    assert KEY.check_value() == ProjectKey(KEY.secret, "7").check_value() != OTHER.check_value()
    assert KEY.check_value() not in KEY.secret.hex()


def test_another_process_finds_the_same_values() -> None:
    code = (
        "from pacstream.pseudonyms import ProjectKey as K; k = K(bytes([1]) * 32);"
        "print(k.pseudonym('4711'), k.uid('1.2'), k.shift_days('4711'))"
    )
    env = os.environ | {"PYTHONHASHSEED": "77"}
    said = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == [
        KEY.pseudonym("4711"),
        KEY.uid("1.2"),
        str(KEY.shift_days("4711")),
    ]


def test_a_date_keeps_its_weekday() -> None:
    moved = shifted_date("20240229", -700)
    assert datetime.date.fromisoformat(moved).weekday() == datetime.date(2024, 2, 29).weekday()
    assert shifted_date("2024.02.29", -700) == moved


@pytest.mark.parametrize("odd", ["", "***", "20240231", "2024", "202402", "20240101-", "٢٠٢٤٠١٠١"])
def test_an_odd_date_becomes_empty(odd: str) -> None:
    assert shifted_date(odd, -7) == ""


def test_a_date_before_the_calendar_becomes_empty() -> None:
    assert shifted_date("00010101", -7) == ""


def test_the_release_folder_is_made_of_pseudonym_and_shifted_date() -> None:
    date = shifted_date("20240229", KEY.shift_days("4711"))
    assert release_series_folder(an_order(), KEY) == Path(
        "release", f"sub-{KEY.pseudonym('4711')}", f"ses-{date}101530", "001-MR"
    )


def test_a_series_without_a_date_has_an_unknown_session() -> None:
    assert release_series_folder(an_order(study_date="2024"), KEY).parts[2] == "ses-unknown"


def test_a_session_has_no_date_that_the_release_has_not() -> None:
    kept, removed = (
        release_series_folder(an_order().model_copy(update={"dates": dates}), KEY).parts[2]
        for dates in (Dates.KEPT, Dates.REMOVED)
    )
    assert kept == "ses-20240229101530"
    assert removed == f"ses-{KEY.uid('1.2.3')}"


def test_patients_without_an_id_are_not_merged() -> None:
    one = an_order(patient_id=" ")
    two = one.model_copy(update={"series": one.series.model_copy(update={"study_uid": "1.2.3.99"})})
    assert release_series_folder(one, KEY).parts[1] != release_series_folder(two, KEY).parts[1]


@pytest.mark.parametrize("folder", ["", "..", ".", "a/b", "/a"])
def test_a_release_folder_that_leaves_its_place_is_refused(folder: str) -> None:
    with pytest.raises(ZoneError):
        release_series_folder(an_order(release_folder=folder), KEY)


def test_an_issuer_of_the_instances_makes_another_patient() -> None:
    folders = {release_series_folder(an_order(), KEY, issuer) for issuer in ("", "A", "B", " B ")}
    assert len(folders) == 3
    assert len({folder.parts[2] for folder in folders}) == 3


def test_padding_of_a_patient_id_and_of_its_issuer_does_not_count() -> None:
    subject = Subject.of(" 4711\0", "A ", "1.2.3")
    assert subject == Subject("4711", "A")
    assert subject.name(KEY) == KEY.pseudonym("4711", "A")


def test_a_patient_without_id_is_the_study_whatever_issuer_it_names() -> None:
    assert Subject.of(" ", "A", "1.2.3") == Subject.of("", "", "1.2.3")
    assert Subject.of("", "", "1.2.3") != Subject.of("1.2.3", "", "")


# Pseudonyms that a user gives


def test_a_given_pseudonym_names_the_folder_and_the_dates_stay_the_keys() -> None:
    made = release_series_folder(an_order(), KEY)
    given = release_series_folder(an_order().model_copy(update={"pseudonym": "S-01"}), KEY)
    assert given.parts[:2] == ("release", "sub-S-01")
    assert given.parts[2:] == made.parts[2:]


@pytest.mark.parametrize("text", ["../x", "a/b", "a b", "é", "a" * 65, "a\n", "."])
def test_what_is_no_pseudonym_is_in_no_message(text: str) -> None:
    with pytest.raises(ValidationError):
        Order.model_validate({**an_order().model_dump(), "pseudonym": text})


def test_the_own_form_of_pseudonyms_is_recognised() -> None:
    assert OWN_PSEUDONYM.fullmatch(KEY.pseudonym("4711"))
