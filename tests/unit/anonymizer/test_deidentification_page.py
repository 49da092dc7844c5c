"""The page for a data-protection officer says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from pacstream_anonymizer.markers import OPTION_CODES
from pacstream_anonymizer.profile import OPTIONS
from pacstream_anonymizer.table import EDITION
from tests.answer_key.engines import ENGINES

PAGE = (Path(__file__).parents[3] / "docs/deidentification.md").read_text("utf-8")


def rows() -> dict[str, list[str]]:
    """The cells behind the first, which is code, of all table rows."""
    found = re.findall(r"^\| `([^`]+)`[^|]* \| (.*) \|$", PAGE, re.MULTILINE)
    return {name: cells.split(" | ") for name, cells in found}


def test_each_option_is_told_with_the_code_that_is_claimed_for_it() -> None:
    assert set(rows()) >= OPTIONS
    assert {option: rows()[option][0] for option in OPTION_CODES} == {
        option: code for option, (code, _) in OPTION_CODES.items()
    }


def test_the_edition_of_the_table_is_the_one_in_force_here() -> None:
    assert f"edition {EDITION}" in PAGE


def test_each_engine_that_can_be_scored_is_in_the_table_of_results() -> None:
    assert set(ENGINES) <= {*rows(), "ours"}
