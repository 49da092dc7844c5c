"""Services that run elsewhere, in a cluster or on another machine: --amqp-url and --status-url.

What they say goes before the environment, and before a stack that runs on this machine.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import click

from pacstream.archive import Archive
from pacstream.errors import InputError
from pacstream_cli.client import LedgerClient

FIELDS = {"amqp_url": "amqp_url", "status_url": "ledger_http"}
"""Option of `pacstream`, and the setting that it stands for."""

SCHEMES = {"amqp_url": ("amqp", "amqps"), "status_url": ("http", "https")}

HERE_ONLY = frozenset({"up", "down", "ps", "run"})
"""Commands that are about the services of this machine."""


def told() -> dict[str, str]:
    """The settings that the options of the command that runs give."""
    context = click.get_current_context(silent=True)
    given = context.find_root().params if context else {}
    return {field: given[option] for option, field in FIELDS.items() if given.get(option)}


def check_options(command: str | None, **urls: str | None) -> None:
    """Raises InputError for a URL that is none, or for a command that they do not go with."""
    for option, url in urls.items():
        if url is None:
            continue
        name = "--" + option.replace("_", "-")
        if command in HERE_ONLY:
            raise InputError(
                f"{name} is for services that run elsewhere; `pacstream {command}` is about "
                "those of this machine: use `submit`, `watch`, `status`"
            )
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES[option] or not parts.hostname:
            ways = " or ".join(f"{scheme}://HOST" for scheme in SCHEMES[option])
            raise InputError(f"{name}: a URL like {ways} is expected")


def check_zone(data: Path, ledger: LedgerClient) -> None:
    """Raises InputError if services that run elsewhere do not work on the trusted zone `data`.

    What a submission writes there (keys, profiles, who asked for a series) would reach nobody.
    """
    if told() and Archive(data).zone() != ledger.zone():
        raise InputError(
            f"{data} is not the trusted zone of those services: mount theirs and set "
            "PACSTREAM_DATA, or submit where they run (docs/kubernetes.md#submitting-and-looking)"
        )
