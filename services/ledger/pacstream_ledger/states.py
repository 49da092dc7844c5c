"""The last state of a series, from what its stages have come to."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Row

from pacstream.messages import Actions

UNDER_WAY = ("waiting", "retrieving", "checking", "pausing")
NOT_DONE = ("failed", "unsupported", "incomplete")
LISTED = "uids"
"""The evidence of a PACS that lists SOP Instance UIDs."""


def state_of(
    actions: Actions, order: Row[Any], lacking: int, withheld: Collection[str]
) -> tuple[str, str]:
    """State and reason of a row of ORDERS. `lacking`: instances here without an outcome of
    de-identification, `withheld`: the reasons of those that were kept back."""
    if order.retrieval in UNDER_WAY:
        return "pending", ""
    if order.retrieval == "cancelled":
        return "cancelled", "cancelled"
    stages: list[tuple[bool, str]] = [(actions.info, order.info)]
    if order.retrieval == "received":
        stages += [(actions.save, order.exported), (actions.convert, order.conversion)]
    if any(wanted and not value for wanted, value in stages):
        return "pending", ""
    if lacking and not order.deidentification:
        return "pending", ""
    failures = [value for _, value in stages if value.startswith(NOT_DONE)]
    if order.deidentification.startswith("failed"):
        failures.append(order.deidentification)
    if order.retrieval in ("failed", "partial"):
        return order.retrieval, order.reason
    if failures:
        return "failed", failures[0].removeprefix("failed:")
    return ("withheld", min(withheld)) if withheld else ("complete", "")
