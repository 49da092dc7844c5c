"""A trusted zone with a series of which de-identification holds some instances back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import EncapsulatedPDFStorage

from pacstream.archive import Archive
from pacstream.keys import create_key
from pacstream.messages import (
    DeidentifyRequested,
    InstancesReceived,
    Message,
    Order,
    QueryAnswered,
    QueryRequested,
    ReceivedInstance,
    SeriesFound,
    SeriesMoved,
)
from pacstream.settings import Settings
from pacstream_anonymizer.release import release_received, release_requested
from pacstream_ledger.ledger import Ledger
from pacstream_ledger.scheduler import Scheduler
from pacstream_ledger.schema import open_database
from pacstream_ledger.views import View, batch_report
from tests.fakes.line import make_batch
from tests.unit.anonymizer.instances import INSTANCE, SERIES, STUDY, an_instance, order_for, saved

CLEAN, BURNED, ALSO_BURNED, LEAK, DOCUMENT = (f"{INSTANCE}.{number}" for number in range(1, 6))


def instances() -> dict[str, Dataset]:
    """One clean, two with names in the pixels, one that also leaks a name, and a document."""
    document = an_instance(SOPClassUID=EncapsulatedPDFStorage, EncapsulatedDocument=b"%PDF")
    made = {
        CLEAN: an_instance(),
        BURNED: an_instance(BurnedInAnnotation="YES"),
        ALSO_BURNED: an_instance(BurnedInAnnotation="YES", InstanceNumber=2),
        LEAK: an_instance(BurnedInAnnotation="YES", ImageType=["ORIGINAL", "QUIXOTESSON"]),
        DOCUMENT: document,
    }
    for uid, data_set in made.items():
        data_set.SOPInstanceUID = uid
    return made


class Held:
    """`facts` are what the services told of the series; `settings` of its processes."""

    def __init__(self, folder: Path, batch_id: str = "b-0001") -> None:
        self.settings = Settings(data=folder / "data")
        self.archive = Archive(self.settings.data)
        self.batch = make_batch(1, anonymize=True).model_copy(
            update={"batch_id": batch_id, "out": str(folder / batch_id)}
        )
        self.out = Path(self.batch.out)
        create_key(self.archive.keys, self.batch.project)
        for uid, data_set in instances().items():
            if not self.archive.instance_path(SERIES, uid).exists():
                saved(data_set, self.archive.instance_path(SERIES, uid))
        self.order: Order = order_for(
            an_instance(), self.out, batch_id=batch_id, project=self.batch.project
        )
        self.archive.write_order(self.order)

    @property
    def received(self) -> InstancesReceived:
        return InstancesReceived(
            batch_id=self.batch.batch_id,
            study_uid=STUDY,
            series_uid=SERIES,
            instances=tuple(
                ReceivedInstance(
                    sop_instance_uid=uid,
                    path=self.archive.relative_instance(SERIES, uid),
                    size=1,
                )
                for uid in instances()
            ),
        )

    def found(self) -> Iterator[Message]:
        """What is known of the series before anything of it is here."""
        batch, key = self.batch, {"batch_id": self.batch.batch_id, "row": 2}
        yield QueryRequested(batch=batch, row=2, keys={"PatientID": "x"})
        yield SeriesFound.model_validate(
            {
                **key,
                "series": self.order.series,
                "expected": tuple(instances()),
                "evidence": "uids",
            }
        )
        yield QueryAnswered.model_validate({**key, "series": 1})

    def moved(self) -> SeriesMoved:
        return SeriesMoved(
            batch_id=self.batch.batch_id, series_uid=SERIES, round=0, status=0, completed=5
        )

    def released(self) -> int:
        """Instances, not files: the ledger names folders otherwise than `order` does."""
        return len({path.name for path in self.out.rglob("*.dcm")})


class HeldWithLedger(Held):
    """The same, with a ledger that knows what the anonymizer has told, and no broker."""

    def __init__(self, folder: Path, batch_id: str = "b-0001") -> None:
        super().__init__(folder, batch_id)
        self.ledger = Ledger(open_database(self.settings.database_url), self.archive.instances)
        self.ledger.record(*self.found())
        Scheduler(self.ledger).tick()
        facts = [self.received, *release_received(self.archive, self.received), self.moved()]
        self.ledger.record(*facts)

    def carry_out(self, requests: Iterable[DeidentifyRequested]) -> None:
        """What the anonymizer makes of requests, and the ledger of that."""
        for request in requests:
            self.ledger.record(*release_requested(self.archive, request))

    def report(self) -> View:
        report = batch_report(self.ledger.engine, self.batch.batch_id)
        assert report is not None
        return report
