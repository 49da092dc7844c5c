"""The command `pacstream`."""

from __future__ import annotations

import importlib
import sys

import click

from pacstream import __version__, logs
from pacstream.errors import InputError, PacstreamError
from pacstream.without_pixels import load_pydicom
from pacstream_cli.elsewhere import check_options

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130

COMMANDS = {
    "up": "commands_stack",
    "down": "commands_stack",
    "ps": "commands_stack",
    "doctor": "commands_pacs",
    "plan": "commands_pacs",
    "submit": "commands_batch",
    "run": "commands_batch",
    "anonymize": "commands_anonymize",
    "convert": "commands_convert",
    "export": "commands_export",
    "get-pseudonyms": "commands_pseudonyms",
    "status": "commands_status",
    "watch": "commands_status",
    "report": "commands_status",
    "pause": "commands_control",
    "resume": "commands_control",
    "cancel": "commands_control",
    "priority": "commands_control",
    "throttle": "commands_control",
    "quarantine": "commands_quarantine",
    "project": "commands_project",
    "profile": "commands_profile",
    "audit": "commands_audit",
    "add-karnak-tags": "commands_karnak",
    "create-dicomdir": "commands_dicomdir",
    "extract-reports": "commands_reports",
    "move-dumps": "commands_dumps",
    "fake-pacs": "commands_fake",
}
"""The module of each command. It is imported when the command is asked for: the de-identification
engine, NumPy and SQLAlchemy take longer to load than `status` to answer."""

NO_PIXELS = frozenset({"commands_batch", "commands_pacs"})
"""Modules whose commands talk to a PACS and look at no pixels."""

EXTRAS = {"convert": "converter"}
"""What a command needs beyond the extra `cli`: dcm2niix is not in each image and on each laptop."""


class Commands(click.Group):
    """A group that loads its commands when they are wanted."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        if COMMANDS[cmd_name] in NO_PIXELS:
            load_pydicom()
        try:
            module = importlib.import_module(f"pacstream_cli.{COMMANDS[cmd_name]}")
        except ModuleNotFoundError:
            if cmd_name not in EXTRAS:
                raise
            return _without(cmd_name, EXTRAS[cmd_name])
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command


def _without(name: str, extra: str) -> click.Command:
    """What stands for a command whose extra is not installed."""
    needed = f"needs the extra `{extra}`: pip install 'pacstream[{extra}]'"

    def refuse(words: tuple[str, ...]) -> None:
        raise InputError(f"`pacstream {name}` {needed}", code="missing_extra")

    words = click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)
    settings = {"ignore_unknown_options": True}
    return click.Command(
        name, callback=refuse, params=[words], help=f"({needed})", context_settings=settings
    )


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option("--amqp-url", metavar="URL", help="broker of services that run elsewhere")
@click.option("--status-url", metavar="URL", help="where their ledger answers")
@click.pass_context
def pacstream(ctx: click.Context, amqp_url: str | None, status_url: str | None) -> None:
    """Fetch imaging studies from a PACS: queries in, verified, de-identified images out."""
    check_options(ctx.invoked_subcommand, amqp_url=amqp_url, status_url=status_url)


def main() -> None:
    """Run the command line. Exit codes: 0 all delivered, 2 wrong input, 3 not all delivered."""
    logs.silence_libraries()
    try:
        pacstream.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(BAD_INPUT)
    except click.Abort:
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except PacstreamError as error:
        click.echo(f"error: {error}", err=True)
        for problem in getattr(error, "problems", ()):
            click.echo(f"  {problem}", err=True)
        sys.exit(BAD_INPUT if isinstance(error, InputError) else FAILED)
