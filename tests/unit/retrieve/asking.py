"""Requests for a fake PACS, and what a retrieve process works with."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pydicom.dataset import Dataset

from pacstream.archive import Archive
from pacstream.associations import Associations
from pacstream.messages import Actions, PacsNode, PacsProfile, SeriesMoved, SeriesRequested
from pacstream.settings import Settings
from pacstream_retrieve.retrieval import Means, retrieve
from tests.fakes.pacs import Behaviour, FakePacs
from tests.unit.store_scp.scp import BATCH, Announcements, order_for

DESTINATION = "PACSTREAM"


@dataclass
class Bench:
    """One retrieve process; `announced` is what it announces itself (C-GET and WADO-RS)."""

    settings: Settings
    archive: Archive
    associations: Associations
    announced: Announcements

    def ask(self, request: SeriesRequested, **settings: float) -> SeriesMoved:
        """Retrieve, with some settings changed."""
        changed = Settings.model_validate({**self.settings.model_dump(), **settings})
        means = Means(changed, self.archive, self.associations, "token")
        return retrieve(request, means, self.announced.publish)


def request_for(
    node: PacsNode,
    instance: Dataset,
    instances: Sequence[str] = (),
    *,
    modality: str = "",
    number: int = 2,
    **actions: bool,
) -> SeriesRequested:
    """For the series of `instance`, in round `number`."""
    order = order_for(instance)
    series = order.series.model_copy(update={"modality": modality})
    given = {"series": series, "actions": Actions(**(actions or {"save": True}))}
    return SeriesRequested(
        batch_id=BATCH,
        pacs=node,
        destination=DESTINATION,
        order=order.model_copy(update=given),
        instances=tuple(instances),
        round=number,
    )


def with_profile(node: PacsNode, fallback: PacsNode | None = None, **profile: object) -> PacsNode:
    changed = PacsProfile.model_validate(profile)
    return node.model_copy(update={"profile": changed, "fallback": fallback})


def counters(moved: SeriesMoved) -> tuple[int | None, int | None, int | None]:
    return moved.completed, moved.failed, moved.warning


@contextmanager
def pacs_for(
    settings: Settings, datasets: Sequence[Dataset], behaviour: Behaviour | None = None
) -> Iterator[FakePacs]:
    """A fake PACS that knows our store SCP."""
    destinations = {DESTINATION: ("127.0.0.1", settings.store_port)}
    with FakePacs(datasets, destinations=destinations, behaviour=behaviour) as pacs:
        yield pacs


@contextmanager
def deaf() -> Iterator[PacsNode]:
    """A host that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield node_at(server.getsockname()[1])


def node_at(port: int, address: str = "127.0.0.1") -> PacsNode:
    return PacsNode(address=address, port=port, called_aet="PACS", calling_aet="PACSTREAM")
