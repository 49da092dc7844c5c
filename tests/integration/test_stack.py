"""The local stack with real processes: supervisord, RabbitMQ, and tiny stand-ins for services."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pacstream.errors import BrokerUnavailableError, InputError
from pacstream.settings import Settings
from pacstream_cli import ports
from pacstream_cli.broker import wait_for_amqp
from pacstream_cli.stack import ProcessState, Program, Stack, StackError, running_settings
from pacstream_cli.supervision import http_health
from tests.broker import PrivateBroker

pytestmark = pytest.mark.rabbitmq

STAND_IN = """
import http.server, os

class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/die":
            os._exit(3)
        self.send_response(503 if os.environ.get("SICK") else 200)
        self.end_headers()

    def log_message(self, *args):
        pass

print("stand-in is up", flush=True)
address = ("127.0.0.1", int(os.environ["PACSTREAM_HTTP_PORT"]))
http.server.HTTPServer(address, Health).serve_forever()
"""

UP = """
import functools
from pacstream_cli import commands_stack
from pacstream_cli.stack import Program, Stack

program = Program("stand_in", ({path!r},))
commands_stack.Stack = functools.partial(Stack, programs=(program,))
commands_stack.up({arguments!r})
"""

NewStack = Callable[..., Stack]


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    path = tmp_path / "stand_in.py"
    path.write_text(STAND_IN)
    return path


@pytest.fixture
def new_stack(tmp_path: Path, stand_in: Path) -> Iterator[NewStack]:
    """Makes stacks of stand-ins in data folders of this test; all are stopped at its end."""
    made: list[Stack] = []

    def new(folder: str, programs: tuple[str, ...] = ("stand_in",), **environ: str) -> Stack:
        environ = {"PATH": os.environ["PATH"], **environ}
        settings = Settings(
            data=tmp_path / folder,
            **{
                key.removeprefix("PACSTREAM_").lower(): value  # type: ignore[arg-type]  # as texts
                for key, value in environ.items()
                if key.startswith("PACSTREAM_")
            },
        )
        command = (str(stand_in),)
        stack = Stack(settings, environ, tuple(Program(name, command) for name in programs))
        made.append(stack)
        return stack

    yield new
    for stack in made:
        stack.stop()


def processes_of(data: Path) -> list[str]:
    """Every process with the data folder in its environment or its command line."""
    found = []
    for process in psutil.process_iter():
        try:
            texts = [*process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue
        if process.pid != os.getpid() and any(str(data) in text for text in texts):
            found.append(process.name())
    return found


def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.1)


def state_of(stack: Stack, name: str = "stand_in") -> ProcessState:
    return next(state for state in stack.processes() if state.name == name)


def ask_to_die(stack: Stack, name: str) -> None:
    port = ports.read_ports(stack.run / "ports.json")[name]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /die HTTP/1.0\r\n\r\n")
        connection.recv(1)


def test_a_private_node_lives_and_ends_with_its_stack(new_stack: NewStack) -> None:
    stack = new_stack("data %d", ("stand_in",))
    stack.start()
    stack.wait_ready()
    chosen = ports.read_ports(stack.run / "ports.json").root.values()
    assert [state.name for state in stack.processes()] == ["epmd", "rabbitmq", "stand_in"]
    assert "beam.smp" in processes_of(stack.data)

    assert stack.stop()

    assert processes_of(stack.data) == []
    assert all(ports.is_free(port) for port in chosen)


def test_the_private_node_listens_on_the_loopback_interface_only(broker: PrivateBroker) -> None:
    chosen = set(ports.read_ports(broker.folder / "run" / "ports.json").root.values())

    listening = [
        tuple(connection.laddr)
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    addresses = {address for address, port in listening if port in chosen}
    assert addresses <= {"127.0.0.1", "::1"}
    assert chosen == {port for _, port in listening if port in chosen}


def test_two_private_nodes_run_side_by_side(broker: PrivateBroker) -> None:
    with PrivateBroker() as other:
        assert other.url != broker.url
        wait_for_amqp(other.url, 5)

    wait_for_amqp(broker.url, 5)


def test_the_private_node_keeps_its_user_over_a_restart(broker: PrivateBroker) -> None:
    vhost = broker.new_vhost()

    broker.stop_node()
    with pytest.raises(BrokerUnavailableError):
        wait_for_amqp(vhost, 0)
    broker.start_node()

    wait_for_amqp(vhost, 5)


def test_two_stacks_run_in_two_folders(new_stack: NewStack, vhost_url: str) -> None:
    one, two = (new_stack(name, PACSTREAM_AMQP_URL=vhost_url) for name in ("one", "two"))
    one.start()
    two.start()
    one.wait_ready()
    two.wait_ready()

    one.stop()

    assert state_of(two).ready
    assert processes_of(one.data) == []


def test_a_process_that_dies_is_started_again_and_counted(
    new_stack: NewStack, vhost_url: str
) -> None:
    stack = new_stack("data", ("a", "b"), PACSTREAM_AMQP_URL=vhost_url)
    stack.write_config({"b": 2})
    stack.start()
    stack.wait_ready()

    ask_to_die(stack, "b-2")

    until(lambda: state_of(stack, "b-2").restarts == 1 and state_of(stack, "b-2").ready)
    assert state_of(stack, "a").restarts == 0


def test_a_running_stack_is_found_by_other_commands(new_stack: NewStack, vhost_url: str) -> None:
    stack = new_stack("data", ("ledger",), PACSTREAM_AMQP_URL=vhost_url)
    stack.start()

    found = running_settings(Settings(data=stack.data))

    port = ports.read_ports(stack.run / "ports.json")["ledger"]
    assert found.amqp_url == vhost_url
    assert found.ledger_http == f"http://127.0.0.1:{port}"


def test_a_second_start_in_the_same_folder_is_refused(new_stack: NewStack, vhost_url: str) -> None:
    stack = new_stack("data", PACSTREAM_AMQP_URL=vhost_url)
    stack.start()

    with pytest.raises(InputError, match="already running"):
        new_stack("data", PACSTREAM_AMQP_URL=vhost_url).start()

    stack.wait_ready()


def test_a_store_port_in_use_is_named_with_its_holder(new_stack: NewStack, vhost_url: str) -> None:
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        port = listener.getsockname()[1]
        stack = new_stack(
            "data", ("store_scp",), PACSTREAM_AMQP_URL=vhost_url, PACSTREAM_STORE_PORT=str(port)
        )

        with pytest.raises(InputError, match=rf"port {port} .*pid {os.getpid()}"):
            stack.start()


def test_a_killed_supervisord_does_not_hinder_the_next_start(new_stack: NewStack) -> None:
    stack = new_stack("data")
    stack.start()
    stack.wait_ready()
    pid = stack.supervisor_pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: not stack.is_running())
    orphan = new_stack("data")
    assert "beam.smp" in processes_of(stack.data)

    orphan.start()
    orphan.wait_ready()

    names = processes_of(stack.data)
    assert names.count("beam.smp") == names.count("epmd") == 1


def test_what_a_killed_supervisord_left_is_ended_by_stop(
    new_stack: NewStack, vhost_url: str
) -> None:
    stack = new_stack("data", PACSTREAM_AMQP_URL=vhost_url)
    stack.start()
    pid = stack.supervisor_pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: not stack.is_running())

    assert stack.stop()

    assert processes_of(stack.data) == []


def test_a_process_that_does_not_become_healthy_is_named_with_the_end_of_its_log(
    new_stack: NewStack, vhost_url: str
) -> None:
    stack = new_stack("data", PACSTREAM_AMQP_URL=vhost_url, SICK="yes")
    stack.start()

    with pytest.raises(StackError, match=r"(?s)stand_in .*HTTP 503.*stand-in is up"):
        stack.wait_ready(3)


def test_a_broker_that_is_not_there_is_named_without_its_password(new_stack: NewStack) -> None:
    port = ports.free_port(ports.FIRST)
    stack = new_stack("data", PACSTREAM_AMQP_URL=f"amqp://me:secret@127.0.0.1:{port}/%2F")

    with pytest.raises(BrokerUnavailableError, match=str(port)) as caught:
        stack.start()

    assert "secret" not in str(caught.value)


def test_variables_of_another_node_do_not_reach_the_stack(
    new_stack: NewStack, vhost_url: str
) -> None:
    stack = new_stack("data", PACSTREAM_AMQP_URL=vhost_url, RABBITMQ_NODENAME="other@localhost")
    stack.start()
    stack.wait_ready()

    pid = state_of(stack).pid
    assert pid is not None
    assert "RABBITMQ_NODENAME" not in psutil.Process(pid).environ()


@contextlib.contextmanager
def run_up(stand_in: Path, url: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`pacstream up` in a process of its own, with one stand-in for all services."""
    data = stand_in.parent / "data"
    process = subprocess.Popen(
        [sys.executable, "-c", UP.format(path=str(stand_in), arguments=list(arguments))],
        env={"PATH": os.environ["PATH"], "PACSTREAM_DATA": str(data), "PACSTREAM_AMQP_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
        process.wait(60)
    finally:
        process.terminate()
        process.communicate()


def read_until(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if word in line:
            return line
    raise AssertionError(f"{word!r} was not printed")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_in_the_foreground_tells_of_deaths_and_stops_on_a_signal(
    stand_in: Path, vhost_url: str, number: signal.Signals
) -> None:
    data = stand_in.parent / "data"
    with run_up(stand_in, vhost_url) as process:
        read_until(process, "Ctrl-C")
        pid = state_of(Stack(Settings(data=data))).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert "stand_in" in read_until(process, "died")
        assert "stand_in" in read_until(process, "is back")
        process.send_signal(number)
        read_until(process, "stopped")

    assert process.returncode == 0
    assert processes_of(data) == []


def test_up_detached_leaves_a_stack_that_another_process_can_stop(
    stand_in: Path, vhost_url: str
) -> None:
    data = stand_in.parent / "data"
    with run_up(stand_in, vhost_url, "--detach") as process:
        read_until(process, "pacstream down")
    stack = Stack(Settings(data=data))
    assert process.returncode == 0
    assert state_of(stack).ready
    assert http_health("127.0.0.1", ports.read_ports(stack.run / "ports.json")["stand_in"]) == "ok"

    assert stack.stop()

    assert processes_of(data) == []


def test_up_in_the_foreground_ends_when_the_stack_is_stopped_elsewhere(
    stand_in: Path, vhost_url: str
) -> None:
    data = stand_in.parent / "data"
    with run_up(stand_in, vhost_url) as process:
        read_until(process, "Ctrl-C")
        Stack(Settings(data=data)).stop()
        read_until(process, "another command")

    assert process.returncode == 0
    assert processes_of(data) == []


def test_up_in_the_foreground_stops_all_when_supervisord_is_killed(
    stand_in: Path, vhost_url: str
) -> None:
    data = stand_in.parent / "data"
    with run_up(stand_in, vhost_url) as process:
        read_until(process, "Ctrl-C")
        pid = Stack(Settings(data=data)).supervisor_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        read_until(process, "supervisord died")
        assert process.wait(60) == 1

    assert processes_of(data) == []
