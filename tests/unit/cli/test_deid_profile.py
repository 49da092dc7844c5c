"""Options of a profile by their names."""

from __future__ import annotations

import pytest

from pacstream.errors import InputError
from pacstream.messages import Dates
from pacstream_anonymizer import table
from pacstream_anonymizer.actions import FULL_DATES, MODIFIED_DATES, SAFE_PRIVATE
from pacstream_anonymizer.profile import DEFAULT, OPTIONS, Profile
from pacstream_cli.deid_profile import chosen, dates_of, named_options, short


def test_every_option_of_the_table_has_its_name() -> None:
    named = {option for row in table.rows().values() for option in row.options}
    assert named <= set(OPTIONS)
    assert set(OPTIONS) - named <= {"clean_pixel_data", SAFE_PRIVATE}
    assert len({short(option) for option in OPTIONS}) == len(OPTIONS)


def test_options_go_by_long_and_short_names() -> None:
    assert named_options("none") == frozenset()
    assert named_options("full_dates") == {FULL_DATES}
    assert named_options(" retain_uids, Full-Dates,descriptors") == {
        "retain_uids",
        FULL_DATES,
        "clean_descriptors",
    }
    with pytest.raises(InputError, match="nonsense"):
        named_options("uids,nonsense")


def test_flags_change_what_the_profile_says() -> None:
    research = Profile(frozenset({SAFE_PRIVATE, MODIFIED_DATES}))

    def options(text: str = "", *, p: bool = False, a: bool = False) -> frozenset[str]:
        return chosen(research, text, without_private=p, shifted=a).options

    assert options() == research.options
    assert options(p=True) == {MODIFIED_DATES}
    assert options("none", a=True) == {MODIFIED_DATES}
    with pytest.raises(InputError):
        options("full_dates", a=True)


def test_dates_are_told_by_the_options() -> None:
    assert dates_of(DEFAULT) is Dates.SHIFTED
    assert dates_of(Profile(frozenset())) is Dates.REMOVED
    assert dates_of(Profile(frozenset({FULL_DATES}))) is Dates.KEPT
