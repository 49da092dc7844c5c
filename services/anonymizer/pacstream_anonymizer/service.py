"""The anonymizer on the bus."""

from __future__ import annotations

from pacstream.archive import Archive
from pacstream.bus import Service, subscribes_to
from pacstream.messages import DeidentifyRequested, InstancesReceived
from pacstream.outlet import Emitter
from pacstream.settings import load_settings
from pacstream_anonymizer.release import release_received, release_requested
from pacstream_anonymizer.second_look import look_for

SETTINGS = load_settings()
ARCHIVE = Archive(SETTINGS.data)
LOOK = look_for(ocr=SETTINGS.ocr)


class AnonymizerService(Service):
    name = "anonymizer"
    emit = Emitter()

    @subscribes_to(InstancesReceived)
    def on_instances_received(self, message: InstancesReceived) -> None:
        for fact in release_received(ARCHIVE, message, LOOK):
            self.emit(fact)

    @subscribes_to(DeidentifyRequested)
    def on_deidentify_requested(self, message: DeidentifyRequested) -> None:
        for fact in release_requested(ARCHIVE, message, LOOK):
            self.emit(fact)
