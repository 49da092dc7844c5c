"""`pacstream audit`: what was done to the instances of a batch, and by which rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from pacstream.errors import InputError, RejectedError
from pacstream.keys import load_key
from pacstream.settings import load_settings
from pacstream_anonymizer.audited import Account, Line, account_of, batches, lines_of
from pacstream_cli.commands_profile import name_of, shown


@click.command()
@click.argument("batch", required=False)
@click.option("--instance", metavar="UID", help="one instance, by its original or its new UID")
@click.option("--json", "as_json", is_flag=True, help="as JSON")
def audit(batch: str | None, instance: str | None, as_json: bool) -> None:
    """Sum up the audit of BATCH; without BATCH, list the batches that have one."""
    data = load_settings().data
    if batch is None:
        for name in batches(data):
            click.echo(name)
        return
    if instance:
        _show_instance(_found(data, batch, instance), as_json)
        return
    account = account_of(data, batch)
    if as_json:
        click.echo(json.dumps(as_dict(account), indent=1))
    else:
        _show(account)


def as_dict(account: Account) -> dict[str, Any]:
    return {
        "batch": account.batch_id,
        "instances": account.instances,
        "released": account.released,
        "withheld": dict(sorted(account.withheld.items())),
        "let_pass": dict(sorted(account.waived.items())),
        "terms": [
            {
                "profile": profile,
                "key": key,
                "table": edition,
                "engine": engine,
                "instances": number,
            }
            for (profile, key, edition, engine), number in sorted(account.terms.items())
        ],
        "rules": [
            {"rule": rule, "action": action, "instances": number}
            for (rule, action), number in sorted(account.rules.items())
        ],
        "damaged_lines": account.damaged,
    }


def _show(account: Account) -> None:
    click.echo(f"batch {account.batch_id}: {account.instances} instances")
    click.echo(f"  released {account.released}")
    for reason, number in sorted(account.withheld.items()):
        click.echo(f"  withheld {number} {reason}")
    for reason, number in sorted(account.waived.items()):
        click.echo(f"  let pass by an operator {number} {reason}")
    for (profile, key, edition, engine), number in sorted(account.terms.items()):
        click.echo(
            f"  {number} by profile {profile}, key {key}, table {edition}, pacstream {engine}"
        )
    for (rule, action), number in sorted(account.rules.items()):
        click.echo(f"  {number:8} {action:9} {rule}")
    if account.damaged:
        click.echo(
            f"  {account.damaged} lines can't be read: a process was killed, or a file changed"
        )


def _found(data: Path, batch: str, instance: str) -> list[Line]:
    """By the new UID, else by the original one, with the key that the batch had."""
    lines = lines_of(data, batch, instance)
    if lines:
        return lines
    for name, key_id in sorted(account_of(data, batch).keys):
        try:
            mapped = load_key(data / "keys", name, key_id).uid(instance)
        except RejectedError:
            continue
        if lines := lines_of(data, batch, mapped):
            return lines
    raise InputError("the audit of this batch has no such instance")


def _show_instance(lines: list[Line], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([line.model_dump() for line in lines], indent=1))
        return
    for line in lines:
        click.echo(f"{line.instance}: {line.outcome} {line.reason}".rstrip())
        for path, rule, action, old in line.touched:
            tags = path.split(".")
            place = " > ".join(shown(tag) for tag in tags)
            click.echo(f"  {place} {name_of(shown(tags[-1]))}: {action} by {rule} {old}".rstrip())
