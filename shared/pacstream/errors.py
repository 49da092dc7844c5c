"""The exceptions of pacstream.

PacstreamError
├── RetryLaterError            time may cure it: the bus tries again after a delay
│   ├── PacsUnreachableError       no connection, no answer, or an association aborted
│   └── BrokerUnavailableError     a publish could not be confirmed
├── RejectedError              time will not cure it: the message goes to its dead-letter queue
│   ├── PacsRejectedError          the PACS refused the association or the request for good
│   └── UnroutableError            no queue is bound for a message
├── InputError                 what a user wrote is wrong: CLI, CSV, configuration
└── ZoneError                  a path that would leave its zone on disk

Every message of an exception is safe to log: it names codes, fields and rows, never a value that
came from a query or an image.
"""

from __future__ import annotations


class PacstreamError(Exception):
    """Base of all; `code` is the reason code that reports and dead letters carry."""

    code = "error"

    def __init__(self, message: str = "", *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class RetryLaterError(PacstreamError):
    """Time may cure this; `delay_s` asks for a shorter or longer pause than the default tiers."""

    code = "retry_later"

    def __init__(
        self, message: str = "", *, code: str | None = None, delay_s: float | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.delay_s = delay_s


class PacsUnreachableError(RetryLaterError):
    code = "pacs_unreachable"


class BrokerUnavailableError(RetryLaterError):
    code = "broker_unavailable"


class RejectedError(PacstreamError):
    code = "rejected"


class PacsRejectedError(RejectedError):
    code = "pacs_rejected"


class UnroutableError(RejectedError):
    code = "unroutable"


class InputError(PacstreamError):
    code = "input"


class ZoneError(PacstreamError):
    code = "zone"
