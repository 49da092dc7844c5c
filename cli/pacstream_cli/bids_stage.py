"""`--bids` of `pacstream convert`: the data set that is made of the converted series."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from pacstream.errors import InputError
from pacstream.messages import Dates
from pacstream.pseudonyms import ProjectKey, Subject, Visit
from pacstream_anonymizer.actions import RETAIN_PATIENT_CHARACTERISTICS
from pacstream_anonymizer.profile import Profile
from pacstream_cli.deid_profile import dates_of
from pacstream_converter.bids.planning import ConvertedSeries
from pacstream_converter.bids.rules import Rule
from pacstream_converter.bids.rules_file import load_rules
from pacstream_converter.bids.tool import Tool, parse_tool
from pacstream_converter.bids.tool_tree import build_tree_by_tool
from pacstream_converter.bids.tree import Result, build_tree, check_root
from pacstream_converter.folder import Outcome
from pacstream_converter.originals import read_original

CONVERTED = Path("sourcedata", "nifti")
"""Below the data set: what dcm2niix made, which BIDS does not look at. The images of the data set
are second names of these files."""


RULES = "rules"
"""`--bids` without a word behind it."""


@dataclass(frozen=True)
class BidsWish:
    """`profile` is that of the project: it says if dates and characteristics may be told."""

    root: Path
    data: Path
    rules: tuple[Rule, ...] = field(repr=False)
    profile: Profile = field(repr=False)
    tool: Tool | None = None


def prepare(root: Path, data: Path, how: str, rules: Path | None, profile: Profile) -> BidsWish:
    """Raises InputError for rules, a tool or a folder that can't be used."""
    tool = parse_tool(how) if how not in ("", RULES) else None
    if tool and rules:
        raise InputError(f"--bids-rules are pacstream's own: not with --bids {tool.name}:FILE")
    check_root(root)
    return BidsWish(root, data, load_rules(rules), profile, tool)


def make_dataset(wish: BidsWish, outcomes: Sequence[Outcome]) -> Result:
    """Raises as `build_tree` does."""
    series = [_series(wish, one) for one in outcomes if one.conversion.volumes]
    withheld = {_name(one) for one in outcomes if one.conversion.state == "withheld"}
    console = Console(stderr=True)
    columns = (TextColumn("BIDS"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        images = bar.add_task("", total=None)
        if wish.tool:
            return build_tree_by_tool(
                series,
                wish.root,
                wish.tool,
                wish.data / "run",
                today=datetime.date.today().isoformat(),
                progress=lambda done, total: bar.update(images, completed=done, total=total),
            )
        return build_tree(
            series,
            wish.root,
            wish.rules,
            withheld=withheld,
            today=datetime.date.today().isoformat(),
            progress=lambda done, total: bar.update(images, completed=done, total=total),
        )


def _name(outcome: Outcome) -> str:
    """`<patient>/<study>/<series>`."""
    return "/".join(outcome.files.stem.parts[-3:])


def _series(wish: BidsWish, outcome: Outcome) -> ConvertedSeries:
    """Originals that have no part in the products tell nothing of them."""
    files = outcome.files
    originals = [path for path in files.instances.values() if path not in outcome.left_out]
    days, session = _dates(files.key, wish.profile, outcome, originals)
    return ConvertedSeries(
        name=_name(outcome),
        images=tuple(volume.image for volume in outcome.conversion.volumes),
        originals=tuple(originals),
        shift_days=days,
        characteristics=RETAIN_PATIENT_CHARACTERISTICS in wish.profile.options,
        session=session,
        is_complete=outcome.conversion.state != "incomplete",
    )


def _dates(
    key: ProjectKey, profile: Profile, outcome: Outcome, originals: Iterable[Path]
) -> tuple[int | None, str]:
    """By how many days dates are shifted, and what the session is called after its date."""
    dates = dates_of(profile)
    if dates is Dates.REMOVED:
        return None, ""
    series = outcome.files.series
    issuer = next((read_original(path).issuer for path in originals), "")
    subject = Subject.of(series.patient_id, issuer, series.study_uid)
    days = subject.shift_days(key) if dates is Dates.SHIFTED else 0
    visit = Visit(series.study_uid, series.study_date, series.study_time)
    session = visit.session(key, dates, days)
    return days, "" if session == "ses-unknown" else session


def as_dict(result: Result) -> dict[str, object]:
    return {
        "images": result.products,
        "states": dict(sorted(result.states.items())),
        "missing": dict(result.incomplete),
        "left_out": dict(result.left_out),
        "whole": result.is_whole,
        "products": str(result.book),
    }


def print_result(result: Result, wish: BidsWish) -> None:
    """What a reader has to know: what has no place, and what is missing for one."""
    states = result.states
    click.echo(f"BIDS data set:              {wish.root}")
    click.echo(f"  {states.get('bids', 0)} of {result.products} images are in it")
    if states.get("beside"):
        click.echo(f"  {states['beside']} lie beside: BIDS has no name for them (.bidsignore)")
    if states.get("incomplete"):
        lacking = ", ".join(result.incomplete)
        click.echo(f"  {states['incomplete']} are ignored until a rule tells {lacking}")
    strange = states.get("unmatched", 0) - result.misfits
    if strange:
        click.echo(f"  {strange} match no rule: sourcedata/unmatched")
    if result.misfits:
        click.echo(
            f"  {result.misfits} have too many or too few dimensions for their rule: "
            "sourcedata/unmatched"
        )
    for reason, number in sorted(result.left_out.items()):
        click.echo(f"  left out    {number} {reason}")
    click.echo(f"what became of each image:  {result.book}")
