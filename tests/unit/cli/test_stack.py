"""The stack's configuration and its words; nothing is started here."""

from __future__ import annotations

import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from pacstream.errors import InputError
from pacstream.settings import MOST_MOVES, Settings
from pacstream_cli.commands_stack import changes, duration
from pacstream_cli.stack import (
    PROGRAMS,
    ProcessState,
    Program,
    Stack,
    instances_of,
    parse_replicas,
    running_settings,
)
from pacstream_cli.supervision import Process, last_lines, program_section, spawn_counts

ELSEWHERE = "amqp://someone:secret@broker.example/%2F"
"""With it no private node is configured; nothing connects to it in these tests."""


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    made = new_stack(tmp_path / "100% of it")
    yield made
    made.stop()


def new_stack(data: Path, **environ: str) -> Stack:
    return Stack(
        Settings(data=data, amqp_url=ELSEWHERE, pacs_concurrency=5),
        environ={"PACSTREAM_AMQP_URL": ELSEWHERE, **environ},
    )


def configured(stack: Stack) -> dict[str, tuple[str, dict[str, str]]]:
    """Command and environment of each program, as supervisord itself reads them."""
    options = ServerOptions()
    options.realize(["-c", str(stack.run / "supervisord.conf")])
    return {
        process.name: (process.command, process.environment)
        for group in options.process_group_configs
        for process in group.process_configs
    }


def state(pid: int | None, name: str = "RUNNING", health: str = "ok") -> ProcessState:
    return ProcessState("query", name, pid, 10, 0, health, Path("query.log"))


def test_replicas_are_read_from_one_option() -> None:
    assert parse_replicas("anonymizer=2, converter=3") == {"anonymizer": 2, "converter": 3}


@pytest.mark.parametrize("text", ["anonymizer", "anonymizer=", "anonymizer=two", "anonymizer=-1"])
def test_replicas_that_are_no_numbers_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_replicas(text)


@pytest.mark.parametrize("wish", [{"anonymiser": 2}, {"ledger": 2}, {"query": 0}, {"query": 65}])
def test_replicas_that_cannot_be_are_refused(wish: dict[str, int]) -> None:
    with pytest.raises(InputError):
        instances_of(PROGRAMS, wish)


def test_replicas_are_numbered_and_single_processes_are_not() -> None:
    programs = (Program("a", ("a",)), Program("b", ("b",)))

    assert list(instances_of(programs, {"b": 2})) == ["a", "b-1", "b-2"]


def test_replicas_of_the_store_scp_are_workers_of_one_process(stack: Stack) -> None:
    stack.write_config({"store_scp": 3})

    stores = {name: given for name, given in configured(stack).items() if "store" in name}
    assert list(stores) == ["store_scp"]
    assert stores["store_scp"][0].endswith("-m pacstream_store_scp --workers 3")


def test_every_process_has_a_health_port_of_its_own(stack: Stack) -> None:
    stack.write_config({"anonymizer": 3})

    ports = [environment["PACSTREAM_HTTP_PORT"] for _, environment in configured(stack).values()]
    assert len(ports) == len(set(ports)) == 9


def test_retrieve_takes_as_many_moves_as_the_ledger_may_ever_release(stack: Stack) -> None:
    stack.write_config()

    _, environment = configured(stack)["retrieve"]
    assert environment["PACSTREAM_WORKERS"] == str(MOST_MOVES)


def test_the_environment_tells_where_the_ledger_and_the_store_scp_are(stack: Stack) -> None:
    stack.write_config(store_aet="OURS")

    told = stack.environment()
    _, ledger = configured(stack)["ledger"]
    assert told["PACSTREAM_DATA"] == str(stack.data)
    assert told["PACSTREAM_AMQP_URL"] == ELSEWHERE
    assert told["PACSTREAM_LEDGER_HTTP"] == f"http://127.0.0.1:{ledger['PACSTREAM_HTTP_PORT']}"
    assert told["PACSTREAM_STORE_AET"] == "OURS"


def test_what_holds_the_broker_password_is_for_the_owner_only(stack: Stack) -> None:
    stack.write_config()

    assert stat.S_IMODE((stack.run / "stack.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(stack.run.stat().st_mode) == 0o700
    assert "secret" not in (stack.run / "supervisord.conf").read_text()


def test_a_second_configuration_chooses_the_same_ports(stack: Stack) -> None:
    stack.write_config()
    first = (stack.run / "ports.json").read_text()
    stack.stop()

    stack.write_config()

    assert (stack.run / "ports.json").read_text() == first


def test_two_stacks_that_start_at_once_do_not_share_the_store_port(tmp_path: Path) -> None:
    one, two = new_stack(tmp_path / "one"), new_stack(tmp_path / "two")
    try:
        one.write_config()
        two.write_config()

        key = "PACSTREAM_STORE_PORT"
        assert one.environment()[key] != two.environment()[key]
    finally:
        one.stop()
        two.stop()


def test_only_one_command_at_a_time_configures_a_data_folder(stack: Stack) -> None:
    stack.write_config()

    with pytest.raises(InputError, match="another command"):
        new_stack(stack.data).write_config()


def test_a_socket_path_that_is_too_long_is_replaced_by_a_private_one(tmp_path: Path) -> None:
    stack = new_stack(tmp_path / ("x" * 100))
    stack.write_config()
    socket = stack.running().socket

    assert not socket.is_relative_to(stack.data)
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    stack.stop()
    assert not socket.parent.exists()


def test_without_a_running_stack_settings_stay_as_they_are(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, amqp_url=ELSEWHERE)

    assert running_settings(settings) is settings


@pytest.mark.parametrize("value", ["a\nb", "a ;b", "a #b", "'a'", "\"a'b"])
def test_what_supervisord_cannot_hold_is_refused(value: str) -> None:
    process = Process("x", ("true",), {"NAME": value})

    with pytest.raises(InputError):
        program_section(process, Path("logs"))


def test_spawns_are_counted_since_the_last_start_of_supervisord(tmp_path: Path) -> None:
    log = tmp_path / "supervisord.log"
    log.write_text(
        "INFO supervisord started with pid 1\nINFO spawned: 'a' with pid 2\n"
        "INFO supervisord started with pid 3\nINFO spawned: 'a' with pid 4\n"
        "INFO spawned: 'a' with pid 5\nINFO spawned: 'b' with pid 6\n"
    )

    assert spawn_counts(log) == {"a": 2, "b": 1}


def test_spawns_are_unknown_when_the_log_was_rotated(tmp_path: Path) -> None:
    log = tmp_path / "supervisord.log"
    log.write_text("INFO spawned: 'a' with pid 5\n")

    assert spawn_counts(log) is None


def test_the_end_of_a_log_is_shown_without_colours(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("".join(f"\x1b[31mline {number}\x1b[0m\n" for number in range(30)))

    assert last_lines(log, 2) == "line 28\nline 29"


def test_a_death_and_a_return_are_told() -> None:
    assert len(changes(state(1), state(None, "BACKOFF"))) == 1
    assert len(changes(state(None, "BACKOFF"), state(2))) == 1
    assert len(changes(state(1), state(2))) == 2


def test_a_change_of_health_is_told_and_passing_time_is_not() -> None:
    assert changes(state(1), state(1, health="HTTP 503")) != []
    assert changes(state(1), state(1)) == []


def test_a_duration_is_hours_minutes_seconds() -> None:
    assert duration(3725) == "1:02:05"


def test_the_private_socket_folder_is_not_made_when_it_is_not_needed() -> None:
    with tempfile.TemporaryDirectory() as short:
        stack = Stack(
            Settings(data=Path(short), amqp_url=ELSEWHERE), {"PACSTREAM_AMQP_URL": ELSEWHERE}
        )
        stack.write_config()

        assert stack.running().socket.parent == stack.run
