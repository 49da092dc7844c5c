"""A private RabbitMQ node in the data folder: its files, its two processes, and waiting for it.

    DATA/broker/            the node's database, and its user's password (the database remembers it)
    DATA/run/rabbitmq.conf, enabled_plugins, erlang/.erlang.cookie

The node, its dashboard, its Erlang port mapper (epmd) and its distribution port listen on 127.0.0.1
only. The node's name and cookie are its own, so it never meets another node of this machine.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import time
from pathlib import Path
from urllib.parse import urlsplit

import pika
import pika.exceptions

from pacstream.archive import replacing
from pacstream.errors import BrokerUnavailableError, InputError
from pacstream_cli.ports import Ports
from pacstream_cli.supervision import Process

USER = "pacstream"
NODE = "pacstream@localhost"
PORT_NAMES = ("amqp", "management", "epmd", "distribution")
SERVER_SCRIPTS = (Path("/usr/lib/rabbitmq/bin/rabbitmq-server"),)
"""Debian's own start script; the one in PATH there insists on root or the user rabbitmq."""

ERLANG_ARGUMENTS = (
    "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"
)
"""Distribution on 127.0.0.1 only; no busy waiting, which takes processor time from others."""


def find_server() -> Path:
    """RabbitMQ's start script. Raises InputError with the way to install it."""
    for script in SERVER_SCRIPTS:
        if script.is_file():
            return script
    return _in_path("rabbitmq-server")


def find_epmd() -> Path:
    """Erlang's port mapper. Raises InputError with the way to install it."""
    return _in_path("epmd")


def _in_path(name: str) -> Path:
    found = shutil.which(name)
    if found is None:
        raise InputError(
            f"{name} is not installed: run `apt-get install rabbitmq-server`, or set "
            "PACSTREAM_AMQP_URL to a broker that is there already",
            code="no_rabbitmq",
        )
    return Path(found)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, at once or not at all."""
    with replacing(path) as part:
        part.touch(mode=0o600)
        part.write_text(text, "utf-8")


def password_of(data: Path) -> str:
    """The password of the node's user; made at the first call and kept beside the database."""
    path = data / "broker" / "password"
    try:
        return path.read_text("utf-8").strip()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        password = secrets.token_hex(24)
        write_private(path, password + "\n")
        return password


def node_url(data: Path, ports: Ports) -> str:
    """The AMQP URL of the private node."""
    return f"amqp://{USER}:{password_of(data)}@127.0.0.1:{ports['amqp']}/%2F"


def write_node(data: Path, ports: Ports) -> None:
    """Write the configuration of the private node below `data`."""
    run = data / "run"
    (run / "erlang").mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(
        run / "rabbitmq.conf",
        f"listeners.tcp.1 = 127.0.0.1:{ports['amqp']}\n"
        "management.tcp.ip = 127.0.0.1\n"
        f"management.tcp.port = {ports['management']}\n"
        f"default_user = {USER}\n"
        f"default_pass = {password_of(data)}\n"
        "log.console = true\n"
        "log.file = false\n",
    )
    write_private(
        run / "enabled_plugins",
        "[rabbitmq_management,rabbitmq_shovel,rabbitmq_shovel_management].\n",
    )
    cookie = run / "erlang" / ".erlang.cookie"
    if not cookie.exists():
        write_private(cookie, secrets.token_hex(24))


def node_processes(data: Path, ports: Ports) -> tuple[Process, Process]:
    """epmd and RabbitMQ. Raises InputError if they are not installed."""
    environment = _node_environment(data, ports)
    epmd_environment = {
        name: text for name, text in environment.items() if name.startswith("ERL_EPMD_")
    }
    epmd_command = (str(find_epmd()), "-port", str(ports["epmd"]), "-address", "127.0.0.1")
    epmd = Process(
        name="epmd",
        command=epmd_command,
        environment=epmd_environment,
        probe="tcp",
        port=ports["epmd"],
        group="epmd",
        priority=1,
        stop_wait_s=5,
    )
    rabbitmq = Process(
        name="rabbitmq",
        command=(str(find_server()),),
        environment=environment,
        probe="tcp",
        port=ports["amqp"],
        group="rabbitmq",
        priority=2,
        stop_wait_s=20,
    )
    return epmd, rabbitmq


def _node_environment(data: Path, ports: Ports) -> dict[str, str]:
    run = data / "run"
    return {
        "ERL_EPMD_PORT": str(ports["epmd"]),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "HOME": str(run / "erlang"),
        "RABBITMQ_NODENAME": NODE,
        "RABBITMQ_MNESIA_BASE": str(data / "broker"),
        "RABBITMQ_LOG_BASE": str(data / "logs"),
        "RABBITMQ_CONFIG_FILE": str(run / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(run / "enabled_plugins"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(run / "erlang"),
        "RABBITMQ_PID_FILE": str(run / "rabbitmq.pid"),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        # The start script becomes the Erlang VM instead of its parent, so that no VM outlives it.
        "RUNNING_UNDER_SYSTEMD": "true",
        "ERL_CRASH_DUMP": str(data / "logs" / "erl_crash.dump"),
        "RABBITMQ_DIST_PORT": str(ports["distribution"]),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG_ARGUMENTS,
    }


def place_of(url: str) -> str:
    """Host and port of an AMQP URL: what may be shown of it."""
    parts = urlsplit(url)
    return f"{parts.hostname or 'localhost'}:{parts.port or 5672}"


def wait_for_amqp(url: str, timeout_s: float) -> None:
    """Return when a connection to the broker can be opened.

    Raises BrokerUnavailableError if none could within `timeout_s`, InputError if the broker refuses
    the user or the virtual host, or `url` is not an AMQP URL.
    """
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    parameters = _parameters(url)
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            pika.BlockingConnection(parameters).close()
            return
        except (
            pika.exceptions.ProbableAuthenticationError,
            pika.exceptions.ProbableAccessDeniedError,
        ):
            raise InputError(
                f"the broker at {place_of(url)} refuses the user or the virtual host of "
                "PACSTREAM_AMQP_URL",
                code="broker_refuses",
            ) from None
        except (pika.exceptions.AMQPError, OSError):
            if time.monotonic() >= deadline:
                raise BrokerUnavailableError(f"no AMQP broker answers at {place_of(url)}") from None
            time.sleep(0.2)


def _parameters(url: str) -> pika.URLParameters:
    try:
        parameters = pika.URLParameters(url)
    except (ValueError, TypeError):
        raise InputError("PACSTREAM_AMQP_URL is not an AMQP URL", code="bad_amqp_url") from None
    parameters.connection_attempts = 1
    parameters.socket_timeout = 5
    parameters.stack_timeout = 10
    return parameters
