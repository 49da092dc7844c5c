"""The exporter's batch actions; `python -m pacstream_exporter.actions REQUEST ANSWER`."""

from __future__ import annotations

from pacstream.batch_action import Action, serve
from pacstream_exporter.export_action import export_batch
from pacstream_exporter.folder_actions import add_karnak_tags, make_file_set
from pacstream_exporter.info_table import write_info_table

ACTIONS: dict[str, Action] = {
    "info_table": write_info_table,
    "karnak": add_karnak_tags,
    "dicomdir": make_file_set,
    "export": export_batch,
}

if __name__ == "__main__":
    serve("exporter", ACTIONS)
