"""The De-ID (GPCR) service: pseudonyms and date shifts of a project's patients over HTTPS.

    POST <deid_URL>          {"project": "…", "PatientIDList": [{"PatientID": "…"}, …]}
    POST <deid_URL>_shift    the same
    Authorization: token <deid_token>

It answers with an object: `sub-<PatientID>` -> pseudonym, or whole days.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_exponential

from pacstream.errors import InputError, RetryLaterError

KEYS = ("deid_URL", "deid_token")
AT_ONCE = 500
"""Patients in a request."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
LARGEST = 64 << 20
"""Bytes of an answer."""
DAYS = re.compile(r"[+-]?[0-9]{1,5}")


class BadAnswerError(InputError):
    """The answer can't be used; `problems` has a line for each kind. No ID is in it."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("the De-ID service's answer can't be used, nothing was written")
        self.problems = list(problems)


@dataclass(frozen=True)
class DeidService:
    """Where, and with what. `ca_file`: whom to trust instead of the usual authorities."""

    url: str
    token: str = field(repr=False)
    ca_file: Path | None = None
    timeout_s: float = 60.0
    connection_timeout_s: float = 10.0
    tries: int = 4
    pause_s: float = 2.0

    def pseudonyms(self, project: str, patient_ids: Sequence[str]) -> dict[str, str]:
        """By patient ID, in the order given, each once. Raises InputError (BadAnswerError), or
        RetryLaterError if there is no answer in all tries."""
        answers = self._ask(self.url, project, patient_ids)
        return _checked(answers, patient_ids, _pseudonym, "a pseudonym")

    def day_shifts(self, project: str, patient_ids: Sequence[str]) -> dict[str, int]:
        answers = self._ask(f"{self.url}_shift", project, patient_ids)
        return _checked(answers, patient_ids, _days, "a whole number of days")

    def _ask(self, url: str, project: str, patient_ids: Sequence[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        with requests.Session() as session:
            session.trust_env = False  # no proxy, no .netrc
            session.verify = str(self.ca_file) if self.ca_file else True
            session.headers["Authorization"] = f"token {self.token}"
            for piece in _pieces(list(dict.fromkeys(patient_ids))):
                body = {"project": project, "PatientIDList": [{"PatientID": x} for x in piece]}
                found |= self._post_until_answered(session, url, body)
        return found

    def _post_until_answered(
        self, session: requests.Session, url: str, body: dict[str, Any]
    ) -> dict[str, Any]:
        tries = Retrying(
            stop=stop_after_attempt(self.tries),
            wait=wait_exponential(multiplier=self.pause_s, max=60),
            retry=retry_if_exception_type(RetryLaterError),
            reraise=True,
        )
        answer: dict[str, Any] = tries(self._post, session, url, body)
        return answer

    def _post(self, session: requests.Session, url: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = session.post(
                url,
                json=body,
                timeout=(self.connection_timeout_s, self.timeout_s),
                allow_redirects=False,  # the token goes nowhere else
            )
        except requests.exceptions.SSLError:
            raise InputError(
                "the De-ID service's certificate is not trusted: --ca-file, or have it renewed"
            ) from None
        except requests.RequestException as error:
            raise RetryLaterError(
                f"the De-ID service does not answer ({type(error).__name__})"
            ) from None
        return _object(answer)


def _object(answer: requests.Response) -> dict[str, Any]:
    code = answer.status_code
    if code in PASSING:
        raise RetryLaterError(f"the De-ID service is not ready (HTTP {code})")
    if code in (401, 403):
        raise InputError(f"the De-ID service does not accept deid_token (HTTP {code})")
    if code != requests.codes.ok:
        raise InputError(f"the De-ID service refuses the request (HTTP {code}): deid_URL, project")
    try:
        content = json.loads(answer.content) if len(answer.content) <= LARGEST else None
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise BadAnswerError(["it is no JSON object"])
    return content


def _checked(
    answers: dict[str, Any], patient_ids: Sequence[str], value_of: Any, what: str
) -> dict[str, Any]:
    """All patients have a value, or none gets one."""
    found: dict[str, Any] = {}
    lacking, wrong = 0, 0
    for patient_id in dict.fromkeys(patient_ids):
        name = f"sub-{patient_id}"
        value = value_of(answers.get(name))
        if value is not None:
            found[patient_id] = value
        elif answers.get(name) is None:
            lacking += 1
        else:
            wrong += 1
    problems = []
    if lacking:
        problems.append(f"{lacking} of {len(found) + lacking + wrong} patients are not in it")
    if wrong:
        problems.append(f"{wrong} patients have something else than {what}")
    if problems:
        raise BadAnswerError(problems)
    return found


def _pseudonym(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() or None if isinstance(value, str) else None


def _days(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    is_text = isinstance(value, str) and DAYS.fullmatch(value.strip(), 0)
    return int(str(value)) if is_text else None


def _pieces(ids: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), AT_ONCE):
        yield ids[start : start + AT_ONCE]


def read_deid_config(path: Path) -> tuple[str, str]:
    """`deid_URL` and `deid_token` of a JSON file that has exactly these. Raises InputError, which
    does not quote them."""
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: can't be read ({type(error).__name__})") from None
    except ValueError:
        raise InputError(f"{path}: is no JSON in UTF-8") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: must be an object with {' and '.join(KEYS)}")
    problems = [f"{key}: missing" for key in KEYS if key not in content]
    problems += [f"{key}: unknown key, remove it" for key in content if key not in KEYS]
    problems += [
        f"{key}: must be a text that is not empty"
        for key in KEYS
        if key in content and not (isinstance(content[key], str) and content[key].strip())
    ]
    if problems:
        raise InputError(f"{path.name}: {'; '.join(problems)}")
    url, token = content["deid_URL"].strip().rstrip("/"), content["deid_token"].strip()
    _check_address(path, url)
    if not (token.isascii() and token.isprintable()):
        raise InputError(f"{path.name}: deid_token: must be printable ASCII")
    return url, token


def _check_address(path: Path, url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host, parts = None, urlsplit("")
    is_plain = bool(host) and not (parts.username or parts.query or parts.fragment)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK)
    if not is_plain or not is_safe:
        raise InputError(f"{path.name}: deid_URL: must be https://host/path, without user and `?`")
