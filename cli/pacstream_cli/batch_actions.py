"""What is done once with all that a batch has delivered, in the order that makes sense."""

from __future__ import annotations

from collections.abc import Mapping

from pacstream.messages import Actions, BatchAction


def batch_actions(
    actions: Actions, *, karnak: Mapping[str, str] | None = None, dicomdir: bool = False
) -> tuple[BatchAction, ...]:
    """Tables first, then what changes files, then what is made of them, then what sends them."""
    wanted: list[BatchAction] = []
    if actions.info:
        wanted.append(BatchAction(name="info_table"))
    if karnak:
        wanted.append(BatchAction(name="karnak", options=dict(karnak)))
    if dicomdir:
        wanted.append(BatchAction(name="dicomdir"))
    return tuple(wanted)
