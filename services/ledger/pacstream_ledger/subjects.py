"""Which pseudonym a patient has in a project: always one, and never another patient's.

A pseudonym is the project key's (empty here: nobody else can have it), or the one that the user
wrote into the row (`new_ids`). Rows tell of accession numbers and studies; whose they are, only the
answers of the PACS tell, so it is here that two patients would get one pseudonym, or one patient
two. Who comes first keeps it, over all batches of the project.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from types import MappingProxyType

from sqlalchemy import Connection, Engine, bindparam, insert, select

from pacstream.messages import Order
from pacstream.pseudonyms import subject_of
from pacstream_ledger.naming import plain
from pacstream_ledger.schema import FOLDERS, ORDERS, SUBJECTS

CONFLICT = "pseudonym_conflict"

IDENTIFYING = ("PatientName", "PatientBirthDate", "AccessionNumber")

PSEUDONYM = select(SUBJECTS.c.pseudonym).where(
    SUBJECTS.c.project == bindparam("project"), SUBJECTS.c.patient == bindparam("patient")
)
HOLDER = select(FOLDERS.c.owner).where(
    FOLDERS.c.scope == bindparam("scope"), FOLDERS.c.name == bindparam("name")
)


def refusal(db: Connection, order: Order, told: Mapping[str, str] = MappingProxyType({})) -> str:
    """Give the order's patient its pseudonym in the project, or say why not; empty: it has it.

    `told` is what the PACS tells of the series, by keyword.
    """
    subject = subject_of(order)
    patient = _digest(subject.patient_id, subject.issuer)
    if order.pseudonym and _identifies(order, told):
        return "pseudonym_is_identifier"
    key = {"project": order.project, "patient": patient}
    given = db.execute(PSEUDONYM, key).scalar_one_or_none()
    if given not in (None, order.pseudonym):
        return CONFLICT
    if order.pseudonym:
        places = _places(order)
        holders = [db.execute(HOLDER, place).scalar_one_or_none() for place in places]
        owner = _digest(order.project, patient)
        if any(holder not in (None, owner) for holder in holders):
            return CONFLICT
        for place, holder in zip(places, holders, strict=True):
            if holder is None:
                db.execute(insert(FOLDERS), {**place, "owner": owner})
    if given is None:
        db.execute(insert(SUBJECTS), {**key, "pseudonym": order.pseudonym})
    return ""


def adopt(engine: Engine) -> None:
    """Note the patients of a database that is older than this table, once: each has had the
    pseudonym of the project's key."""
    with engine.begin() as db:
        if db.execute(select(SUBJECTS.c.project).limit(1)).first() is not None:
            return
        released = select(ORDERS.c.order).where(ORDERS.c.order.contains('"anonymize":true'))
        for text in db.execute(released).scalars().all():
            order = Order.model_validate_json(text)
            refusal(db, order)


def _places(order: Order) -> list[dict[str, str]]:
    """Where no two patients may share the name: in the project, and below the output folder, which
    two projects may share. Some file systems tell no capitals."""
    name = order.pseudonym.casefold()
    scopes = (("pseudonyms", order.project), ("release folders", order.out))
    return [{"scope": _digest(*scope), "name": name} for scope in scopes]


def _identifies(order: Order, told: Mapping[str, str]) -> bool:
    """The pseudonym names a folder, also of NIfTI, which no search of a header would find."""
    texts = [order.series.patient_id, *(told.get(keyword, "") for keyword in IDENTIFYING)]
    words = {word for text in texts for word in (text, *re.split(r"[\^=\\ ]", text))}
    return plain(order.pseudonym).casefold() in {plain(word).casefold() for word in words}


def _digest(*parts: str) -> str:
    return hashlib.blake2s("|".join(parts).encode()).hexdigest()
