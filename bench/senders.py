"""Who sends the images: DCMTK's storescu and dcmsend, and Orthanc asked by C-MOVE.

All have Nagle's algorithm off (TCP_NODELAY=1): receivers are compared, not senders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.images import WrittenSeries
from bench.processes import run_together
from bench.receivers import Receiver
from demo.pacs import Pacs, dcmtk_environment

SCU = "BENCH_SCU"

Commands = Callable[[Receiver, Sequence[WrittenSeries]], list[str]]
"""The command that sends some series over one association."""


def storescu(receiver: Receiver, series: Sequence[WrittenSeries]) -> list[str]:
    return ["storescu", "+sd", *_addressed(receiver, series)]


def dcmsend(receiver: Receiver, series: Sequence[WrittenSeries]) -> list[str]:
    return ["dcmsend", "+sd", *_addressed(receiver, series)]


def _addressed(receiver: Receiver, series: Sequence[WrittenSeries]) -> list[str]:
    folders = [str(one.folder) for one in series]
    return ["-aet", SCU, "-aec", receiver.aet, "127.0.0.1", str(receiver.port), *folders]


def moved_by(pacs: Pacs) -> Commands:
    """movescu asks `pacs`, which knows the receivers; all series are of one study."""

    def command(receiver: Receiver, series: Sequence[WrittenSeries]) -> list[str]:
        uids = "\\".join(one.series_uid for one in series)
        return [
            "movescu", "-S", "-aet", SCU, "-aec", pacs.aet, "-aem", receiver.aet,
            "-k", "QueryRetrieveLevel=SERIES", "-k", f"StudyInstanceUID={series[0].study_uid}",
            "-k", f"SeriesInstanceUID={uids}", pacs.address, str(pacs.port),
        ]  # fmt: skip

    return command


def send(
    command: Commands, receiver: Receiver, series: Sequence[WrittenSeries], associations: int
) -> float:
    """Seconds from the first sender's start to the last one's end; each has one association."""
    shares = [series[start::associations] for start in range(associations)]
    commands = [command(receiver, share) for share in shares]
    return run_together(commands, dcmtk_environment(nodelay=True))
