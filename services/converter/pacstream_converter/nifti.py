"""The header of a single-file NIfTI-1 or NIfTI-2 image (.nii)."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pacstream.errors import RejectedError


@dataclass(frozen=True)
class Layout:
    """Where a version of NIfTI keeps what is read or rewritten: byte offset, and size or format."""

    size: int
    texts: Mapping[str, tuple[int, int]]
    dim: tuple[int, str]
    bitpix: tuple[int, str]
    vox_offset: tuple[int, str]


NIFTI_1 = Layout(
    size=348,
    texts={
        "data_type": (4, 10),
        "db_name": (14, 18),
        "descrip": (148, 80),
        "aux_file": (228, 24),
        "intent_name": (328, 16),
    },
    dim=(40, "8h"),
    bitpix=(72, "h"),
    vox_offset=(108, "f"),
)
NIFTI_2 = Layout(
    size=540,
    texts={
        "descrip": (240, 80),
        "aux_file": (320, 24),
        "intent_name": (508, 16),
        "unused_str": (525, 15),
    },
    dim=(16, "8q"),
    bitpix=(14, "h"),
    vox_offset=(168, "q"),
)

TEXT_FIELDS = frozenset(NIFTI_1.texts) | frozenset(NIFTI_2.texts)

NO_EXTENSION = bytes(4)


@dataclass(frozen=True)
class NiftiHeader:
    """A header as bytes; `voxels_at` is where the voxels begin in the file it was read from."""

    layout: Layout
    order: str
    content: bytes
    voxels_at: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Columns, rows, slices, volumes ..., as far as there are such dimensions."""
        count, *lengths = struct.unpack_from(
            self.order + self.layout.dim[1], self.content, self.layout.dim[0]
        )
        return tuple(max(length, 1) for length in lengths[: max(count, 0)])

    @property
    def voxel_bytes(self) -> int:
        """Bytes of all voxels."""
        offset, kind = self.layout.bitpix
        (bits,) = struct.unpack_from(self.order + kind, self.content, offset)
        return math.prod(self.shape) * int(bits) // 8

    @property
    def slices(self) -> int:
        """Slices of all volumes together."""
        return math.prod(self.shape[2:])

    def without(self, fields: frozenset[str]) -> bytes:
        """The header with these text fields blank, without extensions, voxels right behind it."""
        content = bytearray(self.content)
        for name in fields & self.layout.texts.keys():
            offset, size = self.layout.texts[name]
            content[offset : offset + size] = bytes(size)
        begin = self.layout.size + len(NO_EXTENSION)
        struct.pack_into(
            self.order + self.layout.vox_offset[1], content, self.layout.vox_offset[0], begin
        )
        return bytes(content) + NO_EXTENSION


def read_header(path: Path) -> NiftiHeader:
    """Raises RejectedError `bad_nifti` if the file is no single-file NIfTI, or holds less or more
    than its header says: what is behind the voxels is nothing that anybody has looked at."""
    with path.open("rb") as file:
        start = file.read(NIFTI_2.size)
    for layout in (NIFTI_1, NIFTI_2):
        for order in "<>":
            if start[:4] == struct.pack(f"{order}i", layout.size) and len(start) >= layout.size:
                offset, kind = layout.vox_offset
                voxels_at = int(struct.unpack_from(order + kind, start, offset)[0])
                header = NiftiHeader(layout, order, start[: layout.size], voxels_at)
                whole = path.stat().st_size == voxels_at + header.voxel_bytes
                if whole and voxels_at >= layout.size + len(NO_EXTENSION):
                    return header
    raise RejectedError("dcm2niix wrote no NIfTI file", code="bad_nifti")
