"""Errors of the shell, named by what the caller does about them.

ScalperError
├── SettingsError          nothing can run: log one line that says what to set
├── WebhookRefusedError    nothing was changed: answer with the error's HTTP status
├── StoreError
│   ├── ConflictError      another invocation wrote the item: load it and decide again
│   └── StoreDownError     nothing was written: send nothing
└── BrokerError
    ├── RefusedError       definite: the request had no effect
    │   ├── DuplicateOrderError  an earlier send may have landed: ask for the order
    │   └── UnauthorizedError  fetch the keys again once, then enter nothing
    │       └── WrongAccountError  the keys are of another account: send nothing at all
    ├── UnknownOutcomeError    the request may have had its effect: ask before sending it again
    └── BrokerDownError    a question got no answer: try again later
"""


class ScalperError(Exception):
    """Any expected failure of the shell."""


class SettingsError(ScalperError):
    """A setting or a secret is missing or not valid; the text says what to set."""


class WebhookRefusedError(ScalperError):
    """The webhook refuses a delivery."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class StoreError(ScalperError):
    """The state table did not do what was asked."""


class ConflictError(StoreError):
    """The item in the table is not the version that was loaded."""


class StoreDownError(StoreError):
    """The table did not answer, or answered with an error."""


class BrokerError(ScalperError):
    """The broker did not do what was asked."""


class RefusedError(BrokerError):
    """A 4xx answer that could be read: the request had no effect.

    `status` is the HTTP status, `code` Alpaca's own code if the answer has one.
    """

    def __init__(self, status: int, code: int | None, message: str) -> None:
        super().__init__(f"{status} {code or ''} {message}".replace("  ", " "))
        self.status = status
        self.code = code
        self.message = message


class DuplicateOrderError(RefusedError):
    """The broker says that it already has an order with this client order id."""


class UnauthorizedError(RefusedError):
    """The keys are wrong or revoked, or belong to another account."""


class WrongAccountError(UnauthorizedError):
    """The keys are not of the account that may be traded; nothing was sent."""

    def __init__(self, why: str) -> None:
        super().__init__(403, None, why)


class UnknownOutcomeError(BrokerError):
    """A request with an effect met a time-out, a 5xx, a dead connection or an unreadable answer."""


class BrokerDownError(BrokerError):
    """A request without an effect got no usable answer, after its retries."""
