from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from pacstream_exporter.delivery.destination import DicomNode
from pacstream_exporter.delivery.job import Wish, deliver
from pacstream_exporter.delivery.node import NodeCarrier, Verify
from pacstream_exporter.delivery.outcome import REASONS, Result
from tests.fakes.store_node import StoreNode
from tests.unit.store_scp.scp import saved

Deliver = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    return made


@pytest.fixture
def send(folder: Path, tmp_path: Path) -> Deliver:
    """Deliver the folder to a node; what is not named is quick and plain."""

    def run(
        node: StoreNode, *, listen: int | None = None, watcher: Any = None, **wanted: Any
    ) -> Result:
        own = {
            "verify": Verify(wanted.pop("verify", "auto")),
            "decompress": wanted.pop("decompress", False),
            "commitment_s": wanted.pop("commitment_s", 5.0),
        }
        destination = DicomNode(node.node(), listen)
        carrier = NodeCarrier(destination, **own, timeout_s=30.0, connection_timeout_s=20.0)
        wish = Wish((folder,), destination.name, carrier, tmp_path / "data", pause_s=0.01)
        result = deliver(replace(wish, **wanted), watcher)
        assert {*result.reasons, *result.warnings} <= REASONS | {"association_aborted"}
        return result

    return run


def put(folder: Path, datasets: Iterable[Dataset]) -> list[str]:
    """Their UIDs, in order."""
    return [path.stem for path in saved(folder, datasets)]
