"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pynetdicom import _config

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


@pytest.fixture(autouse=True)
def storage_as_shipped() -> Iterator[None]:
    """A store SCP in this process takes every SOP class as storage, which pynetdicom keeps per
    process: no other test's PACS may inherit it."""
    before = _config.UNRESTRICTED_STORAGE_SERVICE
    yield
    _config.UNRESTRICTED_STORAGE_SERVICE = before
