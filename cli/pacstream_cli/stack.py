"""The local stack: a broker and all services on this machine, kept running by supervisord.

    DATA/run/      supervisord.conf, stack.json (what runs, and where), ports.json, lock, ...
    DATA/broker/   the private broker's database
    DATA/logs/     <process>.log, supervisord.log

Every process of a stack carries the variable of `MARKER` in its environment, with the data folder:
by it, and by nothing else, is found what a killed supervisord left behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO

from pydantic import BaseModel, ConfigDict, ValidationError

from pacstream.archive import write_atomically
from pacstream.errors import BrokerUnavailableError, InputError, PacstreamError
from pacstream.settings import MOST_MOVES, PREFIX, Settings
from pacstream_anonymizer.second_look import look_for
from pacstream_cli import broker, elsewhere
from pacstream_cli.ports import Ports, assign, is_free, read_ports, require_free, reserve, start_of
from pacstream_cli.supervision import (
    MAX_SOCKET_PATH,
    SERVICES,
    Files,
    Process,
    Supervisor,
    config_text,
    http_health,
    last_lines,
    spawn_counts,
)

if TYPE_CHECKING:
    import psutil

MARKER = "STACK_OF_PACSTREAM"
"""Not a PACSTREAM_ variable: people export those, and their shells must not pass for ours."""

FOREIGN_VARIABLES = ("RABBITMQ_", "ERL_", "SUPERVISOR_")
"""Prefixes of variables that would reach into the private node or supervisord."""

STORE = "store_scp"
BROKER_START_S = 120.0
READY_S = 120.0
FOREIGN_BROKER_S = 5.0
STOP_S = 90.0
DEATHS_BEFORE_GIVING_UP = 5
MAX_REPLICAS = 64


class StackError(PacstreamError):
    """A process of the stack did not start, or supervisord is gone."""

    code = "stack"


@dataclass(frozen=True)
class Program:
    """Something that serves GET /health on PACSTREAM_HTTP_PORT. `command` follows Python's path.

    `supervises`: it starts and replaces its replicas itself, behind one process of the stack.
    """

    name: str
    command: tuple[str, ...]
    replicable: bool = True
    supervises: bool = False


PROGRAMS: tuple[Program, ...] = (
    Program("query", ("-m", "pacstream_query")),
    Program("retrieve", ("-m", "pacstream_retrieve")),
    Program(STORE, ("-m", "pacstream_store_scp"), supervises=True),
    Program("anonymizer", ("-m", "pacstream_anonymizer")),
    Program("converter", ("-m", "pacstream_converter")),
    Program("exporter", ("-m", "pacstream_exporter")),
    Program("ledger", ("-m", "pacstream_ledger"), replicable=False),
)


class Member(BaseModel):
    """One process of a stack and where it shows that it is well."""

    model_config = ConfigDict(frozen=True)

    name: str
    probe: Literal["http", "tcp"]
    port: int
    service: bool


class Running(BaseModel):
    """stack.json: what other commands must know of a stack. Holds the broker's password."""

    model_config = ConfigDict(frozen=True)

    socket: Path
    environment: dict[str, str]
    members: tuple[Member, ...]
    management_port: int | None = None


@dataclass(frozen=True)
class ProcessState:
    """`restarts` is None where it is not known; `health` is what the process says of itself."""

    name: str
    state: str
    pid: int | None
    uptime_s: int | None
    restarts: int | None
    health: str
    log: Path

    @property
    def ready(self) -> bool:
        return self.state == "RUNNING" and self.health == "ok"


def parse_replicas(text: str) -> dict[str, int]:
    """`anonymizer=2,converter=2` as numbers by name. Raises InputError."""
    replicas: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = part.partition("=")
        if not re.fullmatch(r"[0-9]{1,4}", number.strip()):
            raise InputError(f"replicas: {part!r} is not NAME=NUMBER", code="bad_replicas")
        replicas[name.strip()] = int(number)
    return replicas


def instances_of(programs: Sequence[Program], replicas: Mapping[str, int]) -> dict[str, Program]:
    """Process names and the programs they run: `x`, or `x-1`, `x-2`, ... Raises InputError.

    What supervises its replicas is one process with `--workers`.
    """
    known = {program.name: program for program in programs}
    for name, number in replicas.items():
        if name not in known:
            raise InputError(
                f"replicas: no service {name!r}; there are {', '.join(known)}",
                code="unknown_service",
            )
        highest = MAX_REPLICAS if known[name].replicable else 1
        times = f"1 to {highest}" if highest > 1 else "once (it is the one writer)"
        if not 1 <= number <= highest:
            raise InputError(
                f"replicas: {name} can't run {number} times, only {times}",
                code="bad_replicas",
            )
    instances: dict[str, Program] = {}
    for name, program in known.items():
        number = replicas.get(name, 1)
        if program.supervises and name in replicas:
            command = (*program.command, "--workers", str(number))
            program, number = replace(program, command=command), 1
        names = [name] if number == 1 else [f"{name}-{index}" for index in range(1, number + 1)]
        instances |= dict.fromkeys(names, program)
    return instances


class Stack:
    """The stack of one data folder.

    A private broker belongs to it unless `environ` has PACSTREAM_AMQP_URL.
    """

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str] | None = None,
        programs: Sequence[Program] = PROGRAMS,
    ) -> None:
        self.settings = settings
        self.data = settings.data.resolve()
        self.run = self.data / "run"
        self.logs = self.data / "logs"
        self._environ = dict(os.environ if environ is None else environ)
        self._programs = tuple(programs)
        self._private_broker = not self._environ.get(f"{PREFIX}AMQP_URL")
        self._child: subprocess.Popen[bytes] | None = None
        self._store_port_holder: socket.socket | None = None
        self._lock_file: TextIO | None = None
        self._configured = False

    # What is recorded

    def running(self) -> Running:
        """What the last start recorded. Raises StackError if there is nothing to be read."""
        try:
            return Running.model_validate_json((self.run / "stack.json").read_bytes())
        except (FileNotFoundError, ValidationError):
            raise StackError("no stack was started in this data folder") from None

    def environment(self) -> dict[str, str]:
        """The variables that other commands and all services of this stack need."""
        return dict(self.running().environment)

    def supervisor(self) -> Supervisor:
        """A client of the recorded supervisord."""
        return Supervisor(self.running().socket)

    def supervisor_pid(self) -> int | None:
        """supervisord's process id if it runs and is not on its way down."""
        if not (self.run / "stack.json").exists():
            return None
        return self.supervisor().pid()

    def is_running(self) -> bool:
        return self.supervisor_pid() is not None

    # Start

    def write_config(
        self,
        replicas: Mapping[str, int] | None = None,
        store_port: int | None = None,
        store_aet: str | None = None,
    ) -> None:
        """Choose ports and write all files below DATA/run; first end what a killed stack left.

        From here to the end of `start` no other command can start or stop a stack here.
        Raises InputError if the stack runs already, a port that the user fixed is taken,
        `replicas` has an unknown name or an impossible number, or the settings ask for a second
        look that is not installed.
        """
        instances = instances_of(self._programs, replicas or {})
        look_for(ocr=self.settings.ocr)
        self._lock(wait_s=0)
        try:
            self._require_stopped()
            end_leftovers(self.data)
            self.logs.mkdir(exist_ok=True, mode=0o700)
            ports = self._choose_ports(list(instances), store_port)
            processes = [
                *self._broker_processes(ports),
                *(self._process(name, program, ports) for name, program in instances.items()),
            ]
            self._write(processes, ports, self._environment(ports, store_aet))
        except BaseException:
            self._release_store_port()
            self._unlock()
            raise

    def start(self) -> None:
        """Start supervisord, the broker and the services; return when the broker answers.

        Writes the default configuration if `write_config` was not called before. Raises InputError
        if the stack runs already, StackError if supervisord or the broker does not start.
        """
        if not self._configured:
            self.write_config()
        try:
            if not self._private_broker:
                broker.wait_for_amqp(self.settings.amqp_url, FOREIGN_BROKER_S)
            self._launch()
            if self._private_broker:
                self._wait_for_broker(BROKER_START_S)
            if any(member.service for member in self.running().members):
                self.supervisor().start_services()
        finally:
            self._unlock()

    def _require_stopped(self) -> None:
        pid = self.supervisor_pid()
        if pid is not None:
            raise InputError(
                f"a stack is already running in this data folder (supervisord, pid {pid})",
                code="already_running",
            )

    def _write(self, processes: list[Process], ports: Ports, environment: dict[str, str]) -> None:
        files = self._files()
        running = Running(
            socket=files.socket,
            environment=environment,
            members=tuple(
                Member(name=p.name, probe=p.probe, port=p.port, service=p.group == SERVICES)
                for p in processes
            ),
            management_port=ports.get("management"),
        )
        broker.write_private(files.config, config_text(processes, files))
        broker.write_private(self.run / "stack.json", running.model_dump_json(indent=1))
        self._configured = True

    def _choose_ports(self, instances: list[str], store_port: int | None) -> Ports:
        recorded = read_ports(self.run / "ports.json")
        has_store = any(program.name == STORE for program in self._programs)
        names = [
            *(broker.PORT_NAMES if self._private_broker else ()),
            *(["store"] if has_store else []),
            *instances,
        ]
        fixed = self._fixed_store_port(store_port, recorded) if has_store else {}
        ports = assign(names, start_of(self.data), recorded, fixed)
        if has_store:
            self._release_store_port()
            self._store_port_holder = reserve(ports["store"], self.settings.store_host)
        write_atomically(self.run / "ports.json", ports.model_dump_json(indent=1).encode())
        return ports

    def _fixed_store_port(self, store_port: int | None, recorded: Ports) -> dict[str, int]:
        """The port that the user fixed; else the usual one if free and no other was recorded."""
        usual = self.settings.store_port
        if store_port is None and self._environ.get(f"{PREFIX}STORE_PORT"):
            store_port = usual
        if store_port is not None:
            require_free(store_port, self.settings.store_host, "store SCP")
            return {"store": store_port}
        return {"store": usual} if recorded.get("store") is None and is_free(usual) else {}

    def _release_store_port(self) -> None:
        if self._store_port_holder is not None:
            self._store_port_holder.close()
            self._store_port_holder = None

    def _environment(self, ports: Ports, store_aet: str | None) -> dict[str, str]:
        url = self.settings.amqp_url
        if self._private_broker:
            url = broker.node_url(self.data, ports)
        environment = {
            f"{PREFIX}DATA": str(self.data),
            f"{PREFIX}AMQP_URL": url,
            f"{PREFIX}STORE_AET": store_aet or self.settings.store_aet,
        }
        store = ports.get("store")
        if store is not None:
            environment[f"{PREFIX}STORE_PORT"] = str(store)
        ledger = ports.get("ledger")
        if ledger is not None:
            environment[f"{PREFIX}LEDGER_HTTP"] = f"http://{self._http_host()}:{ledger}"
        return environment

    def _http_host(self) -> str:
        host = self.settings.http_host
        return "127.0.0.1" if host in ("", "0.0.0.0", "localhost") else host

    def _broker_processes(self, ports: Ports) -> tuple[Process, ...]:
        if not self._private_broker:
            return ()
        broker.write_node(self.data, ports)
        return broker.node_processes(self.data, ports)

    def _process(self, name: str, program: Program, ports: Ports) -> Process:
        environment = {f"{PREFIX}HTTP_PORT": str(ports[name])}
        if program.name == "retrieve":
            environment[f"{PREFIX}WORKERS"] = str(MOST_MOVES)
        if program.name == "query":
            # as many rows are asked at once as the PACS bears; the others are just being published
            environment[f"{PREFIX}WORKERS"] = str(2 * self.settings.pacs_concurrency)
        return Process(
            name=name,
            command=(sys.executable, *program.command),
            environment=environment,
            port=ports[name],
        )

    def _files(self) -> Files:
        socket_path = self.run / "supervisor.sock"
        if len(bytes(socket_path)) > MAX_SOCKET_PATH:
            socket_path = Path(tempfile.mkdtemp(prefix="pacstream-")) / "supervisor.sock"
        return Files(
            socket=socket_path,
            config=self.run / "supervisord.conf",
            pid=self.run / "supervisord.pid",
            log=self.logs / "supervisord.log",
            logs=self.logs,
        )

    def _launch(self) -> None:
        """Start supervisord in a session of its own, so that no terminal reaches it."""
        inherited = {
            name: value
            for name, value in self._environ.items()
            if not name.startswith(FOREIGN_VARIABLES)
        }
        environment = {**inherited, **self.environment(), MARKER: str(self.data)}
        command = [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "--silent"]
        with (self.run / "supervisord.out").open("wb") as output:
            self._child = subprocess.Popen(
                [*command, "--configuration", str(self.run / "supervisord.conf")],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 20
        while self.supervisor_pid() is None:
            if self._child.poll() is not None or time.monotonic() > deadline:
                said = last_lines(self.run / "supervisord.out")
                raise StackError(f"supervisord did not start; it wrote:\n{said}")
            time.sleep(0.05)

    def _wait_for_broker(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return broker.wait_for_amqp(self.environment()[f"{PREFIX}AMQP_URL"], 1.0)
            except BrokerUnavailableError:
                self._give_up_on_the_dying(late=time.monotonic() > deadline)

    # Watch

    def processes(self) -> list[ProcessState]:
        """All processes in the order in which they start; empty if the stack is not running."""
        if not (self.run / "stack.json").exists():
            return []
        members = {member.name: member for member in self.running().members}
        spawned = spawn_counts(self.logs / "supervisord.log")
        return [
            ProcessState(
                name=info.name,
                state=info.state,
                pid=info.pid,
                uptime_s=info.uptime_s,
                restarts=max(spawned.get(info.name, 0) - 1, 0) if spawned is not None else None,
                health=self._health(members[info.name]) if info.state == "RUNNING" else "-",
                log=self.logs / f"{info.name}.log",
            )
            for info in self.supervisor().processes()
        ]

    def _health(self, member: Member) -> str:
        if member.probe == "http":
            return http_health(self._http_host(), member.port)
        try:
            socket.create_connection(("127.0.0.1", member.port), timeout=2).close()
        except OSError:
            return "no answer"
        return "ok"

    def wait_ready(self, timeout_s: float = READY_S) -> None:
        """Return when every process runs and calls itself healthy.

        Raises StackError, with the last lines of a log, if one does not or dies again and again.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            states = self.processes()
            if not states:
                raise StackError("the stack was stopped while it was starting")
            if all(state.ready for state in states):
                self._release_store_port()
                return
            self._give_up_on_the_dying(late=time.monotonic() > deadline)
            time.sleep(0.2)

    def _give_up_on_the_dying(self, late: bool) -> None:
        for state in self.processes():
            deaths = state.restarts or 0
            if state.ready or not (late or deaths >= DEATHS_BEFORE_GIVING_UP):
                continue
            raise StackError(
                f"{state.name} does not become ready (state {state.state}, health {state.health}, "
                f"{deaths} restarts). Its log, {state.log}, ends with:\n{last_lines(state.log)}"
            )

    def wait_for_end(self) -> bool:
        """Whether the supervisord that this object started ended, or ends, as it was asked to."""
        if self._child is None:
            return False
        try:
            return self._child.wait(STOP_S) == 0
        except subprocess.TimeoutExpired:
            return False

    # Stop

    def stop(self) -> bool:
        """Stop everything and leave no process behind; False if nothing was running."""
        self._release_store_port()
        if not self.run.is_dir():
            return False
        self._lock(wait_s=BROKER_START_S)
        try:
            pid = self.supervisor_pid()
            if pid is not None:
                self.supervisor().shut_down()
                self._wait_for_end(pid)
            left = end_leftovers(self.data)
            self._forget()
        finally:
            self._unlock()
        return pid is not None or left > 0

    def _forget(self) -> None:
        with contextlib.suppress(StackError):
            folder = self.running().socket.parent
            if folder != self.run:
                shutil.rmtree(folder, ignore_errors=True)
        (self.run / "stack.json").unlink(missing_ok=True)
        self._configured = False

    def _wait_for_end(self, pid: int) -> None:
        """Wait for supervisord for `STOP_S` at most; what is left then is ended as a leftover."""
        import psutil

        deadline = time.monotonic() + STOP_S
        while time.monotonic() < deadline:
            if self._child is not None:
                self._child.poll()
            try:
                if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                    return
            except psutil.NoSuchProcess:
                return
            time.sleep(0.05)

    def _lock(self, wait_s: float) -> None:
        """One command at a time starts or stops the stack. Raises InputError after `wait_s`."""
        if self._lock_file is not None:
            return
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.run.mkdir(exist_ok=True, mode=0o700)
        self.run.chmod(0o700)
        file = (self.run / "lock").open("w")
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    file.close()
                    raise InputError(
                        "another command is starting or stopping this stack", code="busy"
                    ) from None
                time.sleep(0.1)
            else:
                self._lock_file = file
                return

    def _unlock(self) -> None:
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None


def running_settings(settings: Settings) -> Settings:
    """`settings` with what the running stack of its data folder decides (broker, ledger, ports).

    `settings` itself if no stack runs there. What --amqp-url and --status-url say goes before both.
    """
    stack = Stack(settings)
    told = elsewhere.told()
    if stack.is_running():
        environment = stack.environment().items()
        told = {name.removeprefix(PREFIX).lower(): value for name, value in environment} | told
    return Settings.model_validate({**settings.model_dump(), **told}) if told else settings


def leftovers(data: Path) -> list[psutil.Process]:
    """Every process that was started by a stack of this data folder."""
    import psutil  # for starts and stops only: other commands look this module up, too

    found = []
    for process in psutil.process_iter():
        try:
            marked = process.environ().get(MARKER) == str(data)
        except psutil.Error:
            continue  # gone by now, or another user's
        if marked and process.pid != os.getpid():
            found.append(process)
    return found


def end_leftovers(data: Path, patience_s: float = 20.0) -> int:
    """Terminate, then kill, what a stack of this data folder left; the number of processes.

    Raises StackError if any process stays.
    """
    import psutil

    found = leftovers(data)
    total = len(found)
    for send in (psutil.Process.terminate, psutil.Process.kill):
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                send(process)
        deadline = time.monotonic() + patience_s
        while found and time.monotonic() < deadline:
            time.sleep(0.05)
            found = leftovers(data)
    if found:
        raise StackError("some processes of this data folder can't be ended")
    return total
