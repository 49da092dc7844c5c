"""A TOML file that people write, read into a model, with the line of each thing that is wrong.

The standard library's parser gives no places, but it tells whether some lines are whole: that is
enough to cut a text into its statements, and each into its path.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pacstream.errors import InputError

Path = tuple[str | int, ...]
"""Keys of tables and positions in arrays, as pydantic's `loc`."""


LONGEST = 1_000_000
"""Characters of a file; whoever needs more has pasted something else."""

M = TypeVar("M", bound=BaseModel)


class WrongFileError(InputError):
    """`problems` has one line for each thing that is wrong, with its place in the file."""

    def __init__(self, source: str, problems: list[str]) -> None:
        noun = "problem" if len(problems) == 1 else "problems"
        super().__init__(f"{source}: {len(problems)} {noun}")
        self.problems = problems


def read(model: type[M], text: str, source: str, wrong: type[WrongFileError]) -> M:
    """What the text of a file says; `source` names the file in messages.

    Raises `wrong` with all problems, InputError for what is no TOML.
    """
    if len(text) > LONGEST:
        raise InputError(f"{source}: is too long, more than {LONGEST} characters")
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        said = error if isinstance(error, tomllib.TOMLDecodeError) else "nested too deeply"
        raise InputError(f"{source}: is not TOML: {said}") from None
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise wrong(source, problems_of(text, error)) from None


def line_of(text: str, path: Path) -> int:
    """The line of a key or element, or of the nearest thing around it that is there; 1 if nothing
    is. `text` is valid TOML."""
    places = _places(text)
    while path and path not in places:
        path = path[:-1]
    return places.get(path, 1)


def problems_of(text: str, error: ValidationError) -> list[str]:
    """A line for each thing that a model found wrong in what the TOML `text` says; no values."""
    found = []
    for item in error.errors(include_input=False, include_url=False):
        loc = item["loc"]
        said = "unknown key, remove it" if item["type"] == "extra_forbidden" else item["msg"]
        said = said.removeprefix("Value error, ")
        found.append((line_of(text, loc), f"{named(loc)}: {said}"))
    return [f"line {line}, {said}" for line, said in sorted(found)]


def named(path: Path) -> str:
    """`rules[2].tags[1]`, counted from 1 as people do."""
    parts = (f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).removeprefix(".")


def _places(text: str) -> dict[Path, int]:
    """The first line of each thing."""
    places: dict[Path, int] = {}
    tables: Counter[Path] = Counter()
    table: Path = ()
    for line, statement in _statements(text):
        found = tomllib.loads(statement)
        if statement.lstrip().startswith("["):
            table = _table(found, tables)
            places.setdefault(table, line)
        else:
            _note(places, table, found, line)
            _note_elements(places, table, found, line, statement)
    return places


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Line and text of each header and each `key = value`."""
    held: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not held and not line.split("#")[0].strip():
            continue
        held.append(line)
        statement = "\n".join(held)
        if _is_whole(statement):
            yield number - len(held) + 1, statement
            held = []


def _is_whole(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _table(header: Mapping[str, Any], tables: Counter[Path]) -> Path:
    """The path that a header opens; a new element for `[[...]]`."""
    path: Path = ()
    found: Any = header
    while found:
        key, found = next(iter(found.items()))
        path = (*path, key)
        if isinstance(found, list):
            tables[path] += 1
            return (*path, tables[path] - 1)
        if tables[path]:
            path = (*path, tables[path] - 1)
    return path


def _note(places: dict[Path, int], path: Path, found: object, line: int) -> None:
    if path:
        places.setdefault(path, line)
    if isinstance(found, dict):
        for key, value in found.items():
            _note(places, (*path, key), value, line)


def _note_elements(
    places: dict[Path, int], table: Path, found: Mapping[str, Any], line: int, statement: str
) -> None:
    """An array of several lines: an element stands where the array first has it."""
    path, value = table, found
    while isinstance(value, dict) and len(value) == 1:
        key, value = next(iter(value.items()))
        path = (*path, key)
    if not isinstance(value, list):
        return
    lines = statement.split("\n")
    known = 0
    for number in range(len(lines)):
        head = "\n".join(lines[: number + 1])
        for closed in (head, head + "]", head + "\n]"):
            if _is_whole(closed):
                length = len(_array(tomllib.loads(closed)))
                for position in range(known, length):
                    places.setdefault((*path, position), line + number)
                known = max(known, length)
                break


def _array(found: object) -> list[object]:
    while isinstance(found, dict):
        found = next(iter(found.values()))
    return found if isinstance(found, list) else []
