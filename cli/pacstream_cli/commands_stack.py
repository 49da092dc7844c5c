"""`pacstream up`, `down` and `ps`: the services on this machine."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pacstream.settings import load_settings
from pacstream_cli.config import read_config
from pacstream_cli.stack import ProcessState, Stack, StackError, parse_replicas

LOOK_EVERY_S = 1.0


@click.command()
@click.option(
    "--replicas",
    default="",
    metavar="NAME=N,...",
    help="processes of a service, e.g. anonymizer=2,converter=2 (all but the ledger)",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="PACS configuration: move_port and AET become the store SCP's",
)
@click.option("--detach", is_flag=True, help="return when all is up; `pacstream down` stops it")
def up(replicas: str, config: Path | None, detach: bool) -> None:
    """Start a broker and all services, and keep them running.

    The broker is a private RabbitMQ node unless PACSTREAM_AMQP_URL names one. Everything is kept in
    the data folder (PACSTREAM_DATA, default .pacstream). Stays in the foreground until Ctrl-C.
    """
    stack = Stack(load_settings())
    wishes = read_config(config) if config else None
    with signals_as_interrupt():
        stack.write_config(
            parse_replicas(replicas),
            store_port=wishes.move_port if wishes else None,
            store_aet=wishes.aet if wishes else None,
        )
        try:
            click.echo("starting ...")
            stack.start()
            stack.wait_ready()
            ready = stack.processes()
            for line in whereabouts(stack):
                click.echo(line)
            if detach:
                click.echo("`pacstream down` stops it.")
                return
            click.echo("Ctrl-C stops it.")
            watch(stack, ready)
        except KeyboardInterrupt:
            stop_undisturbed(stack)
        except BaseException:
            stop_undisturbed(stack)
            raise


@click.command()
def down() -> None:
    """Stop the stack of the data folder; nothing is left running."""
    stack = Stack(load_settings())
    with signals_as_interrupt():
        stopped = stack.stop()
    click.echo(f"stopped ({stack.data})" if stopped else f"nothing is running ({stack.data})")


@click.command()
def ps() -> None:
    """Show the processes of the stack. Exit code 1 if it is not running."""
    stack = Stack(load_settings())
    states = stack.processes()
    if not states:
        click.echo(f"nothing is running ({stack.data}); `pacstream up` starts it")
        sys.exit(1)
    Console().print(table_of(states))
    for line in whereabouts(stack):
        click.echo(line)


def stop_undisturbed(stack: Stack) -> None:
    """Stop everything; neither a second Ctrl-C nor a closed terminal leaves it half done."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        click.echo("stopping ...")
    stack.stop()
    with contextlib.suppress(OSError):
        click.echo("stopped")


@contextlib.contextmanager
def signals_as_interrupt() -> Iterator[None]:
    """SIGTERM and a closed terminal do what Ctrl-C does."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def whereabouts(stack: Stack) -> list[str]:
    """Lines that tell where everything of a running stack is."""
    running = stack.running()
    environment = running.environment
    lines = []
    if running.management_port is not None:
        lines.append(
            f"RabbitMQ dashboard  http://127.0.0.1:{running.management_port}/  "
            f"(user pacstream, password in {stack.data / 'broker' / 'password'})"
        )
    ledger = environment.get("PACSTREAM_LEDGER_HTTP")
    if ledger:
        lines.append(f"ledger              {ledger}/")
    port = environment.get("PACSTREAM_STORE_PORT")
    if port:
        lines.append(f"store SCP           port {port}, AE {environment['PACSTREAM_STORE_AET']}")
    return [*lines, f"data                {stack.data}", f"logs                {stack.logs}"]


def watch(stack: Stack, known: list[ProcessState]) -> None:
    """Tell of every death and return of a process until the stack is stopped from elsewhere.

    `known` is what the user was told of last. Raises StackError if supervisord died unasked.
    """
    before = {state.name: state for state in known}
    while True:
        time.sleep(LOOK_EVERY_S)
        now = {state.name: state for state in stack.processes()}
        if not now:
            _report_end(stack)
            return
        for name, state in now.items():
            for line in changes(before.get(name), state):
                click.echo(f"{time.strftime('%H:%M:%S')} {line}")
        before = now


def _report_end(stack: Stack) -> None:
    """supervisord does not answer: it was told to stop (`pacstream down`), or it died."""
    if not stack.wait_for_end():
        raise StackError("supervisord died; all processes are being stopped")
    click.echo("stopped by another command")


def changes(before: ProcessState | None, now: ProcessState) -> list[str]:
    """What happened to one process between two looks, in words."""
    if before is None or before == now:
        return []
    lines = []
    died = before.pid is not None and before.pid != now.pid
    if died:
        lines.append(f"{now.name} (pid {before.pid}) died; log: {now.log}")
    if now.pid is not None and now.pid != before.pid:
        lines.append(f"{now.name} is back (pid {now.pid}, {now.state.lower()})")
    if not died and now.pid == before.pid and now.health != before.health:
        lines.append(f"{now.name} health: {now.health} (was: {before.health})")
    return lines


def table_of(states: list[ProcessState]) -> Table:
    table = Table("process", "state", "pid", "uptime", "restarts", "health", box=None)
    for state in states:
        colour = "green" if state.ready else "red"
        table.add_row(
            state.name,
            f"[{colour}]{state.state.lower()}[/]",
            "-" if state.pid is None else str(state.pid),
            "-" if state.uptime_s is None else duration(state.uptime_s),
            "?" if state.restarts is None else str(state.restarts),
            escape(state.health),
        )
    return table


def duration(seconds: int) -> str:
    minutes, seconds = divmod(max(seconds, 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
