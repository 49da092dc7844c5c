"""The converter's batch actions; `python -m pacstream_converter.actions REQUEST ANSWER`."""

from __future__ import annotations

from pacstream.batch_action import Action, serve
from pacstream_converter.bids.action import make_dataset

ACTIONS: dict[str, Action] = {"bids": make_dataset}

if __name__ == "__main__":
    serve("converter", ACTIONS)
