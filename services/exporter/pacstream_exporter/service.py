"""The exporter on the bus."""

from __future__ import annotations

from pacstream.archive import Archive
from pacstream.batch_action import run_in_child
from pacstream.bus import Service, subscribes_to
from pacstream.messages import (
    ActionRequested,
    BatchFinished,
    InfoRequested,
    InfoWritten,
    SeriesExported,
    SeriesReceived,
)
from pacstream.outlet import Emitter
from pacstream.settings import load_settings
from pacstream.topology import ACTION_SERVICE
from pacstream_exporter.batch_report.files import write_all
from pacstream_exporter.info import write_info
from pacstream_exporter.originals import export_originals

SETTINGS = load_settings()
ARCHIVE = Archive(SETTINGS.data)


class ExporterService(Service):
    name = "exporter"
    emit = Emitter()

    @subscribes_to(SeriesReceived)
    def on_series_received(self, message: SeriesReceived) -> None:
        order = message.order
        if not order.actions.save:
            return
        count = export_originals(order, message.instances, ARCHIVE)
        self.emit(
            SeriesExported(
                batch_id=message.batch_id, series_uid=order.series.series_uid, instances=count
            )
        )

    @subscribes_to(InfoRequested)
    def on_info_requested(self, message: InfoRequested) -> None:
        write_info(message.order, message.attributes)
        self.emit(
            InfoWritten(batch_id=message.batch_id, series_uid=message.order.series.series_uid)
        )

    @subscribes_to(ActionRequested)
    def on_action_requested(self, message: ActionRequested) -> None:
        if ACTION_SERVICE[message.action.name] == self.name:
            self.emit(run_in_child("pacstream_exporter", message, ARCHIVE))

    @subscribes_to(BatchFinished)
    def on_batch_finished(self, message: BatchFinished) -> None:
        write_all(message.batch_id, ARCHIVE)
