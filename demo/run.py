"""`python -m demo.run`: images, a PACS, a CSV, and one batch through the whole of pacstream."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from demo import data
from demo.data import Manifest
from demo.pacs import OrthancPacs, Pacs, PacsFailedError, free_port

AET = "PACSTREAM"
MARKER = ".pacstream-demo"

COLUMNS = (
    "PatientID",
    "PatientName",
    "StudyDate",
    "Modality",
    "SeriesNumber",
    "SeriesDescription",
)

QUERIES: tuple[tuple[str, dict[str, str]], ...] = (
    (
        "one series",
        {"PatientID": data.BERTRAND.patient_id, "StudyDate": "20220311", "SeriesNumber": "3"},
    ),
    ("all series of a study", {"PatientID": data.ROSALIND.patient_id, "StudyDate": "20220518"}),
    ("a wildcard", {"PatientName": "Brinker*", "SeriesDescription": "T1*"}),
    ("a range of dates", {"PatientID": data.LUCJA.patient_id, "StudyDate": "20230101-20230131"}),
    ("a patient with several studies", {"PatientID": data.AMARA.patient_id, "Modality": "MR"}),
    (
        "an accent in a description",
        {"PatientID": data.ROSALIND.patient_id, "SeriesDescription": "Crâne osseux*"},
    ),
    ("nothing at all", {"PatientID": "NOBODY-000000", "StudyDate": "20200101"}),
)
"""The rows of the demo's CSV, each with the reason why it is there."""


STOP_LIMIT_S = 30.0
"""How long pacstream may take to stop after Ctrl-C, which the terminal sends to it as well."""


WIDTH = 72
"""Characters of a command that are shown on one line; with the rest it fits into 80 columns."""


KEPT = "\N{NO-BREAK SPACE}"
"""Keeps an option and its value on one line."""


class TerminatedError(KeyboardInterrupt):
    """SIGTERM: only this process got it."""


class DemoError(RuntimeError):
    """The demo can't start; the text says why."""


def write_queries(path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(keys for _, keys in QUERIES)


def write_config(path: Path, pacs: Pacs, move_port: int) -> None:
    """PACSMAN's eight keys; our own store SCP is the C-MOVE destination."""
    config = {
        "server_ip": pacs.address,
        "port": pacs.port,
        "server_AET": pacs.aet,
        "AET": AET,
        "move_AET": AET,
        "move_port": move_port,
        "batch_size": 30,
        "batch_wait_time": 0,
    }
    path.write_text(json.dumps(config, indent=2) + "\n", "utf-8")


def empty_out(out: Path) -> None:
    """Make `out` an empty folder of the demo's; raises DemoError if it holds files of others."""
    if out.exists() and any(out.iterdir()) and not (out / MARKER).exists():
        raise DemoError(f"{out} is not empty and not the demo's: move it away first")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / MARKER).touch()


def tree(out: Path, depth: int = 3) -> list[str]:
    """The folders below `out` down to `depth`, with the number of files in and below each."""
    counts: Counter[Path] = Counter()
    for path in out.rglob("*"):
        if path.is_file() and path.name != MARKER:
            counts.update(path.relative_to(out).parents)
    shown = sorted(folder for folder in counts if 0 < len(folder.parts) <= depth)
    return [
        f"{'  ' * len(folder.parts)}{folder.name}/  {counts[folder]} file"
        f"{'' if counts[folder] == 1 else 's'}"
        for folder in shown
    ]


def pacstream_command() -> list[str]:
    return [str(Path(sys.executable).with_name("pacstream"))]


def run_demo(home: Path, out: Path, command: Sequence[str]) -> int:
    """Run `command` (pacstream, or what stands in for it) on the demo's batch; its exit code."""
    home.mkdir(parents=True, exist_ok=True)
    empty_out(out)
    _step("Images")
    manifest = data.build(home / "data")
    print(_contents(manifest))
    move_port = free_port()
    shutil.rmtree(home / "orthanc", ignore_errors=True)
    with OrthancPacs(home / "orthanc", {AET: ("127.0.0.1", move_port)}) as pacs:
        _step(f"A PACS: Orthanc, AE title {pacs.aet}, port {pacs.port}")
        print(f"  {pacs.load(manifest.paths)} instances loaded")
        queries, config = home / "queries.csv", home / "config.json"
        write_queries(queries)
        write_config(config, pacs, move_port)
        _step(f"A batch: {queries}")
        for row, (reason, _) in enumerate(QUERIES, 2):
            print(f"  row {row}: {reason}")
        code = _run([*command, *_arguments(queries, config, out)])
    _step(f"Results: {out}")
    print("\n".join(tree(out)) or "  nothing")
    print(f"\npacstream ended with exit code {code}")
    return code


def _contents(manifest: Manifest) -> str:
    instances = manifest.instances
    return (
        f"  {len({i.patient_id for i in instances})} patients,"
        f" {len({i.study_uid for i in instances})} studies,"
        f" {len({i.series_uid for i in instances})} series, {len(instances)} instances"
    )


def _arguments(queries: Path, config: Path, out: Path) -> list[str]:
    return [
        *("run", "--queryfile", str(queries), "--config", str(config)),
        *("--save", "--info", "--anonymize", "--project", "demo", "--convert", "--bids"),
        *("--out_directory", str(out)),
    ]


def _run(command: Sequence[str]) -> int:
    """Run a command with our own standard output; its exit code."""
    print(f"  $ {as_typed(command, Path.cwd())}\n", flush=True)
    with subprocess.Popen(command) as process:
        try:
            return process.wait()
        except TerminatedError:
            process.terminate()
            _await_end(process)
            raise
        except KeyboardInterrupt:
            _await_end(process)
            raise


def as_typed(command: Sequence[str], here: Path) -> str:
    """The command as one would type it in `here`: short paths, lines that fit on a terminal."""
    words = (word.removeprefix(f"{here}/") for word in command)
    parts = shlex.join(words).replace(" ", KEPT).replace(f"{KEPT}--", " --")
    lines = textwrap.wrap(parts, WIDTH, break_long_words=False, break_on_hyphens=False)
    return " \\\n      ".join(lines).replace(KEPT, " ")


def _await_end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()


def _step(title: str) -> None:
    print(f"\n== {title}", flush=True)


def _terminated(_number: int, _frame: FrameType | None) -> None:
    raise TerminatedError


def main() -> int:
    signal.signal(signal.SIGTERM, _terminated)
    checkout = Path(__file__).resolve().parent.parent
    try:
        return run_demo(
            checkout / ".pacstream" / "demo", checkout / "demo" / "out", pacstream_command()
        )
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except (DemoError, PacsFailedError, FileNotFoundError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
