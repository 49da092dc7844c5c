"""What is known of a conversion, as a file beside its products: `<series folder>.conversion.json`.

It is written last, so its products are whole; and it holds nothing that came from the data but
counts, shapes and digests, so it may lie in a release.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from pacstream import __version__
from pacstream.archive import write_atomically
from pacstream.messages import ConversionState
from pacstream_converter.dcm2niix import ARGUMENTS, version

SUFFIX = ".conversion.json"
BLOCK = 1 << 20


@dataclass(frozen=True)
class Counts:
    """`slices_expected` are those that the converted instances hold (frames, mosaic tiles),
    `slices_converted` those of all volumes, `slices_missing` those that must have been lost before.
    `excluded` are instances without a part in it, by reason."""

    instances: int = 0
    converted: int = 0
    excluded: Mapping[str, int] = field(default_factory=dict)
    slices_expected: int = 0
    slices_converted: int = 0
    slices_missing: int = 0


@dataclass(frozen=True)
class Volume:
    """One NIfTI file: `files` has it, its companions and its picture by suffix (.nii.gz, .json,
    .bval, .bvec); `shape` as NIfTI has it; `resliced` if it is dcm2niix's copy of another volume in
    another geometry."""

    files: Mapping[str, Path]
    shape: tuple[int, ...]
    resliced: bool = False

    @property
    def image(self) -> Path:
        return self.files[".nii.gz"]


@dataclass(frozen=True)
class Conversion:
    """What became of a series. Without volumes nothing was written."""

    state: ConversionState
    reason: str = ""
    counts: Counts = field(default_factory=Counts)
    volumes: tuple[Volume, ...] = ()
    record: Path | None = None

    @property
    def products(self) -> tuple[Path, ...]:
        """All files that were written, in the order of their paths."""
        files = [path for volume in self.volumes for path in volume.files.values()]
        return tuple(sorted([*files, self.record] if self.record else files))


def record_of(stem: Path) -> Path:
    return stem.with_name(stem.name + SUFFIX)


def write_record(conversion: Conversion, stem: Path, inputs: str = "") -> Path:
    """Write the record of a conversion with volumes; its path. `inputs` tells its originals, so
    that a later run knows them again. Raises OSError."""
    told = {
        "state": conversion.state,
        "reason": conversion.reason,
        **asdict(conversion.counts),
        "products": [_told(volume) for volume in conversion.volumes],
        "dcm2niix": {"version": version(), "arguments": list(ARGUMENTS)},
        "pacstream": __version__,
        "inputs": inputs,
    }
    path = record_of(stem)
    write_atomically(path, f"{json.dumps(told, indent=1)}\n".encode())
    return path


def _told(volume: Volume) -> dict[str, object]:
    return {
        "image": volume.image.name,
        "shape": list(volume.shape),
        "resliced": volume.resliced,
        "files": {
            suffix: {"name": path.name, "bytes": path.stat().st_size, "sha256": _digest(path)}
            for suffix, path in sorted(volume.files.items())
        },
    }


def finished(stem: Path, inputs: str) -> Conversion | None:
    """What the record beside `stem` tells, if it is of these inputs and its products are there.

    A record that can't be understood is none: the series is done again.
    """
    path = record_of(stem)
    try:
        told = json.loads(path.read_text("utf-8"))
        if told["inputs"] != inputs:
            return None
        counts = Counts(**{one.name: told[one.name] for one in fields(Counts)})
        volumes = tuple(_volume(one, stem) for one in told["products"])
        return Conversion(told["state"], told["reason"], counts, volumes, path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _volume(told: dict[str, Any], stem: Path) -> Volume:
    """Raises ValueError or OSError if a file is not there, or not as it was."""
    files = {suffix: stem.with_name(one["name"]) for suffix, one in told["files"].items()}
    for suffix, path in files.items():
        if path.stat().st_size != told["files"][suffix]["bytes"]:
            raise ValueError("another file")
    return Volume(files, tuple(told["shape"]), bool(told["resliced"]))


def remove_former(conversion: Conversion, stem: Path) -> None:
    """Remove products that an earlier conversion had and this one has not, with the record if this
    one has none. Raises OSError."""
    try:
        told = json.loads(record_of(stem).read_text("utf-8"))
        names = {one["name"] for product in told["products"] for one in product["files"].values()}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return
    for name in names - {path.name for path in conversion.products}:
        if name.startswith(stem.name) and Path(name).name == name:
            stem.with_name(name).unlink(missing_ok=True)
    if not conversion.volumes:
        record_of(stem).unlink(missing_ok=True)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
