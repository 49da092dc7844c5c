"""`pacstream profile`: what a project profile says, and what it would do."""

from __future__ import annotations

import json
from pathlib import Path

import click
from pydicom.datadict import dictionary_description

from pacstream.errors import InputError
from pacstream_anonymizer import shelf, table
from pacstream_anonymizer.cleaner import Told
from pacstream_anonymizer.dictionary import VR_BY_TAG
from pacstream_anonymizer.explain import Explanation, explain
from pacstream_anonymizer.profile import Profile

LONGEST_SHOWN = 80


@click.group()
def profile() -> None:
    """Project profiles: what de-identification keeps, removes and replaces."""


@profile.command()
@click.argument("file")
def check(file: str) -> None:
    """Check FILE as a whole: all that is wrong with it, with line numbers. Exit code 2 if any."""
    found = shelf.named(file)
    click.echo(f"{file}: profile {found.name}, digest {found.digest}")


@profile.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="what the engine makes of it")
def show(name: str, as_json: bool) -> None:
    """The text of profile NAME (strict, research, pacsman, or a file)."""
    found = shelf.named(name)
    click.echo(json.dumps(as_dict(found), indent=1) if as_json else shelf.read_text(name).rstrip())


@profile.command()
@click.argument("first")
@click.argument("second")
@click.option("--json", "as_json", is_flag=True, help="as JSON")
def diff(first: str, second: str, as_json: bool) -> None:
    """What profile SECOND treats otherwise than FIRST, attribute by attribute."""
    one, other = shelf.named(first), shelf.named(second)
    settings, tags = differing_settings(one, other), differing_tags(one, other)
    if as_json:
        click.echo(json.dumps({"settings": settings, "attributes": tags}, indent=1))
        return
    for name, values in settings.items():
        click.echo(f"{name}: {values[0]} | {values[1]}")
    for tag, (before, after) in tags.items():
        click.echo(f"{tag} {name_of(tag)}: {before} | {after}")
    if not settings and not tags:
        click.echo("no difference")


@profile.command("explain")
@click.argument("names", nargs=-1, required=True, metavar="[PROFILE] FILE.dcm")
@click.option("--values", is_flag=True, help="show the values that are in FILE: they may identify")
@click.option("--json", "as_json", is_flag=True, help="as JSON")
def explain_(names: tuple[str, ...], values: bool, as_json: bool) -> None:
    """What would become of each element of FILE.dcm, and which rule says so.

    PROFILE is research, unless it is given. Exit code 0 whether or not FILE would be released.
    """
    if len(names) > 2:
        raise InputError("give a profile and a file: pacstream profile explain [PROFILE] FILE.dcm")
    found = shelf.named(names[0] if len(names) == 2 else shelf.DEFAULT_NAME)
    explanation = explain(Path(names[-1]), found)
    rows = [_row(told, values) for told in explanation.told]
    if as_json:
        view = {"profile": found.name, "digest": found.digest, "withheld": explanation.reason}
        pixels = {"signature": _signature(explanation), "regions": _regions(explanation)}
        click.echo(json.dumps(view | pixels | {"elements": rows}, indent=1))
        return
    for row in rows:
        value = f"  [{row['value']}]" if values else ""
        click.echo(f"{row['path']} {row['name']}: {row['action']} by {row['rule']}{value}")
    for rule, rectangles in _regions(explanation).items():
        click.echo(f"black by {rule}, as [left, top, width, height]: {rectangles}")
    if explanation.reason:
        click.echo(f"withheld: {explanation.reason}; nothing of the file would be released")
    if explanation.signature and explanation.signature.rows and not explanation.blackout:
        click.echo(
            f"for a profile that blacks out regions of such images:\n{explanation.signature.table}"
        )


def _signature(explanation: Explanation) -> dict[str, object]:
    return vars(explanation.signature) if explanation.signature else {}


def _regions(explanation: Explanation) -> dict[str, list[list[int]]]:
    """Rectangles by rule."""
    rules = explanation.blackout.rules if explanation.blackout else ()
    return {rule: [list(one) for one in rectangles] for rule, rectangles in rules}


def _row(told: Told, values: bool) -> dict[str, str]:
    places = [shown(f"{tag:08X}") for tag in told.path]
    row = {
        "path": " > ".join(places),
        "name": name_of(places[-1]),
        "action": told.done,
        "rule": told.rule,
    }
    return row | {"value": _readable(told.old)} if values else row


def _readable(value: bytes) -> str:
    """Text as it may be shown on a terminal, else the number of bytes."""
    text = value.decode("utf-8", "replace").strip(" \0")
    if len(text) > LONGEST_SHOWN or not text.isprintable():
        return f"{len(value)} bytes"
    return text


def as_dict(found: Profile) -> dict[str, object]:
    return {
        "name": found.name,
        "digest": found.digest,
        "mode": found.mode,
        "options": sorted(found.options),
        "vocabulary": sorted(found.vocabulary),
        "modalities": sorted(found.modalities),
        "sop_classes": sorted(found.sop_classes),
        "key_id": found.key_id,
        "second_look": found.second_look,
        "keep_ultrasound_regions": found.keep_ultrasound_regions,
        "rules": [vars(rule) for rule in found.rules],
        "regions": [vars(regions) for regions in found.regions],
    }


def differing_settings(one: Profile, other: Profile) -> dict[str, list[str]]:
    """What is not the same, but for single attributes and names; as the two have it."""
    parts = [{k: v for k, v in as_dict(p).items() if k not in NAMES} for p in (one, other)]
    return {
        key: [json.dumps(value), json.dumps(parts[1][key])]
        for key, value in parts[0].items()
        if value != parts[1][key]
    }


NAMES = ("name", "digest", "rules")


def differing_tags(one: Profile, other: Profile) -> dict[str, list[str]]:
    """By `(gggg,eeee)`: what the two do. Rules go before table, options and lists."""
    found = {}
    for tag in sorted({*VR_BY_TAG, *table.rows()}):
        acts = [one.action(tag).name.lower(), other.action(tag).name.lower()]
        if acts[0] != acts[1]:
            found[shown(f"{tag:08X}")] = acts
    rules = [{(r.tag, r.private_creator, r.manufacturer): r for r in p.rules} for p in (one, other)]
    for key in sorted({*rules[0], *rules[1]}):
        if rules[0].get(key) != rules[1].get(key):
            where = " ".join((shown(key[0]), *filter(None, key[1:])))
            before = found.get(where, ["as without rule"] * 2)
            found[where] = [
                f"rule: {of[key].action}" if key in of else before[number]
                for number, of in enumerate(rules)
            ]
    return found


def shown(tag: str) -> str:
    return f"({tag[:4]},{tag[4:]})"


def name_of(where: str) -> str:
    """The attribute's name in the data dictionary, else empty."""
    digits = where[1:5] + where[6:10]
    try:
        return str(dictionary_description(int(digits, 16)))
    except (KeyError, ValueError):
        return ""
