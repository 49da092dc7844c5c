"""The ledger's report of a made-up batch, with identifiers wherever there may be any."""

from __future__ import annotations

from typing import Any

View = dict[str, Any]

IDENTIFYING = (
    "Quixotesson",
    "88213",
    "1.2.840.99.7",
    "clinic.example",
    "mueller.csv",
    "/home/karl",
)


def series(number: int = 1, state: str = "complete", **changes: object) -> View:
    done = 5 if state == "complete" else 0
    view: View = {
        "series_uid": f"1.2.840.99.7.{number}",
        "modality": "MR",
        "state": state,
        "retrieval": "received",
        "reason": "" if state == "complete" else "timed_out",
        "remark": "",
        "evidence": "uids",
        "rounds": 0,
        "instances": {
            "expected": 5, "received": done, "done": done, "withheld": 0, "failed": 5 - done,
            "cancelled": 0, "pending": 0,
        },
        "missing": [] if done else ["1.2.840.99.7.1.1"],
        "conversion": "",
        "folder": "sub-88213/ses-1/1-Quixotesson",
    }  # fmt: skip
    return {**view, **changes}


def batch(**changes: object) -> View:
    view: View = {
        "batch_id": "20240101-000000-abc123",
        "name": "mueller.csv",
        "project": "study7",
        "profile": "0123abcd",
        "key_id": "1",
        "out": "/home/karl/out",
        "pacs": "PACS@clinic.example:104",
        "actions": {"save": True, "info": False, "anonymize": True, "convert": False},
        "submitted_at": "2024-01-01T00:00:00.000+00:00",
        "finished_at": 1704067210.0,
        "delivered": False,
        "control": "running",
        "priority": 0,
        "rows": {"submitted": 3, "answered": 2, "no_match": 1},
        "series": {"complete": 1, "failed": 1},
        "instances": {"expected": 10, "received": 5, "done": 5, "withheld": 0, "failed": 5,
                      "cancelled": 0, "pending": 0},
        "converted": 0,
        "exported": 1,
        "report": [
            {"row": 2, "state": "answered", "reason": "", "series": [series(1)]},
            {"row": 3, "state": "answered", "reason": "", "series": [series(2, "failed")]},
            {"row": 4, "state": "no_match", "reason": "", "series": []},
        ],
    }  # fmt: skip
    return {**view, **changes}


WORDS = {2: {"PatientID": "88213"}, 3: {"PatientName": "Quixotesson^<b>Ada</b>"}}
