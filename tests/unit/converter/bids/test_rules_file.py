from __future__ import annotations

import re
from pathlib import Path

import pytest

from pacstream.errors import InputError
from pacstream_converter.bids.rules import FACTS
from pacstream_converter.bids.rules_file import RulesError, default_rules, load_rules, parse_rules

GOOD = """\
[[rules]]
name = "a"
folder = "func"
suffix = "bold"
when.SeriesDescription = "rest"
entities.task = "rest"
"""


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"func"', '"fnc"', "line 1, rules[1]: folder: one of anat, dwi, fmap, func, perf, pet"),
        ('"bold"', '"blod"', "line 1, rules[1]: suffix: func has bold, cbv, noRF, phase, sbref"),
        ("entities.task", "entities.inv", "line 1, rules[1]: entities.inv: not with func, bold"),
        ("entities.task", "entities.acq", "line 1, rules[1]: entities: func, bold needs `task`"),
        ("entities.task", "entities.run", "line 1, rules[1]: entities.run: not an entity that a"),
        ('"rest"\n', '"re(st"\n', "line 5, rules[1].when.SeriesDescription"),
        ("SeriesDescription", "SeriesDescripton", "neither a DICOM keyword of a value nor one of"),
        ("SeriesDescription", "PatientSexNeuteredX", "neither a DICOM keyword"),
        ("name", "nmae", "line 2, rules[1].nmae: unknown key, remove it"),
        ('name = "a"', 'name = "a b"', "line 2, rules[1].name: "),
        ('task = "rest"', 'task = "two words"', "line 6, rules[1].entities.task"),
        (
            '"rest"\nent',
            "{ last = 2 }\nent",
            "line 5, rules[1].when.SeriesDescription.last: unknown key, remove it",
        ),
        ('"rest"\nent', "{}\nent", "an empty condition"),
        ('"rest"\nent', "7\nent", "line 5, rules[1].when.SeriesDescription"),
        ('task = "rest"', "task = {}", "line 6, rules[1].entities.task: an empty entity"),
        ('task = "rest"', 'task = { by = ["Echo"] }', "rules[1].entities.task: a word, { of"),
        ('task = "rest"', 'task = { of = "ProtocolName" }', "only numbers become a part of a name"),
        ('suffix = "bold"', 'suffix = "bold"\nvolumes = ["label"]', "goes with perf, asl"),
        ('suffix = "bold"', 'suffix = "bold"\nbids = false', "a folder that BIDS has no use for"),
    ],
)
def test_a_problem_is_told_with_its_line(old: str, new: str, problem: str) -> None:
    assert old in GOOD
    with pytest.raises(RulesError) as refused:
        parse_rules(GOOD.replace(old, new, 1), "rules.toml")
    assert any(problem in one for one in refused.value.problems), refused.value.problems


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(RulesError) as refused:
        parse_rules(GOOD.replace('"a"', '"!"') + GOOD.replace('"rest"\n', '"*"\n'), "rules.toml")
    assert refused.value.problems[0].startswith("line 2,")
    assert any(one.startswith("line 11") for one in refused.value.problems)


def test_two_rules_of_one_name_are_refused() -> None:
    with pytest.raises(RulesError) as refused:
        parse_rules(GOOD + GOOD, "rules.toml")
    assert refused.value.problems == ["line 8, rules[2].name: as in rules[1] already"]


def test_own_rules_come_first_and_default_ones_may_be_left_out() -> None:
    assert [rule.name for rule in parse_rules(GOOD)][:2] == ["a", default_rules()[0].name]
    assert [rule.name for rule in parse_rules(f"defaults = false\n{GOOD}")] == ["a"]


PAGE = (Path(__file__).parents[4] / "docs" / "bids.md").read_text("utf-8")


def test_the_examples_of_the_page_can_be_copied() -> None:
    examples = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        parse_rules(example)


def test_the_page_names_all_facts() -> None:
    table = PAGE.partition("| Fact |")[2].partition("\n\n")[0]
    assert (
        set(re.findall(r"`([A-Z]\w+)`(?=,| \|)", re.sub(r"\| [^|]* \|$", "|", table, flags=re.M)))
        == FACTS
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"[[rules", "is not TOML"), (b"\xff", "is not UTF-8"), (None, "No such file")],
)
def test_a_file_that_can_not_be_read_is_named(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "rules.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"rules\.toml.*{said}"):
        load_rules(path)
