"""What a report says, as plain data.

The shareable report holds numbers, codes, modalities and times. The identified one adds what the
row asked for, series UIDs, folders of originals, and the UIDs that are missing.
"""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

View = dict[str, Any]
MODALITY = re.compile("[A-Z0-9]{2,8}")
"""Defined terms of (0008,0060) are such; what else a PACS answers may be anything."""

Words = Mapping[int, Mapping[str, str]]
"""What each row of the query file asks for, by its number."""

PACKAGES = ("pacstream", "pydicom", "pynetdicom", "dcm2niix", "nibabel", "SQLAlchemy")
WORST_FIRST = ("pending", "failed", "partial", "cancelled", "withheld")
INSTANCE_STATES = ("done", "withheld", "failed", "cancelled", "pending")


def report_of(view: View, words: Words | None = None, *, identified: bool) -> View:
    """From the ledger's report of a batch (`pacstream_ledger.views.batch_report`)."""
    rows = [_row(row, words or {}, identified=identified) for row in view["report"]]
    return {
        "batch": _batch(view, identified=identified),
        "identified": identified,
        "versions": versions(),
        "stages": stages(view),
        "evidence": _counted(view, "evidence"),
        "reasons": _reasons(view),
        "actions": view.get("afterwards", []),
        "rows": rows,
    }


def stages(view: View) -> list[View]:
    """What went into each stage, and where all of it is: `balanced` if nothing is lost."""
    rows = {name: n for name, n in view["rows"].items() if name != "submitted"}
    found = [_stage("rows", view["rows"]["submitted"], rows)]
    found.append(_stage("series", len(_all_series(view)), view["series"]))
    counts = {name: view["instances"].get(name, 0) for name in INSTANCE_STATES}
    found.append(_stage("instances", view["instances"]["expected"], counts))
    if view["actions"]["convert"]:
        converted = Counter(
            one["conversion"].partition(":")[0] or "not tried" for one in _all_series(view).values()
        )
        found.append(_stage("conversions", len(_all_series(view)), converted))
    return found


def row_state(row: View) -> str:
    """The worst that any of the row's series came to."""
    if row["state"] != "answered":
        return str(row["state"]).replace("_", " ")
    states = {series["state"] for series in row["series"]}
    return next((state for state in WORST_FIRST if state in states), "complete")


def versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _stage(name: str, entered: int, out: Mapping[str, int]) -> View:
    left = {state: number for state, number in out.items() if number}
    return {"stage": name, "in": entered, "out": left, "balanced": sum(left.values()) == entered}


def _batch(view: View, *, identified: bool) -> View:
    finished, submitted = view["finished_at"], view["submitted_at"]
    seconds = None
    if finished is not None:
        began = datetime.datetime.fromisoformat(submitted)
        seconds = round(max(0.0, finished - began.timestamp()), 1)
    received = view["instances"].get("received", 0)
    told = {
        "id": view["batch_id"],
        "state": _state(view),
        "delivered": bool(view["delivered"]),
        "submitted_at": submitted,
        "finished_at": None if finished is None else _moment(finished),
        "seconds": seconds,
        "instances_per_second": round(received / seconds, 1) if seconds else None,
        "asked_for": [name for name, wanted in view["actions"].items() if wanted is True],
        "project": view.get("project", ""),
        "profile_digest": view.get("profile", ""),
        "key_id": view.get("key_id", ""),
    }
    if identified:
        told |= {"query_file": view["name"], "pacs": view["pacs"], "out": view["out"]}
    return told


def _state(view: View) -> str:
    if view["finished_at"] is None:
        return "running"
    if view["control"] == "cancelled":
        return "cancelled"
    return "delivered" if view["delivered"] else "finished, not all delivered"


def _moment(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="seconds")


def _row(row: View, words: Words, *, identified: bool) -> View:
    told = {
        "row": row["row"],
        "state": row_state(row),
        "reason": row["reason"],
        "series": [_series(one, identified=identified) for one in row["series"]],
    }
    if identified:
        told["asked"] = dict(words.get(row["row"], {}))
    return told


def _series(one: View, *, identified: bool) -> View:
    counts = {name: one["instances"].get(name, 0) for name in ("expected", *INSTANCE_STATES)}
    told = {
        "modality": one["modality"] if MODALITY.fullmatch(one["modality"]) else "",
        "state": one["state"],
        "reason": one["reason"],
        "remark": one["remark"],
        "evidence": one["evidence"],
        "rounds": one["rounds"],
        "conversion": one["conversion"],
        **counts,
    }
    if identified:
        extra = ("series_uid", "folder", "missing")
        told |= {name: one[name] for name in extra}
    return told


def _all_series(view: View) -> dict[str, View]:
    return {one["series_uid"]: one for row in view["report"] for one in row["series"]}


def _counted(view: View, key: str) -> dict[str, int]:
    return dict(Counter(str(one[key]) for one in _all_series(view).values() if one[key]))


def _reasons(view: View) -> dict[str, int]:
    reasons = Counter(row["reason"] for row in view["report"] if row["reason"])
    reasons.update(one["reason"] for one in _all_series(view).values() if one["reason"])
    return dict(sorted(reasons.items()))
