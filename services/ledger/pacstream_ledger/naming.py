"""PACSMAN's folder names, made unique.

    OUT/sub-<id>/ses-<StudyDate><StudyTime>/<SeriesNumber, 5 digits>-<SeriesDescription>/

Names lose characters, so two patients or two series can get the same one: the second owner of a
name gets `_2`, and so on.
"""

from __future__ import annotations

import hashlib
import re

from sqlalchemy import Connection, bindparam, insert, select

from pacstream.messages import Batch, Order, Series
from pacstream.pseudonyms import release_time, shifted_date
from pacstream_ledger.schema import FOLDERS

OWNER = select(FOLDERS.c.owner).where(
    FOLDERS.c.scope == bindparam("scope"), FOLDERS.c.name == bindparam("name")
)


def plain(text: str) -> str:
    """PACSMAN's rule, on the true value: runs of anything but ASCII letters and digits become `_`.

    (PACSMAN had lost spaces, slashes and other letters before it applied the rule.)
    """
    return re.sub(r"[^0-9A-Za-z]+", "_", text.strip())


def subject_name(patient_id: str) -> str:
    return f"sub-{plain(patient_id)[:100] or 'unknown'}"


def session_name(study_date: str, study_time: str) -> str:
    return f"ses-{re.sub(r'[^0-9.]', '', study_date + study_time)[:40].strip('.') or 'unknown'}"


def release_session(series: Series) -> str:
    """Equal for two studies of a patient exactly when their sessions in the release are."""
    date = shifted_date(series.study_date, 0)
    return f"{date} {release_time(series.study_time)}" if date else "unknown"


def series_name(number: str, words: str) -> str:
    digits = re.sub(r"[^0-9]", "", number)[:12]
    return f"{digits.zfill(5)}-{words}"


def place_order(db: Connection, batch: Batch, series: Series, pseudonym: str = "") -> Order:
    """The order for a series with folders that nobody else has below the batch's output folder."""
    # Without a Patient ID all such patients would share a folder; a study has one patient.
    patient = series.patient_id.strip() or series.study_uid
    subject = _unique(db, batch.out, subject_name(series.patient_id), patient)
    session = session_name(series.study_date, series.study_time)
    words = plain(series.description)[:100].strip("_") or "No_series_description"
    where = f"{batch.out}|{subject}|{session}"
    folder = _unique(db, where, series_name(series.number, words), series.series_uid)
    modality = re.sub(r"[^A-Z0-9]", "", series.modality.upper())[:8] or "OT"
    where = f"{batch.out}|release|{batch.project}|{patient}|{release_session(series)}"
    release = _unique(db, where, series_name(series.number, modality), series.series_uid)
    return Order(
        batch_id=batch.batch_id,
        series=series,
        actions=batch.actions,
        project=batch.project,
        out=batch.out,
        subject=subject,
        session=session,
        folder=folder,
        release_folder=release,
        pseudonym=pseudonym,
        profile=batch.profile,
        key_id=batch.key_id,
        dates=batch.dates,
    )


def _unique(db: Connection, scope: str, name: str, owner: str) -> str:
    """`name`, or `name_2`, ... : the first that `owner` has already or nobody has."""
    scope = hashlib.blake2s(scope.encode()).hexdigest()
    candidate, number = name, 1
    while True:
        holder = db.execute(OWNER, {"scope": scope, "name": candidate}).scalar()
        if holder == owner:
            return candidate
        if holder is None:
            db.execute(insert(FOLDERS), {"scope": scope, "name": candidate, "owner": owner})
            return candidate
        number += 1
        candidate = f"{name}_{number}"
