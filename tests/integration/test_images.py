"""The images: what is in them, what is not, and that they start, tell their health and stop."""

from __future__ import annotations

import json
import re
import secrets
import time
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest

from pacstream_cli.main import COMMANDS
from tests import engine
from tests.engine import CHECKOUT, SERVICES, docker, image, inspect, until

BASE = "python:3.11-slim-bookworm"
BROKER = "rabbitmq:4.0-management"

pytestmark = [
    pytest.mark.images,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(engine.missing(BASE, BROKER)), reason=engine.missing(BASE, BROKER)),
]

IMAGES = (*SERVICES, "cli")
STOP_S = 15.0
"""An idle service has nothing to drain; Docker would kill it after this."""

MOST_MEGABYTES = {
    "query": 150, "retrieve": 70, "store_scp": 50, "anonymizer": 170, "converter": 155,
    "exporter": 380, "ledger": 95, "cli": 450,
}  # fmt: skip
"""What an image may weigh more than its base."""

ONLY_HERE = {
    "nameko": {*SERVICES} - {"store_scp"},
    "eventlet": {*SERVICES} - {"store_scp"},
    "dcm2niix": {"converter"},
    "nibabel": {"converter"},
    "psycopg": {"ledger"},
    "sqlalchemy": {"ledger", "cli"},
    "pynetdicom": {"query", "retrieve", "store_scp", "exporter", "cli"},
    "pyarrow": {"exporter", "cli"},
    "boto3": {"exporter", "cli"},
    "paramiko": {"exporter", "cli"},
    "rich": {"cli"},
    "pytest": set[str](),
    "hypothesis": set[str](),
    "onnxruntime": set[str](),
    "pip": set[str](),
    "setuptools": set[str](),
}
"""Distribution -> the images that have it."""

LOOK = """
import json, os, shutil
from importlib.metadata import distributions
tops = ("/opt", "/data", "/out", "/root", "/home", "/src", "/var/cache/pip")
tools = ("gcc", "cc", "g++", "make", "pip", "pip3", "git", "curl", "dcm2niix")
print(json.dumps({
    "distributions": sorted({one.metadata["Name"].lower() for one in distributions()}),
    "programs": [name for name in tools if shutil.which(name)],
    "files": [os.path.join(folder, name)
              for top in tops for folder, _, names in os.walk(top) for name in names],
    "uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(),
    "writable": [top for top in ("/", "/opt/pacstream", "/etc", "/usr/local")
                 if os.access(top, os.W_OK)],
}))
"""


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    """All images of this checkout. What has not changed since the last time takes a second."""
    docker("compose", "--profile", "cli", "build", "--quiet", timeout_s=900)


@pytest.fixture(scope="module")
def looks(built: None) -> dict[str, dict[str, Any]]:
    """What each image holds, as its own user sees it."""
    run = ("run", "--rm", "--network", "none", "--read-only", "--entrypoint", "python")
    return {name: json.loads(docker(*run, image(name), "-c", LOOK)) for name in IMAGES}


def test_each_holds_its_own_extra_and_no_other(looks: dict[str, dict[str, Any]]) -> None:
    for distribution, wanted in ONLY_HERE.items():
        found = {name for name, look in looks.items() if distribution in look["distributions"]}
        assert found == wanted, distribution


def test_none_holds_tools_to_build_with(looks: dict[str, dict[str, Any]]) -> None:
    for name, look in looks.items():
        assert look["programs"] == (["dcm2niix"] if name == "converter" else []), name


def test_none_holds_tests_keys_or_caches(looks: dict[str, dict[str, Any]]) -> None:
    for name, look in looks.items():
        ours = [path for path in look["files"] if not path.startswith("/opt/pacstream/lib/")]
        assert not [path for path in ours if not path.startswith("/opt/pacstream/")], name
        assert any(path.endswith("/site-packages/pacstream/__init__.py") for path in look["files"])
        folders = {folder for path in look["files"] for folder in path.split("/")[:-1]}
        assert not folders & {"tests", "bench", "demo"}, name
        secret = re.compile(r"\.(key|pem|p12)$|/id_[a-z0-9]+$|/\.env$|/\.git/")
        held = [path for path in look["files"] if secret.search(path)]
        public = ("/certifi/cacert.pem", "/botocore/cacert.pem")
        assert not [path for path in held if not path.endswith(public)], name


def test_none_runs_as_root(looks: dict[str, dict[str, Any]]) -> None:
    for name, look in looks.items():
        assert (look["uid"], look["gid"], look["writable"]) == (10001, 10001, []), name
        assert look["groups"] in ([], [10001]), name


def test_none_is_larger_than_it_has_to_be() -> None:
    base = inspect(BASE)["Size"]
    more = {name: (inspect(image(name))["Size"] - base) / 1e6 for name in IMAGES}
    assert {name: size for name, size in more.items() if size > MOST_MEGABYTES[name]} == {}


def test_labels_tell_what_an_image_is() -> None:
    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    for name in IMAGES:
        labels = inspect(image(name))["Config"]["Labels"]
        told = {
            key.rpartition(".")[2]: text for key, text in labels.items() if "opencontainers" in key
        }
        assert told["title"] == f"pacstream {name}"
        assert told["version"] == version
        assert told["licenses"] == "Apache-2.0"
        assert told["revision"] and told["description"]


def test_our_code_is_a_layer_apart() -> None:
    """A new version of ours is a small layer on top; what it needs from others is below."""
    for name in IMAGES:
        listed = docker(
            "history", "--human=false", "--format", "{{.Size}} {{.CreatedBy}}", image(name)
        )
        copies = [line for line in listed.splitlines() if " COPY /opt/" in line]
        (ours, from_ours), (others, from_others) = (line.split(" ", 1) for line in copies)
        assert from_ours.startswith("COPY /opt/code") and from_others.startswith(
            "COPY /opt/pacstream"
        )
        assert int(ours) < 8e6 < int(others), name


def test_the_command_line_answers() -> None:
    told = docker("run", "--rm", "--read-only", "--network", "none", image("cli"), "--version")
    assert told.startswith("pacstream, version ")
    told = docker("run", "--rm", "--read-only", "--network", "none", image("cli"), "--help")
    assert set(COMMANDS) <= {line.split()[0] for line in told.splitlines() if line.strip()}


@pytest.mark.parametrize("name", ["exporter", "cli"])
@pytest.mark.parametrize("address", ["s3://bucket/a", "sftp://karl@archive.example/a"])
def test_every_way_to_deliver_is_in_the_image(name: str, address: str) -> None:
    carrier = (
        "from pacstream_exporter.delivery.carriers import Terms, carrier_of\n"
        "from pacstream_exporter.delivery.destination import parse_destination\n"
        f"print(type(carrier_of(parse_destination({address!r}), Terms())).__name__)"
    )
    run = ("run", "--rm", "--read-only", "--network", "none", "--entrypoint", "python")
    told = docker(*run, image(name), "-c", carrier)
    assert told in ("ObjectCarrier", "SftpCarrier")


@pytest.fixture(scope="module")
def containers(built: None) -> Iterator[dict[str, str]]:
    """A broker and one container of each service, with read-only root file systems."""
    name = f"pacstream-test-{secrets.token_hex(4)}"
    labelled = ("--label", name)
    docker("network", "create", *labelled, name)
    docker("volume", "create", *labelled, name)
    user = ("-e", "RABBITMQ_DEFAULT_USER=a", "-e", "RABBITMQ_DEFAULT_PASS=b")
    try:
        docker(
            "run", "-d", *labelled, "--network", name, "--network-alias", "broker", *user, BROKER
        )
        yield {service: _start(service, name) for service in SERVICES}
    finally:
        left = docker("ps", "-aq", "--filter", f"label={name}").split()
        docker("rm", "-f", "-v", *left)
        docker("volume", "rm", name)
        docker("network", "rm", name)


def _start(service: str, name: str) -> str:
    return docker(
        "run", "-d", "--label", name, "--network", name, "--read-only", "--tmpfs", "/tmp",
        "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "-v", f"{name}:/data",
        "-e", "PACSTREAM_AMQP_URL=amqp://a:b@broker:5672/%2F", image(service),
    )  # fmt: skip


def test_each_service_becomes_healthy_and_stops_when_told(containers: dict[str, str]) -> None:
    def health(container: str) -> str:
        state = inspect(container)["State"]
        assert state["Running"], docker("logs", container)
        return str(state["Health"]["Status"])

    until(lambda: {health(one) for one in containers.values()} == {"healthy"}, 120, "all healthy")
    for service, container in containers.items():
        began = time.monotonic()
        docker("stop", "-t", str(int(2 * STOP_S)), container)
        assert time.monotonic() - began < STOP_S, service
        state = inspect(container)["State"]
        assert (state["ExitCode"], state["OOMKilled"]) == (0, False), service
