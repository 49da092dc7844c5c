"""How a PACS delivers, found out by letting it send one small series to our store SCP.

The instances go into the running stack's archive or, without a stack, into a folder of a store SCP
that lives as long as the trial. Both are in the trusted zone, and no file stays there.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from pydicom import uid
from pydicom.dataset import Dataset
from pynetdicom import build_role, evt
from pynetdicom.dimse_primitives import C_STORE

from pacstream.archive import PART_SUFFIX, Archive
from pacstream.dimse import NO_DELAY, associate, new_ae, responses_only
from pacstream.messages import PacsNode
from pacstream.settings import Settings
from pacstream_cli.find_trials import TrialSeries
from pacstream_store_scp.process import StoreScp

STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
SUCCESS, CANCELLED, SOME_FAILED, UNKNOWN_DESTINATION = 0x0000, 0xFE00, 0xB000, 0xA801
PENDING = (0xFF00, 0xFF01)

NOBODY = "PACSTREAM-NOBODY"
"""An AE title that no PACS knows."""

COMMON_CLASSES = (
    uid.CTImageStorage,
    uid.MRImageStorage,
    uid.EnhancedCTImageStorage,
    uid.EnhancedMRImageStorage,
    uid.PositronEmissionTomographyImageStorage,
    uid.ComputedRadiographyImageStorage,
    uid.DigitalXRayImageStorageForPresentation,
    uid.UltrasoundImageStorage,
    uid.SecondaryCaptureImageStorage,
)
"""Proposed for C-GET where the PACS does not tell SOP Class UIDs."""

ARRIVAL_S = 5.0
NAGLE_MS = ((36.0, 55.0), (76.0, 105.0))
"""One or two delayed acknowledgements."""

LATE = 8
"""Instances that still come after C-CANCEL before it counts as not heeded."""


@dataclass(frozen=True)
class Moved:
    """What a PACS said of one C-MOVE, or C-GET; None where it said nothing."""

    status: int | None = None
    completed: int | None = None
    failed: int | None = None
    seconds: float = 0.0
    rhythm: tuple[float, ...] = ()
    """Milliseconds between its responses."""

    @property
    def said(self) -> str:
        if self.status is None:
            return "no answer: aborted or timed out"
        counts = [
            f"{number} {word}"
            for number, word in ((self.completed, "sent"), (self.failed, "failed"))
            if number is not None
        ]
        return ", ".join([f"status 0x{self.status:04X}", *counts])

    @property
    def has_nagle(self) -> bool:
        """Whether most instances took one or two delayed acknowledgements."""
        slow = [gap for gap in self.rhythm if any(low <= gap <= high for low, high in NAGLE_MS)]
        return len(self.rhythm) >= 3 and len(slow) > len(self.rhythm) / 2


@dataclass
class MoveReport:
    """What the trials found out; None: could not be tried."""

    whole: Moved | None = None
    asked: int = 0
    arrived: int | None = None
    """Instances that are here now; None if some were here before already."""
    nobody: Moved | None = None
    uid_lists: bool | None = None
    cancels: bool | None = None
    got: Moved | None = None

    @property
    def came(self) -> int:
        """Instances that came, as far as that can be told."""
        if self.arrived is not None:
            return self.arrived
        return (self.whole.completed or 0) if self.whole is not None else 0

    @property
    def works(self) -> bool:
        return self.whole is not None and self.came == self.asked > 0

    @property
    def lies(self) -> str:
        """How the PACS reports a success that is none; empty if it was not seen to."""
        if self.nobody is not None and self.nobody.status == SUCCESS:
            return "Success for a destination that nobody can know"
        whole = self.whole
        if whole is None or whole.status != SUCCESS:
            return ""
        if whole.failed:
            return f"Success though {whole.failed} instances failed"
        if self.arrived is not None and self.arrived < self.asked:
            return f"Success though {self.asked - self.arrived} of {self.asked} did not arrive"
        return ""

    @property
    def instance_ms(self) -> float | None:
        """Milliseconds for one instance, the first one's overhead aside."""
        if not self.works or self.whole is None:
            return None
        if self.whole.rhythm:
            return statistics.median(self.whole.rhythm)
        return 1000 * self.whole.seconds / self.asked


@dataclass(frozen=True)
class Trial:
    """The parties of all trials. `archive` is where our store SCP puts what comes."""

    node: PacsNode
    destination: str
    archive: Archive
    timeout_s: float
    report: MoveReport = field(default_factory=MoveReport)

    def run(self, candidates: Sequence[TrialSeries]) -> MoveReport:
        """Try the candidates until one comes whole, then the finer points with that one.

        Raises PacsUnreachableError or PacsRejectedError without an association.
        """
        absent = [one for one in candidates if not self.archive.instances(one.series_uid)]
        chosen = (absent or list(candidates))[:3]
        series = chosen[0]
        self.report.nobody = self._move(series, NOBODY, series.instances[:1])
        for series in chosen:
            with self._admitted(series):
                self._move_whole(series)
                if self.report.works:
                    self._try_lists(series)
                    self._try_cancel(series)
            if self.report.works:
                break
        self.report.got = self._get(series)
        return self.report

    @contextlib.contextmanager
    def _admitted(self, series: TrialSeries) -> Iterator[None]:
        """Let the series in; afterwards take it away if nobody else has asked for it."""
        was_here = self.archive.read_order(series.series_uid) is not None
        self.archive.admit(series.study_uid, series.series_uid, "")
        try:
            yield
        finally:
            self._until_committed(series)
            order = self.archive.read_order(series.series_uid)
            if not was_here and order is not None and not order.orders:
                self._forget(series)

    def _forget(self, series: TrialSeries) -> None:
        """The folder itself stays: the store SCP may be flushing it."""
        folder = self.archive.series_folder(series.series_uid)
        (folder / "order.json").unlink()
        for path in folder.glob("*.dcm"):
            path.unlink()

    def _until_committed(self, series: TrialSeries) -> None:
        folder = self.archive.series_folder(series.series_uid)
        deadline = time.monotonic() + ARRIVAL_S
        while any(folder.glob(f".*{PART_SUFFIX}")) and time.monotonic() < deadline:
            time.sleep(0.05)

    def _move_whole(self, series: TrialSeries) -> None:
        before = self.archive.instances(series.series_uid)
        self.report.asked = series.size
        self.report.whole = self._move(series, self.destination, ())
        if before:
            return
        completed = self.report.whole.completed
        expected = series.size if completed is None else min(completed, series.size)
        deadline = time.monotonic() + ARRIVAL_S
        while True:
            self.report.arrived = len(self.archive.instances(series.series_uid))
            if self.report.arrived >= expected or time.monotonic() > deadline:
                return
            time.sleep(0.05)

    def _try_lists(self, series: TrialSeries) -> None:
        if len(series.instances) < 2:
            return
        two = self._move(series, self.destination, series.instances[:2])
        self.report.uid_lists = two.status == SUCCESS and two.completed in (None, 2)

    def _try_cancel(self, series: TrialSeries) -> None:
        cancelled = self._move(series, self.destination, (), cancel=True)
        if cancelled.status == CANCELLED:
            self.report.cancels = True
        elif (cancelled.completed or 0) > LATE:
            self.report.cancels = False

    def _move(
        self,
        series: TrialSeries,
        destination: str,
        instances: Sequence[tuple[str, str]],
        *,
        cancel: bool = False,
    ) -> Moved:
        association = associate(self.node, [STUDY_ROOT_MOVE], self.timeout_s)
        started = time.monotonic()
        last, moments = Moved(), []
        try:
            responses = association.send_c_move(
                _identifier(series, instances), destination, STUDY_ROOT_MOVE, msg_id=1
            )
            for response, _ in responses:
                last = _read(response)
                moments.append(time.monotonic())
                first = last.status in PENDING and len(moments) == 1
                if cancel and first and association.is_established:
                    association.send_c_cancel(1, query_model=STUDY_ROOT_MOVE)
        finally:
            if association.is_established:
                association.release()
        gaps = [1000 * (b - a) for a, b in itertools.pairwise(moments)]
        # the last response follows the last instance's at once
        return Moved(
            last.status, last.completed, last.failed, time.monotonic() - started, tuple(gaps[:-1])
        )

    def _get(self, series: TrialSeries) -> Moved | None:
        """One instance, or the series if it can't be listed, by C-GET; thrown away.

        None if the PACS accepts no presentation context for it.
        """
        sop_class = series.instances[0][1] if series.instances else ""
        classes = [sop_class] if sop_class else list(COMMON_CLASSES)
        ae = new_ae(self.node.calling_aet, self.timeout_s)
        ae.add_requested_context(STUDY_ROOT_GET)
        for each in classes:
            ae.add_requested_context(each)
        received: list[str] = []

        def on_store(event: evt.Event) -> int:
            received.append(str(cast(C_STORE, event.request).AffectedSOPInstanceUID))
            return SUCCESS

        association = ae.associate(
            self.node.address,
            self.node.port,
            ae_title=self.node.called_aet,
            ext_neg=[build_role(each, scp_role=True) for each in classes],
            evt_handlers=[NO_DELAY, (evt.EVT_C_STORE, on_store)],
        )
        if not association.is_established:
            return None
        responses_only(association)
        last = Moved()
        try:
            accepted = {str(context.abstract_syntax) for context in association.accepted_contexts}
            if STUDY_ROOT_GET not in accepted or not accepted & set(classes):
                return None
            identifier = _identifier(series, series.instances[:1])
            for response, _ in association.send_c_get(identifier, STUDY_ROOT_GET):
                last = _read(response)
        finally:
            if association.is_established:
                association.release()
        return Moved(last.status, len(received), last.failed)


def _read(response: Dataset) -> Moved:
    return Moved(
        response.get("Status"),
        response.get("NumberOfCompletedSuboperations"),
        response.get("NumberOfFailedSuboperations"),
    )


def _identifier(series: TrialSeries, instances: Sequence[tuple[str, str]]) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE" if instances else "SERIES"
    identifier.StudyInstanceUID = series.study_uid
    identifier.SeriesInstanceUID = series.series_uid
    if instances:
        identifier.SOPInstanceUID = [sop_uid for sop_uid, _ in instances]
    return identifier


@contextlib.contextmanager
def own_store_scp(settings: Settings, port: int, aet: str) -> Iterator[Archive]:
    """A store SCP on `port` for this block, without a broker; its archive, which then goes away.

    Raises InputError if the port is taken.
    """
    run = Archive(settings.data).run
    run.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix="doctor-", dir=run) as folder:
        own = Settings(
            data=Path(folder),
            store_host=settings.store_host,
            store_port=port,
            store_aet=aet,
            dimse_timeout_s=settings.dimse_timeout_s,
        )
        scp = StoreScp(own, lambda message: None, lambda: None)
        scp.start()
        try:
            yield Archive(own.data)
        finally:
            scp.stop()
