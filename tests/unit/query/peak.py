"""`python -m tests.unit.query.peak STUDIES SERIES FOLDER`: the peak of memory of one row.

A process of its own: tracemalloc counts what all threads of a process allocate.
"""

from __future__ import annotations

import json
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pacstream.archive import Archive
from pacstream.envelope import envelope
from pacstream.messages import PacsNode, QueryAnswered
from pacstream_query.finder import find_series
from pacstream_query.identifiers import Answer, FindRequest
from pacstream_query.source import Outcome, Source, Take, never
from tests.unit.query.rows import row

NODE = PacsNode(address="pacs", port=104, called_aet="PACS", calling_aet="PACSTREAM")
WARM_UP = 3000


class Endless:
    """A PACS with `studies` studies of `series` series of 3 instances each."""

    def __init__(self, studies: int, series: int) -> None:
        self.studies = studies
        self.series = series

    @contextmanager
    def session(self, node: PacsNode, cancelled: Callable[[], bool] = never) -> Iterator[Source]:
        yield self

    def find(self, request: FindRequest, take: Take) -> Outcome:
        above = request.keys.get("SeriesInstanceUID") or request.keys.get("StudyInstanceUID", "")
        names = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID"}
        count = {"STUDY": self.studies, "SERIES": self.series, "IMAGE": 3}[request.level]
        told = dict.fromkeys(request.keys, ("P1",))
        told |= {"StudyInstanceUID": (request.keys["StudyInstanceUID"],)}
        told |= {"SeriesInstanceUID": (request.keys.get("SeriesInstanceUID", ""),)}
        for number in range(count):
            uid = f"{above or '1.2.840.113619.2.55'}.{number}"
            take(Answer({**told, names.get(request.level, "SOPInstanceUID"): (uid,)}))
        return Outcome(received=count)


def peak_of(studies: int, series: int, folder: Path) -> int:
    """Bytes at the peak of looking a row up and writing each fact as the bus does."""
    facts = find_series(row(NODE, {"PatientID": "P1"}), Endless(studies, series), Archive(folder))
    announced = None
    tracemalloc.start()
    try:
        for fact in facts:
            json.dumps(fact.payload())
            envelope(fact, "query")
            announced = fact.series if isinstance(fact, QueryAnswered) else None
        assert announced == studies * series
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    counts, where = (int(sys.argv[1]), int(sys.argv[2])), Path(sys.argv[3])
    # fills what the interpreter and the libraries keep for later: free lists, compiled patterns
    peak_of(WARM_UP, 1, where)
    sys.stdout.write(str(peak_of(*counts, folder=where)))
