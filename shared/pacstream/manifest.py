"""What a batch has delivered, as a file in the trusted zone: batch actions work from it.

    DATA/state/batches/<batch_id>/manifest.jsonl     a line for the batch, then one for each series

The ledger writes it before it asks for each action, and when the batch has ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from pacstream.archive import Archive, replacing
from pacstream.errors import RejectedError
from pacstream.messages import Batch, Order, Part


class SeriesResult(Part):
    """One series with its last state. `products`: paths of its NIfTI files, relative to `out`."""

    order: Order
    state: str
    exported: bool = False
    info: bool = False
    released: int = 0
    products: tuple[str, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """The batch, and its series in the order in which they were found."""

    batch: Batch
    series: tuple[SeriesResult, ...]


def manifest_path(archive: Archive, batch_id: str) -> Path:
    return archive.state / "batches" / batch_id / "manifest.jsonl"


def write_manifest(archive: Archive, batch: Batch, series: Iterable[SeriesResult]) -> str:
    """Durable on return; the path relative to the trusted zone."""
    target = manifest_path(archive, batch.batch_id)
    with replacing(target) as part, part.open("w", encoding="utf-8") as file:
        file.write(f"{batch.model_dump_json()}\n")
        for one in series:
            file.write(f"{one.model_dump_json()}\n")
    return archive.relative(target)


def read_manifest(archive: Archive, relative: str) -> Manifest:
    """Raises RejectedError `bad_manifest` if it is missing or can't be understood; ZoneError."""
    try:
        lines = _lines(archive.resolve(relative))
        batch = Batch.model_validate_json(next(lines))
        return Manifest(batch, tuple(SeriesResult.model_validate_json(line) for line in lines))
    except (OSError, StopIteration, ValidationError, UnicodeDecodeError):
        raise RejectedError("the batch's manifest can't be read", code="bad_manifest") from None


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        yield from file
