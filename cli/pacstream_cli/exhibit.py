"""What `pacstream quarantine` tells of files that are withheld: groups, facts, pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydicom import Dataset
from rich.table import Table

from pacstream.archive import Archive, write_atomically
from pacstream_anonymizer.decisions import Decisions
from pacstream_anonymizer.rendering import NoPictureError, header
from pacstream_anonymizer.thumbnail import thumbnail
from pacstream_cli.quarantine import Entry
from pacstream_cli.reasons import explain, why_not

FACTS = (
    "Modality",
    "ImageType",
    "Manufacturer",
    "ManufacturerModelName",
    "SoftwareVersions",
    "SeriesNumber",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsStored",
    "BurnedInAnnotation",
    "RecognizableVisualFeatures",
    "ConversionType",
)
"""Keywords of what tells why a rule holds an instance back, and identifies nobody."""

IDENTIFIERS = (
    "PatientName",
    "PatientID",
    "StudyDate",
    "StudyDescription",
    "SeriesDescription",
    "SeriesInstanceUID",
    "SOPInstanceUID",
)

NO_PICTURE = {
    "unreadable": "the file can't be read",
    "no_pixels": "it has no pixels",
    "too_large": "the frame is too large",
    "not_decodable": "its pixels can't be decoded here: use a DICOM viewer",
}


@dataclass(frozen=True)
class Group:
    """What is withheld of one series for one reason, from the same batches."""

    reason: str
    series: str
    batches: tuple[str, ...]
    entries: tuple[Entry, ...]

    @property
    def size(self) -> int:
        return sum(one.size for one in self.entries)

    @property
    def since(self) -> float:
        return min(one.since for one in self.entries)


def groups_of(entries: Iterable[Entry]) -> list[Group]:
    found: dict[tuple[str, str, tuple[str, ...]], list[Entry]] = {}
    for one in entries:
        found.setdefault((one.reason, one.series_ref, one.batches), []).append(one)
    return [Group(*key, tuple(members)) for key, members in found.items()]


def group_view(group: Group, identifiers: bool) -> dict[str, Any]:
    """One group, ready for JSON."""
    first = group.entries[0]
    view: dict[str, Any] = {
        "reason": group.reason,
        "series": group.series,
        "batches": list(group.batches),
        "origin": first.origin,
        "count": len(group.entries),
        "bytes": group.size,
        "since": iso(group.since),
        "releasable": not why_not(group.reason, first.origin),
        "instances": [one.ref for one in group.entries],
    }
    if identifiers:
        view["identifiers"] = facts(first.path, IDENTIFIERS)
    return view


def list_table(groups: Sequence[Group]) -> Table:
    table = Table(title="quarantine")
    for name in ("reason", "batch", "series", "count", "size", "since"):
        right = name in ("count", "size")
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "batch")
    for group in groups:
        table.add_row(
            group.reason,
            "\n".join(group.batches),
            group.series or group.entries[0].ref,
            str(len(group.entries)),
            size_text(group.size),
            iso(group.since),
        )
    return table


def identifiers_text(group: Group) -> str:
    """Who is in the first instance of a group."""
    known = facts(group.entries[0].path, IDENTIFIERS)
    head = f"{group.series or group.entries[0].ref}/{group.reason}:"
    return "\n".join([head, *(f"  {name}: {text}" for name, text in known.items())])


def exhibit(archive: Archive, group: Group, identifiers: bool) -> dict[str, Any]:
    """One group with its reason in words, facts of its middle instance, and where its picture is.

    The picture lies in the trusted zone; `picture` or `no_picture` is empty.
    """
    shown = group.entries[len(group.entries) // 2]
    meaning, advice = explain(group.reason)
    picture, no_picture = _picture(archive, shown)
    keywords = (*FACTS, *IDENTIFIERS) if identifiers else FACTS
    return {
        **group_view(group, identifiers=False),
        "meaning": meaning,
        "advice": advice,
        "why_not": why_not(group.reason, shown.origin),
        "decided": _decided(archive, group),
        "shown": shown.ref,
        "facts": facts(shown.path, keywords),
        "picture": str(picture or ""),
        "no_picture": no_picture,
    }


def exhibit_text(view: dict[str, Any]) -> str:
    names = ", ".join(view["batches"]) or "no batch that the ledger knows"
    lines = [
        f"{view['series'] or view['shown']}/{view['reason']}: {view['count']} instances,"
        f" {size_text(view['bytes'])}, since {view['since']}, missed by {names}",
        f"  {view['meaning']}",
        f"  {view['advice']}",
    ]
    if view["why_not"]:
        lines.append(f"  not to be released: {view['why_not']}")
    if view["decided"]:
        lines.append(f"  {view['decided']} of them may pass by decision, and are not out yet")
    lines.append(f"  instance {view['shown']}:")
    lines += [f"    {name}: {text}" for name, text in view["facts"].items()]
    lines.append(f"  picture: {view['picture'] or 'none, ' + view['no_picture']}")
    if view["count"] > 1:
        lines.append("  instances: " + " ".join(view["instances"]))
    return "\n".join(lines)


def facts(path: Path, keywords: Iterable[str]) -> dict[str, str]:
    """What the header says, printable; empty if it can't be read."""
    try:
        head = header(path)
    except NoPictureError:
        return {}
    found = {keyword: _text(head, keyword) for keyword in keywords}
    if "Modality" in found:
        found = {"SOPClass": _class_name(head), **found}
    return {keyword: text for keyword, text in found.items() if text}


def forget_pictures(archive: Archive, entries: Iterable[Entry]) -> None:
    for one in entries:
        picture_path(archive, one).unlink(missing_ok=True)


def picture_path(archive: Archive, entry: Entry) -> Path:
    return archive.run / "thumbnails" / f"{entry.ref}-{entry.reason}.png"


def _picture(archive: Archive, entry: Entry) -> tuple[Path | None, str]:
    try:
        content = thumbnail(entry.path)
    except NoPictureError as error:
        return None, NO_PICTURE[str(error)]
    path = picture_path(archive, entry)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(path, content)
    return path, ""


def _decided(archive: Archive, group: Group) -> int:
    """Instances of the group that an operator has let pass for all of its batches."""
    passing = {
        (one.batch_id, one.sop_instance_uid)
        for one in Decisions(archive.decisions).all()
        if one.decision == "release" and one.reason == group.reason
    }
    return sum(
        all((batch_id, one.sop_instance_uid) in passing for batch_id in group.batches or ("",))
        for one in group.entries
    )


def _text(head: Dataset, keyword: str) -> str:
    """A terminal obeys some characters: only what can be printed is."""
    try:
        value = str(head.get(keyword, ""))
    except Exception:  # noqa: BLE001 - pydicom raises anything for values that it can't convert
        return ""
    return re.sub(r"\s+", " ", "".join(one if one.isprintable() else " " for one in value))[:80]


def _class_name(head: Dataset) -> str:
    uid = head.get("SOPClassUID")
    return str(getattr(uid, "name", uid or ""))


def size_text(size: int) -> str:
    return f"{size / 10**6:.1f} MB" if size >= 10**5 else f"{size / 1000:.1f} kB"


def iso(moment: float) -> str:
    return datetime.fromtimestamp(moment).astimezone().isoformat(" ", "minutes")[:16]
