"""series.requested -> C-MOVE -> series.moved."""

import atexit

from pacstream.archive import Archive
from pacstream.bus import Emitter, Service, subscribes_to
from pacstream.messages import SeriesRequested
from pacstream.settings import load_settings
from pacstream_retrieve.associations import Associations
from pacstream_retrieve.mover import STUDY_ROOT_MOVE, move_series

SETTINGS = load_settings()
ARCHIVE = Archive(SETTINGS.data)
ASSOCIATIONS = Associations(
    [STUDY_ROOT_MOVE], limit=SETTINGS.pacs_concurrency, timeout_s=SETTINGS.dimse_timeout_s
)
atexit.register(ASSOCIATIONS.close_all)


class RetrieveService(Service):
    name = "retrieve"
    emit = Emitter()

    @subscribes_to(SeriesRequested)
    def on_series_requested(self, message: SeriesRequested) -> None:
        moved = move_series(
            message,
            ARCHIVE,
            ASSOCIATIONS,
            timeout_s=SETTINGS.dimse_timeout_s,
            deadline_s=SETTINGS.move_deadline_s,
        )
        self.emit(moved)
