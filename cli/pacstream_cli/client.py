"""The ledger's HTTP interface, as the commands need it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from pacstream.errors import InputError, PacstreamError

if TYPE_CHECKING:
    import requests

View = dict[str, Any]

ADDED: View = {"afterwards": []}
"""What a ledger of the previous version, as it answers in a roll-out, does not tell of a batch."""

RESTART_PATIENCE = 60
"""Seconds for which a watch bears a ledger that does not answer: a restart takes less than ten."""


class LedgerUnreachableError(PacstreamError):
    code = "ledger_unreachable"


class LedgerClient:
    """`url`: where the ledger answers, e.g. http://127.0.0.1:8090.

    `patience`: how many seconds, about, a ledger that is being restarted is waited for.
    """

    def __init__(self, url: str, *, patience: int = 0, timeout_s: float = 10.0) -> None:
        self._url = url.rstrip("/")
        self._patience = patience
        self._timeout_s = timeout_s

    @cached_property
    def _session(self) -> requests.Session:
        import requests  # a tenth of a second, and `submit` asks the ledger for nothing
        from requests.adapters import HTTPAdapter
        from urllib3.util import Retry

        session = requests.Session()
        session.trust_env = False
        again = Retry(total=self._patience, backoff_factor=0.5, backoff_max=1.0)
        session.mount(self._url, HTTPAdapter(max_retries=again))
        return session

    def batches(self) -> list[View]:
        """All batches, newest first. Raises LedgerUnreachableError."""
        answer: list[View] = self._get("/batches")
        return answer

    def status(self, batch_id: str) -> View:
        """Raises InputError if the ledger does not know the batch."""
        return self._one(f"/batches/{batch_id}")

    def report(self, batch_id: str) -> View:
        return self._one(f"/batches/{batch_id}/report")

    def knows(self, batch_id: str) -> bool:
        return self._get(f"/batches/{batch_id}") is not None

    def zone(self) -> str:
        """The id of the trusted zone that the services work on."""
        answer = self._get("/zone")
        return str(answer["zone"]) if answer else ""

    def control(self, batch_id: str, verb: str, **values: int) -> View:
        """pause, resume, cancel or priority; gives the batch's status.

        Raises InputError with the ledger's reason if it can't be.
        """
        return self._change("POST", f"/batches/{batch_id}/{verb}", values)

    def throttles(self) -> list[View]:
        """Each PACS with its limits and what it bears now."""
        answer: list[View] = self._get("/throttle")
        return answer

    def set_throttle(self, pacs: str, limits: View) -> View:
        """Change the limits that are named. Raises InputError if one is wrong."""
        return self._change("PUT", "/throttle", {"pacs": pacs, "limits": limits})

    def _change(self, method: str, path: str, body: View) -> View:
        response = self._ask(method, path, body)
        answer: View = response.json()
        if response.status_code in (400, 404, 409):
            raise InputError(str(answer.get("error", "the ledger refuses")))
        if response.status_code != 200:
            raise LedgerUnreachableError(f"the ledger answers {response.status_code}")
        return answer

    def _one(self, path: str) -> View:
        answer: View | None = self._get(path)
        if answer is None:
            raise InputError("the ledger knows no such batch; `pacstream status` lists them")
        return {**ADDED, **answer}

    def _get(self, path: str) -> Any:
        response = self._ask("GET", path)
        if response.status_code == 404:
            return None
        if response.status_code != 200:
            raise LedgerUnreachableError(f"the ledger answers {response.status_code}")
        return response.json()

    def _ask(self, method: str, path: str, body: View | None = None) -> requests.Response:
        session = self._session
        from requests import RequestException

        try:
            return session.request(method, self._url + path, json=body, timeout=self._timeout_s)
        except RequestException as error:
            raise LedgerUnreachableError(
                f"the ledger does not answer at {self._url} ({type(error).__name__}): "
                "is the stack up? `pacstream ps` tells, `pacstream up` starts it"
            ) from None
