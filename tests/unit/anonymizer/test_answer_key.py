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


@pytest.fixture(scope="module")
def judged(
    request: pytest.FixtureRequest,
    originals: tuple[Path, AnswerKey],
    tmp_path_factory: pytest.TempPathFactory,
) -> Score:
    folder, key = originals
    released = tmp_path_factory.mktemp(request.param) / "released"
    released.mkdir()
    options = PROFILES[request.param]
    ours(folder, released, options)
    return score(key, folder, released, options)


@pytest.mark.parametrize("judged", PROFILES, indirect=True)
def test_nothing_that_was_planted_comes_out(judged: Score) -> None:
    assert by_category(judged, privacy=True) == {}


@pytest.mark.parametrize("judged", PROFILES, indirect=True)
def test_what_may_stay_stays_in_each_category(judged: Score) -> None:
    low = {
        category: failures
        for category, failures in by_category(judged, privacy=False).items()
        if judged.percent(privacy=False, category=category) < LEAST_UTILITY
    }
    assert low == {}


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


def test_another_seed_gives_other_names_and_the_same_questions(tmp_path: Path) -> None:
    one, other = generate(tmp_path / "one", 1), generate(tmp_path / "other", 2)
    first, second = ({token.text for token in key.tokens} for key in (one, other))
    assert len(first & second) < len(first) / 100, "birth dates may be the same by chance"
    assert len(one.files) == len(other.files) > 100
    assert sum(len(file.checks) for file in one.files) == sum(
        len(file.checks) for file in other.files
    )
