"""The query service on the bus."""

from __future__ import annotations

from pacstream.archive import Archive
from pacstream.bus import Emitter, Service, subscribes_to
from pacstream.messages import ListingRequested, QueryRequested
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


class QueryService(Service):
    name = "query"
    emit = Emitter()

    @subscribes_to(QueryRequested)
    def on_query_requested(self, message: QueryRequested) -> None:
        for fact in find_series(message, ASSOCIATIONS, ARCHIVE):
            self.emit(fact)

    @subscribes_to(ListingRequested)
    def on_listing_requested(self, message: ListingRequested) -> None:
        self.emit(list_series(message, ASSOCIATIONS))
