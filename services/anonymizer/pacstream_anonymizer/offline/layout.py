"""Where an instance goes below the output folder, in two layouts:

    sub-<pseudonym>/ses-<shifted date><time>/<series number>-<modality>/<mapped UID>.dcm    PACSMAN
    <pseudonym>/<mapped study UID>/<mapped series UID>/<mapped UID>.dcm                     UIDS

Nothing of an input's name gets into an output's: descriptions and file names hold identifiers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from pathlib import PurePath

from pacstream.messages import Dates
from pacstream.pseudonyms import ProjectKey, Visit
from pacstream_anonymizer.offline.inventory import Instance


class Layout(StrEnum):
    PACSMAN = "pacsman"
    UIDS = "uids"


def is_pacsmans(paths: Iterable[str]) -> bool:
    """Whether all files lie as PACSMAN lays them: `sub-*/ses-*/<series>/<file>`, or without `ses-*`
    for a study without date."""
    return all(_lies_in_series(PurePath(path).parts) for path in paths)


def _lies_in_series(parts: tuple[str, ...]) -> bool:
    with_session = len(parts) == 4 and parts[1].startswith("ses-")
    return (with_session or len(parts) == 3) and parts[0].startswith("sub-")


def patient_folder(path: str) -> str:
    """The `sub-*` folder that an input lies in; empty if it lies in none."""
    first = PurePath(path).parts[0]
    return first if first.startswith("sub-") and first != path else ""


def session(instance: Instance, key: ProjectKey, dates: Dates, shift_days: int) -> str:
    visit = Visit(instance.study_uid, instance.study_date, instance.study_time)
    return visit.session(key, dates, shift_days)


def series_name(instance: Instance) -> str:
    """`00004-MR`, as the pipeline's release has it."""
    digits = re.sub(r"[^0-9]", "", instance.number)[:12]
    modality = re.sub(r"[^A-Z0-9]", "", instance.modality.upper())[:8] or "OT"
    return f"{digits.zfill(5)}-{modality}"
