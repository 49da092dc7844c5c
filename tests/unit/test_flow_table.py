"""docs/flow.md's message table says what the code does."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from pacstream.messages import MESSAGES, Message
from pacstream.topology import ACTION_SERVICE, SUBSCRIPTIONS

ROOT = Path(__file__).parents[2]
SOURCES = {
    "cli": ROOT / "cli/pacstream_cli",
    "bus": ROOT / "shared/pacstream",
    **{service: ROOT / f"services/{service}/pacstream_{service}" for service in SUBSCRIPTIONS},
    "store_scp": ROOT / "services/store_scp/pacstream_store_scp",
}

RECEIVERS = {"store_scp", "retrieve"}
"""Both use pacstream.receiving: the images of C-STORE, and those of C-GET and WADO-RS."""


def table() -> dict[str, tuple[set[str], set[str], list[str]]]:
    rows = {}
    for line in (ROOT / "docs/flow.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"`[a-z]+\.[a-z]+`", cells[0]) and len(cells) == 4:
            senders, takers = ({word.strip() for word in cell.split(",")} for cell in cells[1:3])
            rows[cells[0].strip("`")] = (senders, takers, [w.strip() for w in cells[3].split(",")])
    return rows


def senders_of(message: type[Message]) -> set[str]:
    """Packages in which an instance of the message is made."""
    found = set()
    for name, folder in SOURCES.items():
        for path in folder.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                called = node.func if isinstance(node, ast.Call) else None
                if isinstance(called, ast.Name) and called.id == message.__name__:
                    found.update(_users(path) or {name})
    return found


def _users(path: Path) -> set[str]:
    """Of a shared module that makes messages for services: these services."""
    if "receiving" in path.parts:
        return RECEIVERS
    return set(ACTION_SERVICE.values()) if path.name == "batch_action.py" else set()


def test_the_table_lists_every_message_and_no_other() -> None:
    assert set(table()) == {message.topic for message in MESSAGES}


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.topic)
def test_the_table_tells_who_sends_who_takes_and_what(message: type[Message]) -> None:
    senders, takers, fields = table()[message.topic]
    consumers = {name for name, taken in SUBSCRIPTIONS.items() if message in taken}
    assert takers == (consumers or {"announcement"})
    assert message.announcement == (not consumers)
    assert senders == senders_of(message)
    assert fields == list(message.model_fields)


@pytest.mark.parametrize("service", SUBSCRIPTIONS)
def test_each_service_handles_exactly_what_the_topology_binds_to_it(service: str) -> None:
    source = (SOURCES[service] / "service.py").read_text()
    handled = re.findall(r"@subscribes_to\((\w+)\)", source)
    if f'@gathers(*SUBSCRIPTIONS["{service}"])' in source:
        handled += [message.__name__ for message in SUBSCRIPTIONS[service]]
    assert sorted(handled) == sorted(message.__name__ for message in SUBSCRIPTIONS[service])
