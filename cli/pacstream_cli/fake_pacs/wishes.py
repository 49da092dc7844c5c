"""What an operator asks of a fake PACS, read into a Behaviour: `drop=1/5`, `stall=3`, ..."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from pydicom.charset import python_encoding
from pydicom.datadict import tag_for_keyword

from pacstream.errors import InputError
from pacstream_cli.fake_pacs.behaviour import ALWAYS, Behaviour
from pacstream_cli.fake_pacs.datasets import make_series
from pacstream_cli.fake_pacs.find_rules import LEVELS

Changes = dict[str, Any]


class _BadValueError(ValueError):
    """A value that a misbehaviour does not take."""


@dataclass(frozen=True)
class Misbehaviour:
    """One word of --misbehave. `default` stands for a missing value; None: a value is needed."""

    example: str
    meaning: str
    read: Callable[[str], Changes]
    default: str | None = None

    @property
    def name(self) -> str:
        return self.example.partition("=")[0]


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise _BadValueError("a whole number")
    return int(text)


def _factor(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", text) or float(text) < 1:
        raise _BadValueError("a factor of 1 or more")
    return float(text)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", text):
        raise _BadValueError("seconds")
    return float(text)


def _one_of(text: str) -> int:
    """`1/5` -> 5."""
    found = re.fullmatch(r"1/([0-9]{1,6})", text)
    if not found or int(found[1]) < 1:
        raise _BadValueError("a share such as 1/5")
    return int(found[1])


def _keywords(text: str) -> frozenset[str]:
    keywords = frozenset(filter(None, re.split(r"[,+]", text)))
    if not keywords or any(tag_for_keyword(keyword) is None for keyword in keywords):
        raise _BadValueError("DICOM keywords, as PatientID,Modality")
    return keywords


def _charset(text: str) -> str:
    if text not in python_encoding:
        raise _BadValueError("a defined term of PS3.3 C.12.1.1.2, as GB18030 or ISO_IR 100")
    return text


def _limit(text: str) -> Changes:
    number, _, status = text.partition(":")
    if status.upper() not in ("", "A700", "B001", "0000"):
        raise _BadValueError("a number, and A700, B001 or 0000 after a colon")
    return {
        "limits": dict.fromkeys(LEVELS, _number(number)),
        "limit_status": int(status or "0000", 16),
    }


def _unsent(text: str) -> Changes:
    if text.upper() not in ("B000", "0000"):
        raise _BadValueError("B000 or 0000")
    return {"unsent_status": int(text, 16)}


def _foreign(_: str) -> Changes:
    [instance] = make_series("STRANGER", "Stranger^Any", instances=1, seed=1)
    return {"send_foreign": instance}


def _abort(text: str) -> Changes:
    return {"abort_after": _number(text), "abort_times": ALWAYS}


def _network(text: str) -> Changes:
    return {"network_loss_after": 1, "network_loss_s": _seconds(text)}


MISBEHAVIOURS: tuple[Misbehaviour, ...] = (
    Misbehaviour(
        "drop=1/5", "of each request every 5th image is not sent, but counted",
        lambda text: {"drop_every": _one_of(text)},
    ),
    Misbehaviour(
        "withhold=1/5", "of each series every 5th image is never sent, but counted",
        lambda text: {"withhold_every": _one_of(text)},
    ),
    Misbehaviour(
        "failed=B000", "what is not sent is counted as failed, and B000 or (a lie) 0000 ends it",
        _unsent,
    ),
    Misbehaviour("empty", "Success, and nothing sent", lambda _: {"empty_success": True}, ""),
    Misbehaviour(
        "counts=3", "counts that are 3 too high, in C-FIND and of sub-operations",
        lambda text: {"count_error": _number(text)}, "3",
    ),
    Misbehaviour("no-counts", "no counts at all", lambda _: {"omit_counts": True}, ""),
    Misbehaviour(
        "levels", "C-FIND answers with keys of other levels, and of another level",
        lambda _: {"other_levels": True}, "",
    ),
    Misbehaviour(
        "strict", "C-FIND below STUDY needs the UIDs of the levels above, else 0xA900",
        lambda _: {"relational": False}, "",
    ),
    Misbehaviour(
        "ignore=PatientID", "C-FIND keys that it neither matches nor returns",
        lambda text: {"ignore_keys": _keywords(text)},
    ),
    Misbehaviour(
        "unmatched=PatientID", "C-FIND keys that it returns, but does not match",
        lambda text: {"unmatched_keys": _keywords(text)},
    ),
    Misbehaviour(
        "charset=GB18030", "C-FIND answers in this character set",
        lambda text: {"answer_charset": _charset(text)},
    ),
    Misbehaviour(
        "no-charset", "C-FIND answers do not tell their character set",
        lambda _: {"omit_charset": True}, "",
    ),
    Misbehaviour(
        "bad-utf8", "C-FIND answers with bytes that UTF-8 does not allow",
        lambda _: {"invalid_utf8": True}, "",
    ),
    Misbehaviour(
        "duplicates", "each C-FIND answer twice", lambda _: {"duplicate_answers": True}, ""
    ),
    Misbehaviour(
        "limit=100:A700", "at most 100 C-FIND answers, then A700, B001 or (in silence) 0000",
        _limit,
    ),
    Misbehaviour(
        "slow=10", "each answer and each image takes 10 times as long",
        lambda text: {"slow": _factor(text)}, "10",
    ),
    Misbehaviour(
        "stall=3", "after 3 images of a request nothing comes any more",
        lambda text: {"stall_after": _number(text)},
    ),
    Misbehaviour("abort=3", "after 3 images of a request an abort", _abort),
    Misbehaviour(
        "refuse=5", "after 5 associations the next 3 are refused, and so on",
        lambda text: {"refuse_after": _number(text)},
    ),
    Misbehaviour(
        "at-once=1", "at most 1 association at a time",
        lambda text: {"max_associations": _number(text)},
    ),
    Misbehaviour("foreign", "an image of another patient after each request", _foreign, ""),
    Misbehaviour(
        "twice", "the first image again, with other pixels", lambda _: {"send_twice": True}, ""
    ),
    Misbehaviour(
        "compressed", "all images in a compressed transfer syntax (RLE Lossless)",
        lambda _: {"compress": True}, "",
    ),
    Misbehaviour("network=20", "once in mid-transfer no network for 20 seconds", _network, "20"),
    Misbehaviour("no-cancel", "C-CANCEL is not heeded", lambda _: {"ignore_cancel": True}, ""),
    Misbehaviour(
        "only=1.2.3", "all of this that concerns C-MOVE and C-GET for one series only",
        lambda text: {"only": frozenset({text})},
    ),
)  # fmt: skip
BY_NAME = {one.name: one for one in MISBEHAVIOURS}


def read_behaviour(wishes: Iterable[str]) -> Behaviour:
    """`NAME` or `NAME=VALUE`, each as in MISBEHAVIOURS. Raises InputError naming what is wrong."""
    behaviour = Behaviour()
    for wish in wishes:
        name, has_value, value = wish.partition("=")
        known = BY_NAME.get(name)
        if known is None:
            raise InputError(f"--misbehave: no {name!r}; there are {', '.join(BY_NAME)}")
        if not has_value and known.default is None:
            raise InputError(f"--misbehave: {name} needs a value, as in {known.example}")
        try:
            changes = known.read(value if has_value else known.default or "")
        except _BadValueError as error:
            raise InputError(f"--misbehave: {name} takes {error}, as in {known.example}") from None
        behaviour = replace(behaviour, **changes)
    return behaviour


def read_size(text: str) -> tuple[int, int, int]:
    """`3x2x10` -> 3 patients, 2 series each, 10 images each. Raises InputError."""
    found = re.fullmatch(r"([0-9]{1,4})x([0-9]{1,4})x([0-9]{1,6})", text)
    if not found or "0" in found.groups():
        raise InputError("--generate takes PATIENTSxSERIESxIMAGES, as in 3x2x10")
    return int(found[1]), int(found[2]), int(found[3])


def read_destination(text: str) -> tuple[str, tuple[str, int]]:
    """`AET=HOST:PORT`. Raises InputError."""
    found = re.fullmatch(r"([^=\\]{1,16})=([^:=]+):([0-9]{1,5})", text)
    if not found or not 0 < int(found[3]) <= 65535:
        raise InputError("--destination takes AET=HOST:PORT, as in PACSTREAM=127.0.0.1:11112")
    return found[1].strip(), (found[2], int(found[3]))
