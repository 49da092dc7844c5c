"""docs/cases.md names tests that exist, and each misbehaviour of the end-to-end tests."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = re.compile(r"(S(1\.[13]|2|3\.1|5(\.\d+)?)|P[34]\.\d+|[QDRM])")


class Case(NamedTuple):
    name: str
    sources: list[str]
    path: str
    test: str
    parameter: str


def cases() -> list[Case]:
    found = []
    for line in (ROOT / "docs/cases.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and not re.fullmatch(r"-+|Case", cells[0]):
            test = re.fullmatch(r"`(.+\.py)::(test_\w+)(?:\[(.+)\])?`", cells[2])
            assert test is not None, line
            found.append(Case(cells[0], cells[1].split(), test[1], test[2], test[3] or ""))
    return found


@cache
def parsed(path: str) -> ast.Module:
    return ast.parse((ROOT / "tests" / path).read_text())


@cache
def names_in(path: str) -> set[str]:
    return {node.name for node in parsed(path).body if isinstance(node, ast.FunctionDef)}


@cache
def texts_in(path: str) -> set[object]:
    return {node.value for node in ast.walk(parsed(path)) if isinstance(node, ast.Constant)}


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_each_case_has_a_test_that_exists(case: Case) -> None:
    assert case.test in names_in(case.path)
    assert not case.parameter or case.parameter in texts_in(case.path)
    assert case.sources
    assert all(SOURCE.fullmatch(source) for source in case.sources)


def test_no_case_is_listed_twice() -> None:
    names = [(case.name, case.path) for case in cases()]
    assert len(set(names)) == len(names) > 150


def test_every_misbehaviour_of_the_end_to_end_tests_is_listed() -> None:
    path = "e2e/test_misbehaving_pacs.py"
    tables = {
        node.target.id: node.value
        for node in parsed(path).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    names = set()
    for table in (tables["CASES"], tables["SLOW_CASES"]):
        assert isinstance(table, ast.Dict)
        names |= {key.value for key in table.keys if isinstance(key, ast.Constant)}
    assert names
    assert names == {case.parameter for case in cases() if case.path == path and case.parameter}


def test_every_query_case_by_name_is_listed() -> None:
    for path in ("unit/query/test_cases.py", "e2e/test_original_cases.py"):
        listed = {case.test for case in cases() if case.path == path}
        named = {name for name in names_in(path) if name.startswith("test_")}
        assert named == listed
