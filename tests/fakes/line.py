"""All services but the ledger, as plain functions over messages: enough to drive a ledger alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pacstream.messages import (
    ActionFinished,
    ActionRequested,
    Actions,
    Batch,
    BatchFinished,
    DeidentifyRequested,
    InfoRequested,
    InfoWritten,
    InstancesDeidentified,
    InstancesReceived,
    InstancesWithheld,
    ListingRequested,
    Message,
    Order,
    PacsNode,
    QueryAnswered,
    QueryRequested,
    ReceivedInstance,
    Series,
    SeriesConverted,
    SeriesExported,
    SeriesFound,
    SeriesListed,
    SeriesMoved,
    SeriesReceived,
    SeriesRequested,
    WithheldInstance,
)


def make_batch(rows: int = 1, **actions: bool) -> Batch:
    return Batch(
        batch_id="b-0001",
        rows=rows,
        submitted_at="2026-01-01T00:00:00+00:00",
        pacs=PacsNode(address="127.0.0.1", port=104, called_aet="PACS", calling_aet="US"),
        destination="US",
        actions=Actions(**actions),
        project="demo" if actions.get("anonymize") else "",
        out="/results",
    )


def make_found(
    batch: Batch, row: int, number: int, instances: int = 3, *, patient_id: str = "P1"
) -> SeriesFound:
    """Series `number` with UIDs 1.2.<number>.1 ... of its instances."""
    series = Series(
        study_uid=f"1.1.{patient_id.encode().hex(' ').replace(' ', '.')}"[:60],
        series_uid=f"1.2.{number}",
        patient_id=patient_id,
        study_date="20240102",
        number=str(number),
        modality="MR",
        description="T1",
    )
    return SeriesFound(
        batch_id=batch.batch_id,
        row=row,
        series=series,
        expected=tuple(f"1.2.{number}.{index}" for index in range(1, instances + 1)),
        evidence="uids",
    )


@dataclass
class FakeLine:
    """Answers the ledger's requests as the services would. `found` is what each row matches.

    `lose[uid]`: how often a C-MOVE leaves the instance out while reporting success; `withhold`:
    UIDs that de-identification keeps back. `there` is what the destination of a --move has,
    `unlisted[uid]`: how many of its lists leave the instance out; `no_list`: why it lists nothing.
    `parts[name]`: how many messages a batch action takes; `broken`: the name of one that fails.
    """

    batch: Batch
    found: dict[int, list[SeriesFound]]
    lose: dict[str, int] = field(default_factory=dict)
    withhold: frozenset[str] = frozenset()
    conversion: str = "converted"
    archive: dict[str, set[str]] = field(default_factory=dict)
    moves: list[SeriesRequested] = field(default_factory=list)
    there: dict[str, set[str]] = field(default_factory=dict)
    unlisted: dict[str, int] = field(default_factory=dict)
    no_list: str = ""
    listings: list[ListingRequested] = field(default_factory=list)
    finished: list[BatchFinished] = field(default_factory=list)
    parts: dict[str, int] = field(default_factory=dict)
    broken: str = ""
    asked: list[ActionRequested] = field(default_factory=list)

    def present(self, series_uid: str) -> set[str]:
        return set(self.archive.get(series_uid, ()))

    def submit(self) -> list[Message]:
        return [
            QueryRequested(batch=self.batch, row=row, keys={"PatientID": "x"}) for row in self.found
        ]

    def answer(self, message: Message) -> Iterator[Message]:
        """The facts that follow when a service handles `message`."""
        if isinstance(message, QueryRequested):
            yield from self._query(message)
        elif isinstance(message, SeriesRequested):
            yield from self._move(message)
        elif isinstance(message, ListingRequested):
            yield self._list(message)
        elif isinstance(message, DeidentifyRequested):
            yield from self._deidentify(message.order, message.instances)
        elif isinstance(message, SeriesReceived):
            yield from self._make_products(message)
        elif isinstance(message, InfoRequested):
            uid = message.order.series.series_uid
            yield InfoWritten(batch_id=message.batch_id, series_uid=uid)
        elif isinstance(message, ActionRequested):
            yield self._act(message)
        elif isinstance(message, BatchFinished):
            self.finished.append(message)

    def _query(self, query: QueryRequested) -> Iterator[Message]:
        series = self.found[query.row]
        yield from series
        count = len({one.series.series_uid for one in series})
        yield QueryAnswered(batch_id=self.batch.batch_id, row=query.row, series=count)

    def _move(self, request: SeriesRequested) -> Iterator[Message]:
        self.moves.append(request)
        series_uid = request.order.series.series_uid
        every = next(
            found.expected
            for row in self.found.values()
            for found in row
            if found.series.series_uid == series_uid
        )
        arrived: list[str] = []
        for uid in request.instances or every:
            if self.lose.get(uid, 0) > 0:
                self.lose[uid] -= 1
            else:
                arrived.append(uid)
        place = self.there if request.order.actions.move else self.archive
        place.setdefault(series_uid, set()).update(arrived)
        if arrived and request.order.actions.retrieves:
            yield InstancesReceived(
                batch_id=request.batch_id,
                study_uid=request.order.series.study_uid,
                series_uid=series_uid,
                instances=tuple(
                    ReceivedInstance(sop_instance_uid=uid, path=f"x/{uid}.dcm", size=1)
                    for uid in arrived
                ),
            )
            yield from self._deidentify(request.order, tuple(arrived))
        yield SeriesMoved(
            batch_id=request.batch_id,
            series_uid=series_uid,
            round=request.round,
            status=0,
            completed=len(arrived),
            failed=0,
        )

    def _list(self, request: ListingRequested) -> SeriesListed:
        self.listings.append(request)
        listed = []
        for uid in sorted(self.there.get(request.series_uid, ())):
            if self.unlisted.get(uid, 0) > 0:
                self.unlisted[uid] -= 1
            else:
                listed.append(uid)
        return SeriesListed(
            batch_id=request.batch_id,
            series_uid=request.series_uid,
            round=request.round,
            number=request.number,
            instances=() if self.no_list else tuple(listed),
            reason=self.no_list,
        )

    def _act(self, request: ActionRequested) -> ActionFinished:
        self.asked.append(request)
        name = request.action.name
        left = self.parts.get(name, 1) - 1
        self.parts[name] = max(left, 1)
        failed = name == self.broken
        return ActionFinished(
            batch_id=request.batch_id,
            step=request.step,
            part=request.part,
            state="failed" if failed else "going_on" if left > 0 else "done",
            reason="test" if failed else "",
            counts={"in": len(self.asked)},
        )

    def _deidentify(self, order: Order, instances: tuple[str, ...]) -> Iterator[Message]:
        if not order.actions.anonymize:
            return
        key = {"batch_id": order.batch_id, "series_uid": order.series.series_uid}
        kept = tuple(uid for uid in instances if uid in self.withhold)
        released = tuple(uid for uid in instances if uid not in self.withhold)
        if released:
            yield InstancesDeidentified.model_validate({**key, "instances": released})
        if kept:
            held = tuple(WithheldInstance(sop_instance_uid=uid, reason="test") for uid in kept)
            yield InstancesWithheld(**key, instances=held)

    def _make_products(self, message: SeriesReceived) -> Iterator[Message]:
        key = {"batch_id": message.batch_id, "series_uid": message.order.series.series_uid}
        if message.order.actions.save:
            yield SeriesExported(**key, instances=len(message.instances))
        if message.order.actions.convert:
            slices = {"slices_expected": 9, "slices_converted": 9, "slices_missing": 1}
            yield SeriesConverted.model_validate({**key, "state": self.conversion, **slices})
