"""docker-compose.yml as a project of its own, beside any other that runs here."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

from demo.pacs import free_port
from tests.engine import CHECKOUT, docker, inspect

KILL_SERVICE = """
import os
os.kill(min(int(pid) for pid in os.listdir("/proc") if pid.isdigit() and pid != "1"), 9)
"""
"""SIGKILL to the child of process 1, as the kernel does for want of memory. `docker kill` would be
taken for an operator's wish, and the container would stay down."""


@dataclass(frozen=True)
class ComposeStack:
    """`out`: the folder of this machine that is /out; `batches`: the one that is cli's own."""

    project: str
    out: Path
    batches: Path
    store_port: int = field(default_factory=free_port)
    ledger_port: int = field(default_factory=free_port)
    dashboard_port: int = field(default_factory=free_port)

    def compose(self, *arguments: str, timeout_s: float = 600.0) -> str:
        """Standard output of `docker compose ARGUMENTS`. AssertionError with what went wrong."""
        done = self.run(*arguments, timeout_s=timeout_s)
        assert done.returncode == 0, f"docker compose {arguments}: {done.stderr[-3000:]}"
        return done.stdout.strip()

    def run(self, *arguments: str, timeout_s: float = 600.0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", "compose", "--profile", "demo", *arguments],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            cwd=CHECKOUT,
            env={
                **os.environ,
                "COMPOSE_PROJECT_NAME": self.project,
                "OUT": str(self.out),
                "BATCHES": str(self.batches),
                "STORE_PORT": str(self.store_port),
                "LEDGER_PORT": str(self.ledger_port),
                "RABBITMQ_UI_PORT": str(self.dashboard_port),
                "PACSTREAM_PACS_CONCURRENCY": "1",
            },
        )

    def write_demo(self) -> None:
        """The demo's queries and configuration, but for the port that others may have here."""
        (self.batches / "demo").mkdir()
        config = json.loads((CHECKOUT / "demo/config.json").read_text())
        config["move_port"] = self.store_port
        (self.batches / "demo/config.json").write_text(json.dumps(config))
        queries = (CHECKOUT / "demo/queries.csv").read_bytes()
        (self.batches / "demo/queries.csv").write_bytes(queries)

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("run", "-T", "--rm", "cli", *arguments)

    def submit(self, *arguments: str) -> str:
        """The batch of the demo; its id."""
        files = ("demo/queries.csv", "--config", "demo/config.json")
        done = self.cli("submit", *files, *arguments)
        assert done.returncode == 0, done.stderr
        (batch_id,) = re.findall(r"^\d{8}-\d{6}-[0-9a-f]{6}$", done.stdout, re.M)
        return str(batch_id)

    def ask(self, path: str) -> Any:
        """JSON of the ledger's published port."""
        opener = build_opener(ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.ledger_port}{path}", timeout=30) as answer:
            return json.loads(answer.read())

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "-aq", service).split()

    def state(self, container: str) -> dict[str, Any]:
        state: dict[str, Any] = inspect(container)["State"]
        return state

    def restarts(self, service: str) -> int:
        return sum(int(inspect(one)["RestartCount"]) for one in self.containers(service))

    def kill(self, service: str) -> None:
        """Let the service's first container die at once, in the middle of whatever it does."""
        docker("exec", self.containers(service)[0], "python", "-c", KILL_SERVICE, check=False)
