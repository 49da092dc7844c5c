"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.broker import PrivateBroker


@pytest.fixture(scope="session")
def broker() -> Iterator[PrivateBroker]:
    """One RabbitMQ node for the whole run. Fails, with the way to install it, if it is missing."""
    with PrivateBroker() as node:
        yield node


@pytest.fixture
def vhost_url(broker: PrivateBroker) -> str:
    """AMQP URL of a virtual host that no other test uses."""
    return broker.new_vhost()
