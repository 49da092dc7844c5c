"""series.requested -> C-MOVE, C-GET or WADO-RS -> series.moved."""

import atexit

from pacstream.archive import Archive
from pacstream.associations import Associations
from pacstream.bus import Service, subscribes_to
from pacstream.messages import SeriesRequested
from pacstream.outlet import Emitter
from pacstream.receiving.siblings import Presence
from pacstream.settings import MOST_MOVES, load_settings
from pacstream_retrieve.retrieval import Means, retrieve

SETTINGS = load_settings()
ARCHIVE = Archive(SETTINGS.data)
PRESENCE = Presence(ARCHIVE.run)
ASSOCIATIONS = Associations(
    limit=MOST_MOVES,
    timeout_s=SETTINGS.response_timeout_s,
    connection_timeout_s=SETTINGS.connection_timeout_s,
)
MEANS = Means(SETTINGS, ARCHIVE, ASSOCIATIONS, PRESENCE.token)
atexit.register(PRESENCE.end)
atexit.register(ASSOCIATIONS.close_all)


class RetrieveService(Service):
    name = "retrieve"
    emit = Emitter()

    @subscribes_to(SeriesRequested)
    def on_series_requested(self, message: SeriesRequested) -> None:
        self.emit(retrieve(message, MEANS, self.emit))
