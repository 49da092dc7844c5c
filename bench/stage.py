"""`python -m bench.stage anonymizer|converter DATA OUT`: one service's work on what `bench.stages`
has laid out, in this process and without a broker; prints seconds and CPU seconds as JSON.

It uses what both of two compared versions have, so that either may be on PYTHONPATH.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pacstream.archive import Archive
from pacstream.messages import InstancesReceived, Order, ReceivedInstance, SeriesReceived
from pacstream_anonymizer.release import release_received
from pacstream_converter.conversion import convert_series
from pacstream_converter.dcm2niix import Dcm2niix

BATCH = "bench"
GROUP = 16
"""Instances in a message: what a group commit of 50 ms gathers from Orthanc."""


def anonymize(archive: Archive, orders: list[Order]) -> Iterator[Callable[[], object]]:
    for order in orders:
        series = order.series
        everything = sorted(archive.instances(series.series_uid))
        for uids in (everything[at : at + GROUP] for at in range(0, len(everything), GROUP)):
            paths = [archive.instance_path(series.series_uid, uid) for uid in uids]
            message = InstancesReceived(
                batch_id=BATCH,
                study_uid=series.study_uid,
                series_uid=series.series_uid,
                instances=tuple(
                    ReceivedInstance(sop_instance_uid=uid, path=archive.relative(path), size=1)
                    for uid, path in zip(uids, paths, strict=True)
                ),
            )
            yield partial(_released, archive, message)


def _released(archive: Archive, message: InstancesReceived) -> None:
    list(release_received(archive, message))


def convert(archive: Archive, orders: list[Order]) -> Iterator[Callable[[], object]]:
    converter = Dcm2niix(timeout_s=900)
    for order in orders:
        uids = tuple(sorted(archive.instances(order.series.series_uid)))
        message = SeriesReceived(batch_id=BATCH, order=order, instances=uids)
        yield partial(convert_series, message, archive, converter)


def main() -> int:
    stage, data, out = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    archive = Archive(data)
    orders = []
    for folder in sorted(archive.incoming.iterdir()):
        file = archive.read_order(folder.name)
        if file is not None:
            orders.append(file.orders[BATCH].model_copy(update={"out": out}))
            archive.write_order(orders[-1])
    works = list((anonymize if stage == "anonymizer" else convert)(archive, orders))
    works[0]()  # tables and dictionaries are read at the first use
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for work in works:
        work()
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    json.dump({"seconds": seconds, "cpu": cpu}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
