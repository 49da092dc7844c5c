"""README.md and docs/ say what the code does: settings, reason codes, commands, links."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import click
import pytest

from pacstream.settings import PREFIX, Settings
from pacstream_anonymizer.offline import reasons as offline
from pacstream_anonymizer.refusal import REASONS
from pacstream_cli.main import pacstream
from pacstream_converter.dcm2niix import LOG_REASONS
from pacstream_converter.originals import NOT_IMAGES
from pacstream_exporter.delivery.outcome import REASONS as DELIVERY
from pacstream_ledger.breaker import FAILING, NOT_TRIED

ROOT = Path(__file__).parents[2]
OPERATIONS = ROOT / "docs/operations.md"
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

REPORTING = ("anonymizer", "converter", "exporter", "ledger", "query", "retrieve")
"""Services whose reason codes reach a report; those of the store SCP name quarantine folders."""

RECEIVING = ROOT / "shared/pacstream/receiving"
"""What C-STORE, C-GET and WADO-RS share: its reasons name quarantine folders, too."""

TOLD_TO_NOBODY = frozenset({"dead_letter", "move_does_not_work"})
"""Codes of the ledger's table of C-MOVEs, and of the log of retrieve."""

NOTHING_TO_KEEP = frozenset({"same_content", "original_missing"})
"""Reasons of a folder's files of which nothing can or need be kept in quarantine."""

REASON_CODE = re.compile(r"[a-z][a-z0-9_]*[a-z0-9]")
REASON_KEYWORDS = frozenset({"code", "reason", "broken"})
REASON_VARIABLES = frozenset({"CONFLICT", "DONE", "reason", "broken", "REASONS", "REFUSALS"})
REASON_FUNCTIONS = frozenset(
    {"reason", "reason_of", "reason_of_http", "refusal", "_failure", "_kind", "_read"}
)
REASON_ARGUMENT = {
    "Conversion": 1,
    "NotUsableError": 0,
    "Refusal": 0,
    "Verdict": 1,
    "not_sent": 0,
}
"""Classes and functions that take a reason code by position."""

OPTION = re.compile(r"(?<!\S)--?[a-z][\w-]*")


def syntax_trees(*folders: Path, without: Path | None = None) -> Iterator[ast.Module]:
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            if without is None or without not in path.parents:
                yield ast.parse(path.read_text("utf-8"))


def literals(node: ast.AST | None) -> set[str]:
    """The codes that an expression spells out; calls in it are not looked into."""
    match node:
        case ast.Constant(value=str(text)):
            code = text.rstrip(":_")
            return {code} if REASON_CODE.fullmatch(code) else set()
        case ast.BoolOp(values=parts) | ast.Dict(values=parts):
            return {code for part in parts for code in literals(part)}
        case ast.IfExp(body=body, orelse=orelse):
            return literals(body) | literals(orelse)
        case ast.BinOp(left=first) | ast.JoinedStr(values=[first, *_]) | ast.Return(value=first):
            return literals(first)
    return set()


def codes_in_call(node: ast.Call, default_codes: dict[str, str]) -> set[str]:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    if name == "InputError":  # refused before there is a batch
        return set()
    given = [keyword.value for keyword in node.keywords if keyword.arg in REASON_KEYWORDS]
    if not given and name in default_codes:
        return {default_codes[name]}
    given += node.args[REASON_ARGUMENT.get(name, len(node.args)) :]
    return {code for expression in given for code in literals(expression)}


def codes_in(node: ast.AST, default_codes: dict[str, str]) -> set[str]:
    match node:
        case ast.Call():
            return codes_in_call(node, default_codes)
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in REASON_VARIABLES:
            return literals(value)
        case ast.FunctionDef(name=name) if name in REASON_FUNCTIONS:
            parts = [one for one in ast.walk(node) if isinstance(one, (ast.Return, ast.Dict))]
            return {code for part in parts for code in literals(part)}
    return set()


def codes_of_exception_classes() -> dict[str, str]:
    return {
        node.name: statement.value.value
        for tree in syntax_trees(ROOT / "shared/pacstream")
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, ast.Assign)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
        and [ast.unparse(target) for target in statement.targets] == ["code"]
    }


def codes_in_the_code() -> set[str]:
    folders = [ROOT / f"services/{name}/pacstream_{name}" for name in REPORTING]
    default_codes = codes_of_exception_classes()
    found = {*REASONS, *(code for _, code in LOG_REASONS), *(code for _, code in NOT_IMAGES)}
    found |= NOT_TRIED | FAILING | offline.REASONS | DELIVERY
    for tree in syntax_trees(ROOT / "shared/pacstream", *folders, without=RECEIVING):
        for node in ast.walk(tree):
            found |= codes_in(node, default_codes)
    return found - TOLD_TO_NOBODY


def quarantine_folders_in_the_code() -> set[str]:
    """Reasons of the receivers (literal) and of the anonymizer (all that it withholds for)."""
    found = set(REASONS | offline.REASONS - offline.STAY - NOTHING_TO_KEEP)
    for tree in syntax_trees(RECEIVING):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr in ("_aside", "quarantine_path"):
                    found |= literals(node.args[0])
            elif isinstance(node, ast.Call):
                found |= codes_in_call(node, {})
    return found


def section(document: Path, title: str) -> str:
    """The text below a heading, up to the next one of its level."""
    text = document.read_text("utf-8")
    match = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert match, f"{document.name} has no section {title!r}"
    rest = text[match.end() :]
    end = re.search(rf"^#{{1,{len(match[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def table_rows(text: str) -> list[list[str]]:
    """The cells of all table rows, without headers and rulers."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def code_spans(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def commands_of(document: Path) -> list[str]:
    """Inline code, and the lines of code blocks that are not marked as output (```text).

    Not the first cells of the migration guide's tables: those are PACSMAN's.
    """
    text = document.read_text("utf-8").replace("\\\n", " ")
    if document.name == "migrating-from-pacsman.md":
        text = re.sub(r"^\| [^|]* \|", "|", text, flags=re.MULTILINE)
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    shell = [line for kind, block in blocks if kind != "text" for line in block.splitlines()]
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    (\S.*)$", prose, re.MULTILINE)
    return [*shell, *indented, *code_spans(prose)]


def options_of(command: click.Command) -> set[str]:
    """With those of its subcommands, and both sides of options such as `--write/--no-write`."""
    names = {
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return names.union({"--help", "-h"}, *(options_of(one) for one in below))


@cache
def our_commands() -> Mapping[str, click.Command]:
    context = click.Context(pacstream)
    found = {
        name: pacstream.get_command(context, name) for name in pacstream.list_commands(context)
    }
    return {name: command for name, command in found.items() if command}


def wrong_commands(document: Path) -> Iterator[str]:
    of_all = options_of(pacstream)
    every_option = {o for one in our_commands().values() for o in options_of(one)} | of_all
    for code in commands_of(document):
        call = re.match(
            r"(?:\$ )?(?:[A-Z_]+=\S* )*(?:\S*/)?pacstream (?:--\S+ \S+ )*([a-z]+(?:[_-][a-z]+)*)\b",
            code,
        )
        command = our_commands().get(call[1]) if call else None
        known = options_of(command) | of_all if command else every_option
        is_ours = call is not None or code.startswith("--")
        is_unknown = (call and not command) or not set(OPTION.findall(code)) <= known
        if is_ours and is_unknown:
            yield code


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def broken_links(document: Path) -> Iterator[str]:
    text = re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        file = (document.parent / path).resolve() if path else document
        if not file.exists():
            yield target
        elif anchor and file.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.MULTILINE)
            if anchor not in {slug(heading) for heading in headings}:
                yield target


def test_the_settings_table_lists_every_variable_with_its_default_and_meaning() -> None:
    documented = {
        code_spans(name)[0]: (code_spans(default), meaning)
        for name, default, meaning in table_rows(section(OPERATIONS, "Settings"))
    }
    assert list(documented) == [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    for name, field in Settings.model_fields.items():
        default, meaning = documented[f"{PREFIX}{name.upper()}"]
        assert default == ([str(field.default)] if field.default != "" else []), name
        assert meaning.startswith(field.description or ""), name


def test_the_reason_tables_list_exactly_the_codes_that_the_code_has() -> None:
    rows = table_rows(section(OPERATIONS, "Reason codes"))
    documented = [re.sub(r"[:_]?<.*", "", code) for row in rows for code in code_spans(row[0])]
    assert sorted(set(documented)) == sorted(codes_in_the_code())


def test_the_quarantine_table_lists_exactly_the_folders_that_the_code_fills() -> None:
    rows = table_rows(section(OPERATIONS, "Quarantine"))
    named = {code for row in rows for code in code_spans(row[0]) if "<" not in code}
    withheld = table_rows(section(OPERATIONS, "De-identification withholds an instance"))
    of_folders = section(OPERATIONS, "A file of a folder is not released")
    withheld += table_rows(of_folders.partition("nothing in quarantine")[0])
    named |= {code for row in withheld for code in code_spans(row[0])}
    assert named == quarantine_folders_in_the_code()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    assert list(broken_links(document)) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_and_option_that_is_named_exists(document: Path) -> None:
    assert list(wrong_commands(document)) == []
