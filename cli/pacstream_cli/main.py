"""The command `pacstream`."""

from __future__ import annotations

import sys

import click

from pacstream import __version__, logs
from pacstream.errors import InputError, PacstreamError
from pacstream_cli.commands_anonymize import anonymize
from pacstream_cli.commands_audit import audit
from pacstream_cli.commands_batch import report, run, status, submit, watch
from pacstream_cli.commands_control import cancel, pause, priority, resume, throttle
from pacstream_cli.commands_fake import fake_pacs
from pacstream_cli.commands_pacs import doctor, plan
from pacstream_cli.commands_profile import profile
from pacstream_cli.commands_project import project
from pacstream_cli.commands_quarantine import quarantine
from pacstream_cli.commands_stack import down, ps, up

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def pacstream() -> None:
    """Fetch imaging studies from a PACS: queries in, verified, de-identified images out."""


COMMANDS: tuple[click.Command, ...] = (
    up,
    down,
    ps,
    doctor,
    plan,
    submit,
    run,
    anonymize,
    status,
    watch,
    report,
    pause,
    resume,
    cancel,
    priority,
    throttle,
    quarantine,
    project,
    profile,
    audit,
    fake_pacs,
)
for command in COMMANDS:
    pacstream.add_command(command)


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
