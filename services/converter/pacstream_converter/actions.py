"""The converter's batch actions; `python -m pacstream_converter.actions REQUEST ANSWER`."""

from __future__ import annotations

from pacstream.batch_action import Action, serve

ACTIONS: dict[str, Action] = {}

if __name__ == "__main__":
    serve("converter", ACTIONS)
