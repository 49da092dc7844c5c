"""Folders of originals made by code, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pacstream.keys import KeyRing
from pacstream.messages import Dates
from pacstream_anonymizer.offline.job import Summary, Wish, run
from pacstream_anonymizer.profile import DEFAULT
from tests.unit.anonymizer.instances import KEY, an_instance, saved

ROOT_UID = "1.2.826.0.1.77"
PATIENTS = {"MRN-88213": "Quixotesson^Ambrosius", "HU/101 A": "Vandersloot^Maj"}
SESSION = "ses-20240229101530"


def instance_of(patient: str, series: int, number: int, **attributes: Any) -> Any:
    """Instance `number` of series `series` of a patient: the same UIDs each time."""
    study = f"{ROOT_UID}.{sum(map(ord, patient))}"
    return an_instance(
        **{
            "PatientID": patient,
            "PatientName": PATIENTS.get(patient, "Nobody^N"),
            "StudyInstanceUID": study,
            "SeriesInstanceUID": f"{study}.{series}",
            "SOPInstanceUID": f"{study}.{series}.{number}",
            "SeriesNumber": series,
            **attributes,
        }
    )


def fill(root: Path, *, series: int = 2, instances: int = 2) -> Path:
    """Two patients in PACSMAN's layout, with names in the paths that must not get out."""
    for patient in PATIENTS:
        for number in range(series):
            folder = root / f"sub-{plain(patient)}" / SESSION / f"0000{number}-for_Quixotesson"
            for one in range(instances):
                saved(instance_of(patient, number, one), folder / f"CT.{one}")
    return root


def plain(patient: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in patient)


def wish(source: Path, out: Path, **changes: Any) -> Wish:
    """What a user wants who gives no option, with the key of the tests."""
    data = changes.pop("data", source.parent / "data")
    fields: dict[str, Any] = {
        "project": "trial",
        "ring": KeyRing((KEY.secret,)),
        "profile": DEFAULT,
        "dates": Dates.SHIFTED,
    }
    return Wish(source, out, data, **{**fields, **changes})


def done(source: Path, out: Path, **changes: Any) -> Summary:
    return run(wish(source, out, **changes))


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def mentions(paths: Iterable[str], *texts: str) -> bool:
    return any(text.lower() in path.lower() for path in paths for text in texts)
