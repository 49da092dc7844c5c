"""C-MOVE and C-GET of a fake PACS: sub-operations and responses (PS3.4 sections C.4.2, C.4.3).

pynetdicom's own service classes always send true counters, so they can't play a PACS that lies.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Protocol

from pydicom.dataset import Dataset
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_GET, C_MOVE
from pynetdicom.dsutils import encode

from pacstream.dimse import NO_DELAY, responses_only
from pacstream_cli.fake_pacs.behaviour import Behaviour
from pacstream_cli.fake_pacs.datasets import with_other_pixels

PENDING, SUCCESS, CANCELLED, SUBOPERATIONS_FAILED = 0xFF00, 0x0000, 0xFE00, 0xB000
NONE_SENT = 0xA702
LEAST_TIME_S = 0.002
"""What a slow PACS multiplies where it would have taken less."""


class Host(Protocol):
    """What a retrieval needs to know of its PACS, and to tell it."""

    aet: str
    sent: list[str]

    @property
    def closing(self) -> bool: ...

    def happens(self, what: str, times: int) -> bool:
        """Whether `what` is to happen now: true for the first `times` calls."""
        ...

    def is_withheld(self, dataset: Dataset, every: int) -> bool: ...

    def lose_network(self) -> None: ...


@dataclass
class Counters:
    """Sub-operations of one request."""

    remaining: int = 0
    completed: int = 0
    warning: int = 0
    failed: list[str] = field(default_factory=list)

    def count(self, status: int | None, sop_instance_uid: str) -> None:
        self.remaining -= 1
        if status == SUCCESS:
            self.completed += 1
        elif status is not None and status >> 12 == 0xB:
            self.warning += 1
        else:
            self.failed.append(sop_instance_uid)


def is_alive(association: Association) -> bool:
    """Still open, as seen from inside a request: pynetdicom itself looks between requests only."""
    return bool(
        association.is_established
        and association.dul.is_alive()
        and not association.acse.is_aborted()
    )


@contextmanager
def store_association(
    aet: str, title: str, address: tuple[str, int], datasets: Sequence[Dataset]
) -> Iterator[Association]:
    """An association with a C-MOVE destination; it may not be established."""
    pairs = {(str(d.SOPClassUID), str(d.file_meta.TransferSyntaxUID)) for d in datasets}
    association = AE(aet).associate(
        *address,
        contexts=[build_context(*pair) for pair in sorted(pairs)],
        ae_title=title,
        evt_handlers=[NO_DELAY],
    )
    try:
        yield responses_only(association)
    finally:
        if association.is_established:
            association.release()


class Retrieval:
    """One C-MOVE or C-GET under way."""

    def __init__(
        self,
        host: Host,
        behaviour: Behaviour,
        association: Association,
        request: C_MOVE | C_GET,
        context_id: int,
    ) -> None:
        self._host = host
        self._behaviour = behaviour
        self._association = association
        self._request = request
        self._context_id = context_id
        self._counters = Counters()

    def refuses(self) -> bool:
        """Answer with a failure, or with an empty success, if the behaviour says so."""
        if self._host.happens("failed move", self._behaviour.fail_moves):
            self.respond(self._behaviour.fail_status)
            return True
        if self._behaviour.empty_success:
            self.respond(SUCCESS)
            return True
        return False

    def to_send(self, datasets: Sequence[Dataset]) -> list[Dataset]:
        """All that will be sent: the store association has to have contexts for it."""
        foreign = self._behaviour.send_foreign
        return [*datasets, foreign] if foreign is not None else list(datasets)

    def run(self, store: Association, datasets: Sequence[Dataset]) -> None:
        """Send `datasets` over `store`, which for C-GET is the request's own association."""
        self._counters.remaining = len(datasets)
        foreign = self._behaviour.send_foreign
        for number, dataset in enumerate(datasets):
            self._befalls(number)
            if not self._goes_on():
                break
            with self._paced():
                self._sub_operation(store, dataset, number)
            if number == 0 and self._behaviour.send_twice:
                self._store(store, with_other_pixels(dataset))
            self.respond(PENDING)
        else:
            self._befalls(len(datasets))
            if foreign is not None and is_alive(self._association):
                self._store(store, foreign)
        if is_alive(self._association):
            self._finish()

    def respond(self, status: int) -> None:
        """Send one response, if there still is an association to send it on."""
        response = type(self._request)()
        response.MessageIDBeingRespondedTo = self._request.MessageID
        response.AffectedSOPClassUID = self._request.AffectedSOPClassUID
        response.Status = status
        counters = self._counters
        if not self._behaviour.omit_counts:
            if status in (PENDING, CANCELLED):
                response.NumberOfRemainingSuboperations = counters.remaining
            completed = counters.completed + self._behaviour.count_error
            response.NumberOfCompletedSuboperations = completed
            response.NumberOfFailedSuboperations = len(counters.failed)
            response.NumberOfWarningSuboperations = counters.warning
        if counters.failed and status != PENDING:
            identifier = Dataset()
            identifier.FailedSOPInstanceUIDList = counters.failed
            syntax = self._association._accepted_cx[self._context_id].transfer_syntax[0]
            encoded = encode(identifier, syntax.is_implicit_VR, syntax.is_little_endian)
            response.Identifier = BytesIO(encoded or b"")
        if is_alive(self._association):
            self._association.dimse.send_msg(response, self._context_id)

    def _befalls(self, sent: int) -> None:
        """What is to happen once `sent` instances have gone out."""
        behaviour = self._behaviour
        if sent == behaviour.network_loss_after and self._host.happens("network loss", 1):
            self._host.lose_network()
            while is_alive(self._association):
                time.sleep(0.005)  # until pynetdicom has seen that the connection is gone
        if sent == behaviour.abort_after and self._host.happens(
            "move abort", behaviour.abort_times
        ):
            self._association.abort()
        if sent == behaviour.stall_after:
            while self._goes_on() and not self._host.closing:
                time.sleep(0.02)

    def _goes_on(self) -> bool:
        return is_alive(self._association) and not self._is_cancelled()

    def _is_cancelled(self) -> bool:
        asked = self._request.MessageID in self._association.dimse.cancel_req
        return asked and not self._behaviour.ignore_cancel

    @contextmanager
    def _paced(self) -> Iterator[None]:
        time.sleep(self._behaviour.move_delay_s)
        started = time.monotonic()
        yield
        took = max(time.monotonic() - started, LEAST_TIME_S)
        time.sleep(took * (self._behaviour.slow - 1))

    def _sub_operation(self, store: Association, dataset: Dataset, number: int) -> None:
        uid = str(dataset.SOPInstanceUID)
        if self._is_dropped(dataset, number):
            told_as_failed = self._behaviour.unsent_status is not None
            self._counters.count(None if told_as_failed else SUCCESS, uid)
        else:
            self._counters.count(self._store(store, dataset), uid)
            self._host.sent.append(uid)

    def _is_dropped(self, dataset: Dataset, number: int) -> bool:
        behaviour = self._behaviour
        if behaviour.drop_every and (number + 1) % behaviour.drop_every == 0:
            return True
        if behaviour.withhold_every and self._host.is_withheld(dataset, behaviour.withhold_every):
            return True
        uid = str(dataset.SOPInstanceUID)
        return self._host.happens(f"drop {uid}", behaviour.drop.get(uid, 0))

    def _store(self, store: Association, dataset: Dataset) -> int | None:
        """The status of one C-STORE; None if it was not answered."""
        if not is_alive(store):
            return None
        moved = isinstance(self._request, C_MOVE)
        try:
            answer = store.send_c_store(
                dataset,
                msg_id=1 + (self._request.MessageID or 0) % 60000,
                originator_aet=self._host.aet if moved else None,
                originator_id=self._request.MessageID if moved else None,
            )
        except (RuntimeError, ValueError):
            return None
        status = answer.get("Status")
        return int(status) if status is not None else None

    def _finish(self) -> None:
        if self._is_cancelled():
            self.respond(CANCELLED)
        elif self._counters.failed and self._behaviour.unsent_status is not None:
            self.respond(self._behaviour.unsent_status)
        elif self._counters.failed:
            self.respond(SUBOPERATIONS_FAILED if self._counters.completed else NONE_SENT)
        else:
            self.respond(SUCCESS)


def behaviour_for(behaviour: Behaviour, series_uids: set[str]) -> Behaviour:
    """`behaviour`, unless it is for other series only."""
    if behaviour.only and not behaviour.only & series_uids:
        return Behaviour(check_called_aet=behaviour.check_called_aet)
    return behaviour
