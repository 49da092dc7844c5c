"""The converter on the bus."""

from __future__ import annotations

from pacstream.archive import Archive
from pacstream.batch_action import run_in_child
from pacstream.bus import Service, subscribes_to
from pacstream.messages import ActionRequested, SeriesReceived
from pacstream.outlet import Emitter
from pacstream.settings import load_settings
from pacstream.topology import ACTION_SERVICE
from pacstream_converter.conversion import convert_series
from pacstream_converter.dcm2niix import Dcm2niix

SETTINGS = load_settings()
ARCHIVE = Archive(SETTINGS.data)


class ConverterService(Service):
    name = "converter"
    emit = Emitter()

    @subscribes_to(SeriesReceived)
    def on_series_received(self, message: SeriesReceived) -> None:
        if message.order.actions.convert:
            converter = Dcm2niix(timeout_s=SETTINGS.dcm2niix_timeout_s)
            self.emit(convert_series(message, ARCHIVE, converter))

    @subscribes_to(ActionRequested)
    def on_action_requested(self, message: ActionRequested) -> None:
        if ACTION_SERVICE[message.action.name] == self.name:
            self.emit(run_in_child("pacstream_converter", message, ARCHIVE))
