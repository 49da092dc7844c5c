"""What is done once with all that a batch has delivered, in the order that makes sense."""

from __future__ import annotations

from pacstream.messages import Actions, BatchAction


def batch_actions(actions: Actions) -> tuple[BatchAction, ...]:
    """Tables first, then what changes files, then what is made of them, then what sends them."""
    wanted: list[BatchAction] = []
    if actions.info:
        wanted.append(BatchAction(name="info_table"))
    return tuple(wanted)
