"""`pacstream fake-pacs`: a PACS to try pacstream with, well-behaved or not."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable
from pathlib import Path

import click
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from pacstream.errors import InputError
from pacstream_cli.fake_pacs.datasets import generated
from pacstream_cli.fake_pacs.server import FakePacs
from pacstream_cli.fake_pacs.wishes import (
    MISBEHAVIOURS,
    read_behaviour,
    read_destination,
    read_size,
)

LIST = "\n".join(f"  {one.example:<20} {one.meaning}" for one in MISBEHAVIOURS)


@click.command("fake-pacs", epilog=f"\b\nMisbehaviours:\n{LIST}")
@click.option("--port", type=click.IntRange(0, 65535), default=11114, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="address to listen at")
@click.option("--aet", default="FAKEPACS", show_default=True, help="its AE title")
@click.option(
    "--destination",
    "destinations",
    multiple=True,
    metavar="AET=HOST:PORT",
    default=("PACSTREAM=127.0.0.1:11112",),
    show_default=True,
    help="a C-MOVE destination that it knows; may be repeated",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="serve the DICOM files below this folder (they are held in memory)",
)
@click.option(
    "--generate",
    metavar="PATIENTSxSERIESxIMAGES",
    help="serve made-up images [default: 3x2x10, if there is no --images]",
)
@click.option(
    "--kilobytes", type=click.IntRange(1, 4096), default=10, help="size of a made-up image"
)
@click.option(
    "--misbehave",
    "wishes",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="one of the list below; may be repeated",
)
def fake_pacs(
    port: int,
    host: str,
    aet: str,
    destinations: tuple[str, ...],
    images: Path | None,
    generate: str | None,
    kilobytes: int,
    wishes: tuple[str, ...],
) -> None:
    """Run a PACS in this process until Ctrl-C, to see what pacstream makes of its ways.

    C-ECHO, and C-FIND, C-MOVE and C-GET of the Study Root model. Never give it real images: it lets
    in everyone who reaches its port.
    """
    behaviour = read_behaviour(wishes)
    known = dict(map(read_destination, destinations))
    datasets = [*(read_images(images) if images else ())]
    if generate or not images:
        datasets += generated(*read_size(generate or "3x2x10"), kilobytes)
    pacs = FakePacs(
        datasets, aet=aet, destinations=known, behaviour=behaviour, host=host, port=port
    )
    try:
        pacs.start()
    except OSError:
        raise InputError(f"port {port} can't be listened on at {host}: try --port 0") from None
    try:
        click.echo(f"{aet} at {host}:{pacs.port}: {summary(datasets)}")
        click.echo("Ctrl-C stops it.")
        wait_for_signal()
    finally:
        pacs.stop()
    click.echo("stopped")


def read_images(folder: Path) -> list[Dataset]:
    """Every DICOM file with a SOP Instance UID below `folder`; raises InputError for none."""
    datasets = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            dataset = dcmread(path)
        except InvalidDicomError:
            continue  # other files may lie among the images
        if "SOPInstanceUID" in dataset:
            datasets.append(dataset)
    if not datasets:
        raise InputError(f"there is no DICOM image below {folder}")
    return datasets


def summary(datasets: Iterable[Dataset]) -> str:
    """Numbers of patients, series and images."""
    keys = [(d.get("PatientID", ""), d.SeriesInstanceUID) for d in datasets]
    patients = len({patient for patient, _ in keys})
    return f"{patients} patients, {len({uid for _, uid in keys})} series, {len(keys)} images"


def wait_for_signal() -> None:
    """Return on Ctrl-C or SIGTERM."""
    told = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: told.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        while not told.wait(0.5):
            pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
