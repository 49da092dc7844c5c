"""Our engine, as the command runs it, against the answer key; and the scorer against itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.answer_key.engines import ours
from tests.answer_key.generate import generate
from tests.answer_key.key import PROFILES, RESEARCH, Action, AnswerKey
from tests.answer_key.scorer import Score, score

LEAST_UTILITY = 98.0


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AnswerKey]:
    folder = tmp_path_factory.mktemp("answer-key") / "originals"
    return folder, generate(folder, seed=1)


@pytest.mark.parametrize("profile", PROFILES)
def test_nothing_that_was_planted_comes_out_and_what_may_stay_stays(
    profile: str, originals: tuple[Path, AnswerKey], tmp_path: Path
) -> None:
    """One run and one score for both: they take most of the time."""
    folder, key = originals
    released = tmp_path / "released"
    released.mkdir()
    ours(folder, released, PROFILES[profile])
    judged = score(key, folder, released, PROFILES[profile])
    low = {
        category: failures
        for category, failures in by_category(judged, privacy=False).items()
        if judged.percent(privacy=False, category=category) < LEAST_UTILITY
    }
    assert (by_category(judged, privacy=True), low) == ({}, {})


def by_category(judged: Score, *, privacy: bool) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in judged.failures:
        if one.is_privacy == privacy:
            said = f"{one.action.value}: {one.where}: {one.said}"
            found.setdefault(one.category, []).append(said)
    return found


def test_a_copy_keeps_all_that_is_of_use_and_all_that_identifies(
    originals: tuple[Path, AnswerKey], tmp_path: Path
) -> None:
    folder, key = originals
    released = tmp_path / "released"
    shutil.copytree(folder, released)
    result = score(key, folder, released, RESEARCH)
    for category in result.categories:
        passed, total = result.of(privacy=True, category=category)
        assert passed < total or total == 0, category
    assert result.percent(privacy=True) < 10
    lost = {one.action for one in result.failures if not one.is_privacy}
    assert lost <= {Action.CLAIMED, Action.PATID_CONSISTENT, Action.READABLE}


def test_an_engine_that_writes_nothing_is_private_and_of_no_use(
    originals: tuple[Path, AnswerKey], tmp_path: Path
) -> None:
    folder, key = originals
    result = score(key, folder, tmp_path, RESEARCH)
    assert result.percent(privacy=True) == 100
    assert result.percent(privacy=False) == 0


def test_another_seed_gives_other_names_and_the_same_questions(
    originals: tuple[Path, AnswerKey], tmp_path: Path
) -> None:
    one, other = originals[1], generate(tmp_path, 2)
    first, second = ({token.text for token in key.tokens} for key in (one, other))
    assert len(first & second) < len(first) / 100, "birth dates may be the same by chance"
    assert len(one.files) == len(other.files) > 100
    assert sum(len(file.checks) for file in one.files) == sum(
        len(file.checks) for file in other.files
    )
