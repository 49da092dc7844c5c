"""The validator of the BIDS maintainers, from its wheel; it needs no network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def errors_in(dataset: Path) -> list[tuple[str, str]]:
    """Code and place of each error; warnings, mostly of recommended keys, are left out."""
    program = Path(sys.executable).with_name("bids-validator-deno")
    done = subprocess.run(
        [program, dataset, "--format", "json", "--ignoreWarnings"],
        capture_output=True,
        check=False,
        text=True,
    )
    issues = json.loads(done.stdout)["issues"]["issues"]
    return [(one["code"], one.get("location", "")) for one in issues if one["severity"] == "error"]
