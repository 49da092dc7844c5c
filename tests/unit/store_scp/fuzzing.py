"""Random PDU streams against a store SCP in this process: `make fuzz COUNT=1000000 SEED=1`.

Input n of a seed is always the same; `--only n` sends it alone.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fakes.streams import Plan, random_plan, stream
from tests.fakes.upper_layer import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    P_DATA_TF,
    RELEASE_RP,
    Instance,
)
from tests.unit.store_scp.watched import WatchedScp, plain_instance, watched

ANSWERS = {ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA_TF, RELEASE_RP, ABORT}
PARALLEL = 4
BATCH = 5000
MEMORY = Path("/dev/shm")


def sent_instances() -> tuple[Instance, Instance]:
    return plain_instance(1_000_001, pixels=64), plain_instance(1_000_002, pixels=700)


def outcome(scp: WatchedScp, plan: Plan) -> str:
    """Send one stream and then nothing more: what was wrong with the answer, or nothing."""
    content = stream(plan, sent_instances())
    with scp.connect() as sender:
        pieces = range(0, len(content), plan.piece or len(content) or 1)
        sender.sent_before_the_end(
            content[start : start + (plan.piece or len(content))] for start in pieces
        )
        if plan.resets:
            sender.reset()
            return ""
        try:
            sender.half_close()
            answers = sender.rest()
        except TimeoutError:
            return "the connection does not end"
        except OSError:
            return ""  # it was reset while we were sending
    kinds = {answer.kind for answer in answers}
    return "" if kinds <= ANSWERS else f"PDUs of types {kinds - ANSWERS}"


def failures(scp: WatchedScp, seed: str, numbers: Iterable[int]) -> list[str]:
    """Send the inputs, several at once: those that were answered wrongly, or not at all."""

    def send(number: int) -> str:
        wrong = outcome(scp, random_plan(f"{seed}/{number}"))
        return f"input {number} of seed {seed}: {wrong}" if wrong else ""

    with ThreadPoolExecutor(PARALLEL) as senders:
        return [failure for failure in senders.map(send, numbers) if failure]


def _run(seed: str, numbers: range) -> None:
    """Raises AssertionError if an input fails or disturbs others; names the batch on stderr."""
    started = time.monotonic()
    for first in range(numbers.start, numbers.stop, BATCH):
        batch = range(first, min(first + BATCH, numbers.stop))
        sys.stderr.write(f"inputs {batch.start} to {batch.stop - 1}: ")
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
            with watched(Path(folder)) as scp:
                found = failures(scp, seed, batch)
            assert found == [], "\n".join(found)
        done = batch.stop - numbers.start
        rate = done / (time.monotonic() - started)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        sys.stderr.write(f"well, {rate:.0f}/s, peak memory {peak} MiB\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--first", type=int, default=0, help="go on where a run has ended")
    parser.add_argument("--only", type=int, help="this input alone")
    asked = parser.parse_args()
    if asked.only is not None:
        _run(asked.seed, range(asked.only, asked.only + 1))
    else:
        _run(asked.seed, range(asked.first, asked.count))


if __name__ == "__main__":
    main()
