"""The query service on the bus."""

from __future__ import annotations

from itertools import islice

from pacstream.archive import Archive
from pacstream.bus import Service, subscribes_to
from pacstream.messages import ListingRequested, QueryRequested
from pacstream.outlet import Emitter
from pacstream.settings import load_settings
from pacstream_query.associations import Associations
from pacstream_query.finder import find_series
from pacstream_query.listing import list_series

SETTINGS = load_settings()
ARCHIVE = Archive(SETTINGS.data)
ASSOCIATIONS = Associations(
    SETTINGS.dimse_timeout_s,
    concurrency=SETTINGS.pacs_concurrency,
    connection_timeout_s=SETTINGS.connection_timeout_s,
)

AT_ONCE = 100
"""Facts that share a confirm; more of a broad row do not wait in memory."""


class QueryService(Service):
    name = "query"
    emit = Emitter()

    @subscribes_to(QueryRequested)
    def on_query_requested(self, message: QueryRequested) -> None:
        facts = find_series(message, ASSOCIATIONS, ARCHIVE)
        while some := tuple(islice(facts, AT_ONCE)):
            self.emit(*some)

    @subscribes_to(ListingRequested)
    def on_listing_requested(self, message: ListingRequested) -> None:
        self.emit(list_series(message, ASSOCIATIONS))
