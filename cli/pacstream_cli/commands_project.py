"""`pacstream project`: keys and profile of a project. Shows no secret."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from pacstream.errors import InputError, RejectedError
from pacstream.keys import create_key, key_path, rotate_key, variable_of
from pacstream.pseudonyms import PROJECT
from pacstream.settings import load_settings
from pacstream_anonymizer import shelf
from pacstream_anonymizer.profile_file import parse_profile
from pacstream_anonymizer.shelf import DEFAULT_NAME, Project, Shelf
from pacstream_cli.projects import now, ring_of

JSON = click.option("--json", "as_json", is_flag=True, help="as JSON")
PROFILE: dict[str, Any] = {
    "metavar": "NAME|FILE",
    "help": "strict, research, pacsman, or a TOML file",
}


@click.group()
def project() -> None:
    """Projects: the keys that pseudonyms are made of, and the rules of their releases."""


@project.command()
@click.argument("name")
@click.option("--profile", default=DEFAULT_NAME, show_default=True, **PROFILE)
def create(name: str, profile: str) -> None:
    """Make project NAME: its first key, and the profile of its batches."""
    data = _data()
    if Shelf(data).project(name) is not None:
        raise InputError(f"project {name} is there already; `project set` changes its profile")
    _check_variable(data, name)
    text = _text(profile)
    made = create_key(data / "keys", name)
    found = Shelf(data).put(name, text)
    Shelf(data).write(Project(name=name, created_at=now(), profile=found.digest))
    click.echo(f"project {name}: profile {found.name}, digest {found.digest}")
    if made:
        click.echo(f"its key is {key_path(data / 'keys', name)}: make a backup, keep it secret")


@project.command("set")
@click.argument("name")
@click.option("--profile", required=True, **PROFILE)
def change(name: str, profile: str) -> None:
    """Give project NAME another profile; batches that are submitted keep theirs."""
    data = _data()
    known = _known(data, name)
    found = Shelf(data).put(name, _text(profile))
    Shelf(data).write(known.model_copy(update={"profile": found.digest}))
    click.echo(f"project {name}: profile {found.name}, digest {found.digest}")


@project.command("list")
@JSON
def list_(as_json: bool) -> None:
    """All projects of the data folder."""
    data = _data()
    views = [_view(data, name) for name in _names(data)]
    if as_json:
        click.echo(json.dumps(views, indent=1))
        return
    for view in views:
        click.echo(f"{view['project']}: {_keys_of(view)}, profile {view['profile']}")


@project.command()
@click.argument("name")
@JSON
def show(name: str, as_json: bool) -> None:
    """Profile and keys of project NAME. A check value tells whether a backup has the same key."""
    data = _data()
    if name not in _names(data):
        raise InputError(f"there is no project {name} in {data}")
    view = _view(data, name)
    if as_json:
        click.echo(json.dumps(view, indent=1))
        return
    click.echo(f"project {name}, created {view['created_at'] or 'before projects had a date'}")
    click.echo(f"  profile {view['profile']}, digest {view['digest']}")
    for key_id, check in view["keys"].items():
        newest = ", used by new batches" if key_id == view["key_id"] else ""
        click.echo(f"  key {key_id}, check value {check}{newest}")
    click.echo(f"  keys from {view['source'] or 'nowhere: put the backup back'}")


@project.command()
@click.argument("name")
def rotate(name: str) -> None:
    """Give project NAME a new key for new batches. The others stay, so that earlier ones can be
    repeated; patients get new pseudonyms, UIDs and date shifts."""
    data = _data()
    if name not in _names(data):
        raise InputError(f"there is no project {name} in {data}")
    try:
        key_id = rotate_key(data / "keys", name)
    except RejectedError as error:
        raise InputError(f"project {name}: {error}") from None
    click.echo(f"project {name}: new batches use key {key_id}; make a backup")


def _text(profile: str) -> str:
    """The text of a profile that has been checked."""
    source = f"--profile {profile}"
    text = shelf.read_text(profile, source)
    parse_profile(text, source)
    return text


def _data() -> Path:
    return load_settings().data


def _names(data: Path) -> list[str]:
    """Projects that were created, and those that only have a key."""
    keyed = {path.stem for path in (data / "keys").glob("*.key")}
    return sorted({*Shelf(data).names(), *keyed})


def _known(data: Path, name: str) -> Project:
    if not PROJECT.fullmatch(name) or name not in _names(data):
        raise InputError(f"there is no project {name} in {data}")
    return Shelf(data).project(name) or Project(name=name, created_at=now())


def _view(data: Path, name: str) -> dict[str, Any]:
    """What may be shown of a project."""
    known = Shelf(data).project(name)
    digest = known.profile if known else ""
    found = Shelf(data).get(name, digest)
    ring = ring_of(data, name)
    return {
        "project": name,
        "created_at": known.created_at if known else "",
        "profile": found.name,
        "digest": found.digest,
        "keys": {one: ring.key(one).check_value() for one in ring.ids} if ring else {},
        "key_id": ring.current_id if ring else "",
        "source": ring.source if ring else "",
    }


def _keys_of(view: dict[str, Any]) -> str:
    number = len(view["keys"])
    return "no key" if not number else f"{number} {'key' if number == 1 else 'keys'}"


def _check_variable(data: Path, name: str) -> None:
    """Two projects with the same keys could be linked: nobody wants that by accident."""
    variable = variable_of(name)
    same = [other for other in _names(data) if other != name and variable_of(other) == variable]
    if same and os.environ.get(variable):
        raise InputError(f"project {same[0]} has its keys from {variable}: take another name")
