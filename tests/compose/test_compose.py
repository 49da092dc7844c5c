"""`make test-compose`: the compose file builds, starts, works, bears a death and more replicas, and
stops; what comes out is what the demo's PACS has."""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from demo import data
from demo.data import Manifest
from tests import engine
from tests.compose.stack import ComposeStack
from tests.e2e.line import assert_exactly, released
from tests.engine import SERVICES, until

UPSTREAM = (
    "python:3.11-slim-bookworm", "rabbitmq:4.0-management", "postgres:17-trixie",
    "jodogne/orthanc:1.12.7",
)  # fmt: skip

pytestmark = [
    pytest.mark.compose,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(bool(engine.missing(*UPSTREAM)), reason=engine.missing(*UPSTREAM)),
]

FLAGS = ("--save", "--info", "--anonymize", "--project", "demo", "--convert", "-d", "/out/demo")


def timed(what: str, act: Callable[[], object]) -> None:
    began = time.monotonic()
    act()
    sys.stdout.write(f"\n  {what}: {time.monotonic() - began:.0f} s")
    sys.stdout.flush()


def build(stack: ComposeStack) -> None:
    stack.compose("--profile", "cli", "build", "--quiet", timeout_s=1200)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeStack]:
    """Built, up and healthy; gone with its volumes afterwards."""
    out, batches = tmp_path_factory.mktemp("out"), tmp_path_factory.mktemp("batches")
    out.chmod(0o777)
    batches.chmod(0o755)
    stack = ComposeStack(f"pacstream-test-{secrets.token_hex(3)}", out, batches)
    stack.write_demo()
    try:
        timed("images built", lambda: build(stack))
        timed("up and healthy", lambda: stack.compose("up", "-d", "--wait"))
        yield stack
    finally:
        timed("down", lambda: stack.compose("down", "-v", "--remove-orphans"))
        sys.stdout.write("\n")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return data.build(tmp_path_factory.mktemp("images"))


def test_a_batch_survives_a_death_and_more_replicas(
    stack: ComposeStack, manifest: Manifest
) -> None:
    batch_id = stack.submit(*FLAGS)
    view = f"/batches/{batch_id}"

    def instances(state: str) -> int:
        return int(stack.ask(view)["instances"][state])

    until(lambda: instances("done") >= 20, 180, "20 instances de-identified")
    assert stack.ask(view)["finished_at"] is None
    stack.kill("anonymizer")
    timed("two more anonymizers", lambda: scale(stack, 3))
    done = stack.cli("watch", batch_id)
    assert done.returncode == 0, done.stdout + done.stderr
    assert stack.restarts("anonymizer") >= 1

    report = stack.ask(f"{view}/report")
    assert report["delivered"] is True
    series = {one["series_uid"]: one for row in report["report"] for one in row["series"]}
    assert {one["state"] for one in series.values()} == {"complete"}
    wanted = [one for one in manifest.instances if one.series_uid in series]
    assert report["instances"]["done"] == report["instances"]["expected"] == len(wanted) == 394
    assert_exactly(stack.out / "demo", wanted)
    assert len(released(stack.out / "demo")) == len(wanted)
    assert_no_identifier(stack.out / "demo" / "release", manifest)
    since = datetime.fromisoformat(report["submitted_at"]).timestamp()
    sys.stdout.write(
        f"\n  {len(wanted)} instances of {len(series)} series in "
        f"{report['finished_at'] - since:.0f} s"
    )


def scale(stack: ComposeStack, number: int) -> None:
    stack.compose("up", "-d", "--wait", "--no-recreate", "--scale", f"anonymizer={number}")
    states = [stack.state(one) for one in stack.containers("anonymizer")]
    assert [state["Health"]["Status"] for state in states] == ["healthy"] * number


def assert_no_identifier(release: Path, manifest: Manifest) -> None:
    planted = [text.encode() for text in manifest.identifiers if text.isascii()]
    for path in release.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not [text for text in planted if text in content or text.decode() in path.name]


def test_services_stop_when_told_and_what_they_knew_is_there_again(stack: ComposeStack) -> None:
    before = stack.ask("/batches")
    assert [batch["delivered"] for batch in before] == [True]
    timed("stopped", lambda: stack.compose("stop"))
    for service in SERVICES:
        codes = {stack.state(one)["ExitCode"] for one in stack.containers(service)}
        assert codes == {0}, service
    timed("down with volumes kept", lambda: stack.compose("down"))
    timed("up again", lambda: stack.compose("up", "-d", "--wait"))
    assert stack.ask("/batches") == before


def test_only_three_ports_answer_and_the_anonymizer_has_no_way_out(stack: ComposeStack) -> None:
    published = json.loads(f"[{','.join(stack.compose('ps', '--format', 'json').splitlines())}]")
    ports = {
        (one["Service"], port["TargetPort"])
        for one in published
        for port in one["Publishers"] or ()
        if port["PublishedPort"]
    }
    assert ports == {("store_scp", 11112), ("rabbitmq", 15672), ("ledger", 8080)}
    way_out = "import socket; socket.create_connection(('192.0.2.1', 80), 3)"
    done = stack.run("exec", "-T", "anonymizer", "python", "-c", way_out)
    assert "Network is unreachable" in done.stderr


def test_secrets_are_in_files_and_in_no_environment(stack: ComposeStack) -> None:
    for service in (*SERVICES, "postgres", "rabbitmq"):
        container = engine.inspect(stack.containers(service)[0])
        password = stack.compose("exec", "-T", "rabbitmq", "cat", "/run/broker/password")
        assert len(password) == 48
        assert password not in json.dumps(container["Config"])
