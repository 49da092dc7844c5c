"""supervisord: its configuration as text, a client of its XML-RPC interface, and its logs.

supervisord restarts what dies and keeps one log file a process. It listens on a unix socket only.
"""

from __future__ import annotations

import http.client
import os
import pwd
import re
import shlex
import socket
import xmlrpc.client
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pacstream.errors import InputError

SERVICES = "services"
"""The group of all programs but the broker's: stopped together, before the broker."""

MAX_SOCKET_PATH = 107 - len(".4194304")
"""Bytes. A unix socket's path has at most 107 (unix(7)); supervisord binds to one with its pid
appended and links it into place."""


@dataclass(frozen=True)
class Process:
    """One process to be kept running; `port` is where it shows that it is well."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    probe: Literal["http", "tcp"] = "http"
    port: int = 0
    group: str = SERVICES
    priority: int = 10
    stop_wait_s: int = 25


@dataclass(frozen=True)
class Files:
    """Where supervisord keeps its own files."""

    socket: Path
    config: Path
    pid: Path
    log: Path
    logs: Path


def plain(text: str) -> str:
    """`text` as a value of supervisord.conf. Raises InputError if the format can't hold it."""
    if re.search(r"[\x00-\x1f\x7f]|\s[;#]", text):
        raise InputError(
            "a path or value has a control character, ' ;' or ' #', which supervisord's "
            "configuration can't hold",
            code="bad_path",
        )
    return text.replace("%", "%%")


def quoted(text: str) -> str:
    """`text` as a value in an `environment=` line, where quotes can't be escaped."""
    if text.strip("'\"") != text or ('"' in text and "'" in text):
        raise InputError(
            "a path or value has quotes that supervisord's configuration can't hold",
            code="bad_path",
        )
    quote = "'" if '"' in text else '"'
    return f"{quote}{plain(text)}{quote}"


def program_section(process: Process, logs: Path) -> str:
    environment = ",".join(f"{name}={quoted(text)}" for name, text in process.environment.items())
    # supervisord expands % twice in the names of log files
    log = plain(plain(str(logs / f"{process.name}.log")))
    return f"""
[program:{process.name}]
command={plain(shlex.join(process.command))}
environment={environment}
priority={process.priority}
autostart={"false" if process.group == SERVICES else "true"}
autorestart=true
startsecs=1
startretries=1000000
stopsignal=TERM
stopwaitsecs={process.stop_wait_s}
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""


def config_text(processes: Iterable[Process], files: Files) -> str:
    """The whole supervisord.conf."""
    processes = list(processes)
    services = [process.name for process in processes if process.group == SERVICES]
    user = f"user={pwd.getpwuid(0).pw_name}" if os.geteuid() == 0 else ""
    group = f"\n[group:{SERVICES}]\nprograms={','.join(services)}\npriority=10\n"
    return f"""[unix_http_server]
file={plain(str(files.socket))}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisord]
logfile={plain(str(files.log))}
logfile_maxbytes=10MB
logfile_backups=3
loglevel=info
pidfile={plain(str(files.pid))}
{user}
""" + "".join(
        [program_section(process, files.logs) for process in processes]
        + ([group] if services else [])
    )


@dataclass(frozen=True)
class ProcessInfo:
    """What supervisord tells of one process."""

    name: str
    state: str
    pid: int | None
    uptime_s: int | None
    exit_status: int


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


class UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a unix socket. supervisor's own loads the whole server, which takes longer than
    the call."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: object) -> http.client.HTTPConnection:
        return UnixConnection(self._path)


class Supervisor:
    """Talks to the supervisord that listens on `socket`, if one does."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def _call(self, method: str, *arguments: object) -> Any:
        """Raises OSError, HTTPException or xmlrpc.client.Error if no supervisord answers well."""
        transport = UnixTransport(self._socket)
        try:
            proxy = xmlrpc.client.ServerProxy("http://localhost", transport=transport)
            return getattr(proxy.supervisor, method)(*arguments)
        finally:
            transport.close()

    def _ask(self, method: str) -> Any:
        """The answer; None if supervisord is not there or on its way down."""
        try:
            return self._call(method)
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return None

    def pid(self) -> int | None:
        """supervisord's process id; None if it is not there or on its way down."""
        answer = self._ask("getPID")
        return None if answer is None else int(answer)

    def processes(self) -> list[ProcessInfo]:
        """All processes in the order in which they start; empty if supervisord is not there."""
        return [
            ProcessInfo(
                name=str(info["name"]),
                state=str(info["statename"]),
                pid=int(info["pid"]) or None,
                uptime_s=int(info["now"]) - int(info["start"]) if info["pid"] else None,
                exit_status=int(info["exitstatus"]),
            )
            for info in self._ask("getAllProcessInfo") or []
        ]

    def start_services(self) -> None:
        self._call("startProcessGroup", SERVICES, False)

    def start(self, name: str) -> None:
        self._call("startProcess", name)

    def stop(self, name: str) -> None:
        """Stop one process and wait until it is gone."""
        self._call("stopProcess", name)

    def shut_down(self) -> None:
        """Ask supervisord to stop everything and end; does not wait."""
        self._ask("shutdown")


def http_health(host: str, port: int) -> str:
    """`ok` if GET /health answers 200, else what it did instead."""
    connection = http.client.HTTPConnection(host, port, timeout=3)
    try:
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return "no answer"
    finally:
        connection.close()
    return "ok" if status == 200 else f"HTTP {status}"


def spawn_counts(log: Path) -> dict[str, int] | None:
    """How often each process was spawned since supervisord started; None if its log was rotated."""
    try:
        text = log.read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return None
    _, started, since = text.rpartition("supervisord started with pid")
    if not started:
        return None
    counts: dict[str, int] = {}
    for name in re.findall(r"spawned: '([^']+)' with pid", since):
        counts[name] = counts.get(name, 0) + 1
    return counts


def last_lines(log: Path, number: int = 15) -> str:
    """The end of a log, without its colours."""
    try:
        lines = log.read_text("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return "(no log)"
    text = "\n".join(lines[-number:]) or "(nothing)"
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
