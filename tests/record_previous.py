"""`python -m tests.record_previous`: at a release, this version becomes "the previous one".

Writes what tests/unit/test_compatibility.py holds the next version against.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from pacstream.settings import Settings
from pacstream.topology import queues

GOLDEN = Path(__file__).parent / "unit/golden"


def record(golden: Path) -> None:
    shutil.copyfile(golden / "messages.json", golden / "messages-previous.json")
    declared = {
        spec.name: {"arguments": spec.arguments, "topics": list(spec.topics)}
        for spec in queues(Settings().retry_delays)
    }
    text = json.dumps(declared, indent=1, sort_keys=True) + "\n"
    (golden / "queues-previous.json").write_text(text, "utf-8")


if __name__ == "__main__":
    record(GOLDEN)
