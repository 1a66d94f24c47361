"""A request without its web, and the readers of its parameters.

Handlers are plain functions of the venue and a call; what they return or raise is the answer.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from workbench.exchange import refusals
from workbench.exchange.ledger import named_uuid
from workbench.exchange.venue import Venue
from workbench.exchange.wire import parse_stamp


@dataclass(frozen=True, slots=True)
class Call:
    """The path's and the query's parameters and the raw body of one request."""

    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def fields(self) -> dict[str, object]:
        """Return the JSON object of the body, decimals exact; raises the 400 refusal."""
        try:
            parsed = json.loads(self.body, parse_float=Decimal, parse_constant=_no_number)
        except (ValueError, RecursionError):
            raise refusals.bad_body() from None
        if not isinstance(parsed, dict):
            raise refusals.bad_body()
        return parsed

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """Return a query parameter that is one of `choices`, the first if it is absent."""
        value = self.query.get(name) or choices[0]
        if value not in choices:
            raise refusals.bad_field(f"invalid {name}: {value}")
        return value

    def whole(self, name: str, default: int, most: int) -> int:
        """Return a query parameter that is a whole number from 1 to `most`."""
        text = self.query.get(name)
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(most))):
            raise refusals.bad_field(f"invalid {name}: {text}")
        if not 1 <= int(text) <= most:
            raise refusals.bad_field(f"{name} must be from 1 to {most}")
        return int(text)

    def time_ns(self, name: str, *, end_of_day: bool = False) -> int | None:
        """Return a query parameter that is a time, as nanoseconds; None if it is absent."""
        text = self.query.get(name)
        if not text:
            return None
        try:
            return parse_stamp(text, end_of_day=end_of_day)
        except (ValueError, OverflowError):
            raise refusals.bad_field(f"invalid {name}: {text}") from None

    def day(self, name: str, default: date) -> date:
        """Return a query parameter that is a date, or starts with one."""
        text = self.query.get(name)
        if not text:
            return default
        try:
            return date.fromisoformat(text[:10])
        except ValueError:
            raise refusals.bad_field(f"invalid {name}: {text}") from None


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: a status and a JSON value; None is an empty body."""

    body: object
    status: int = 200


Handler = Callable[[Venue, Call], Answer]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A handler and where it is found; `path` is Starlette's template and the counter's key."""

    method: str
    path: str
    handler: Handler


def _no_number(text: str) -> None:
    raise ValueError(text)


def asked_symbol(venue: Venue, call: Call) -> str:
    """Return the symbol that the path names, by itself or by its asset id."""
    key = call.path["symbol"]
    if venue.tape.knows(key):
        return key
    for symbol in venue.tape.symbols:
        if str(named_uuid("asset", symbol)) == key.lower():
            return symbol
    return key
