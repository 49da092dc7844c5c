"""What is done once with all that a batch has delivered, in the order that makes sense."""

from __future__ import annotations

from collections.abc import Mapping

from pacstream.messages import Actions, BatchAction


def batch_actions(
    actions: Actions,
    *,
    bids: Mapping[str, str] | None = None,
    karnak: Mapping[str, str] | None = None,
    dicomdir: bool = False,
    export: Mapping[str, str] | None = None,
) -> tuple[BatchAction, ...]:
    """Tables first, then what changes files, then what is made of them, then what sends them.

    `bids`: the options of a BIDS data set; None: there is to be none.
    """
    wanted: list[BatchAction] = []
    if actions.info:
        wanted.append(BatchAction(name="info_table"))
    if bids is not None:
        wanted.append(BatchAction(name="bids", options=dict(bids)))
    if karnak:
        wanted.append(BatchAction(name="karnak", options=dict(karnak)))
    if dicomdir:
        wanted.append(BatchAction(name="dicomdir"))
    if export:
        wanted.append(BatchAction(name="export", options=dict(export)))
    return tuple(wanted)
