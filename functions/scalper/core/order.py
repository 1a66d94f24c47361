"""An order and what the broker says of it: joining reports is a maximum, so repeats are harmless.

Quantities are the broker's cumulative ones. Statuses follow Alpaca's order object
(https://docs.alpaca.markets/docs/orders-at-alpaca#order-lifecycle); one that is not known to be
terminal counts as live.
"""

import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import IntEnum, StrEnum
from functools import lru_cache

from scalper.core.pricing import Money

PREFIX = "scalp"
MAX_GENERATION = 999
"""Orders of one symbol in one session; the number has three digits in the client id."""

ABSENCE_GAP = timedelta(seconds=5)
"""Two "not found" answers closer together than this count as one."""

REFUSED = "refused"
"""Not a broker's status: the submit was answered by a refusal, the order does not exist."""

ABSENT = "absent"
"""Not a broker's status: a request by client id was answered 404, which is not yet a "no"."""

SYMBOL = re.compile(r"[A-Z][A-Z0-9.]{0,9}", re.ASCII)
"""A symbol that can be traded here, such as TSLA or BRK.B: its client ids have to be short."""

TERMINAL_STATUSES = frozenset({"filled", "canceled", "expired", "rejected", "replaced"})

_NEVER = datetime.min.replace(tzinfo=UTC)
_CLIENT_ID = re.compile(
    rf"{PREFIX}-(?P<mode>paper|live)-(?P<symbol>{SYMBOL.pattern})"
    r"-(?P<day>\d{8})-(?P<generation>[1-9]\d{0,2})-(?P<purpose>[a-z]+)",
    re.ASCII,
)


class Purpose(StrEnum):
    """What an order is for; the client id ends with it, so that the broker's books show it."""

    ENTRY = "entry"
    TARGET = "target"
    STOP = "stop"
    BAILOUT = "bailout"
    LIQUIDATION = "liquidation"


class Progress(IntEnum):
    """How far an order is known to have come; it only rises."""

    INTENT = 0
    LIVE = 1
    TERMINAL = 2


@dataclass(frozen=True, slots=True)
class ClientOrderId:
    """The parts of a client order id; its text is deterministic and at most 48 characters."""

    mode: str
    symbol: str
    day: date
    generation: int
    purpose: Purpose

    def __str__(self) -> str:
        day = self.day.strftime("%Y%m%d")
        return f"{PREFIX}-{self.mode}-{self.symbol}-{day}-{self.generation}-{self.purpose}"

    @classmethod
    def parse(cls, text: str) -> "ClientOrderId | None":
        """Return the parts, or None where this system did not make the id."""
        return _parsed(text)


@lru_cache(maxsize=1_000)
def _parsed(text: str) -> ClientOrderId | None:
    found = _CLIENT_ID.fullmatch(text)
    if found is None:
        return None
    try:
        day = date.fromisoformat(found["day"])
        purpose = Purpose(found["purpose"])
    except ValueError:
        return None
    return ClientOrderId(found["mode"], found["symbol"], day, int(found["generation"]), purpose)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReport:
    """One statement of the broker about one order: an event, or the answer to a request."""

    client_order_id: str
    status: str
    symbol: str = ""
    qty: int = 0
    limit: Money | None = None
    submitted_at: datetime | None = None
    filled_qty: int = 0
    filled_value: Money = 0
    """What the filled shares cost or brought in all: quantity times average price."""
    updated_at: datetime | None = None
    broker_id: str = ""
    replaced_by: str = ""
    """The broker's id of the order that it made in the place of this one."""
    carried: tuple[int, Money] | None = None
    """Where the order stands in the place of a replaced one: what that had filled, and its value.

    Quantities and values are of both then.
    """
    confirmed: bool = False
    """Whether it was asked for (GET); an event may carry stale quantities."""
    throttled: bool = False
    """Whether it was refused for too many requests: that says nothing of the order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The symbol's one working order: first an intent, then what is known of it."""

    client_order_id: str
    purpose: Purpose
    qty: int
    limit: Money | None
    """None is a market order."""
    submitted_at: datetime
    """The decision's time, never the broker's stamp."""
    sends: int = 1
    progress: Progress = Progress.INTENT
    status: str = ""
    filled_qty: int = 0
    filled_value: Money = 0
    updated_at: datetime | None = None
    broker_id: str = ""
    confirmed: bool = False
    cancel_at: datetime | None = None
    """When a cancel was last asked for."""
    absences: int = 0
    absent_at: datetime | None = None
    # Optional in the table. A version without them asks for the order that was replaced, finds it
    # over and halts the symbol: what it did before there were successors, and no worse.
    successor: str = ""
    """The broker's id of the order that works in this one's place, since the broker replaced it."""
    carried_qty: int = 0
    """Filled before the successor, whose own quantities start at nothing."""
    carried_value: Money = 0

    @property
    def is_buy(self) -> bool:
        """Whether it is the entry; every other purpose sells."""
        return self.purpose is Purpose.ENTRY

    @property
    def is_closed(self) -> bool:
        """Whether it can change no more: filled in full, or terminal by a request's answer."""
        return self.filled_qty >= self.qty or (
            self.progress is Progress.TERMINAL and self.confirmed
        )

    @property
    def needs_confirmation(self) -> bool:
        """Whether an event called it terminal and a request has to confirm that."""
        return self.progress is Progress.TERMINAL and not self.is_closed


def progress_of(status: str) -> Progress:
    """Return how far a broker's status means an order has come; unknown ones are live."""
    return Progress.TERMINAL if status in TERMINAL_STATUSES else Progress.LIVE


def join(order: Order, report: OrderReport, at: datetime) -> Order:
    """Return the order with the report joined in; any order of reports gives the same.

    Filled quantity and progress are maxima, the status is the latest by the broker's stamp.
    ABSENT only counts; REFUSED is terminal by itself. A successor's reports count on top of what
    was filled before it, and what it is of makes the order's size.
    """
    if report.status == ABSENT:
        if order.progress is not Progress.INTENT or (
            order.absent_at is not None and at - order.absent_at < ABSENCE_GAP
        ):
            return order
        return replace(order, absences=order.absences + 1, absent_at=at)
    if report.status == REFUSED:
        return replace(order, progress=Progress.TERMINAL, status=REFUSED, confirmed=True)
    if order.successor and report.qty:
        order = replace(order, qty=order.carried_qty + report.qty)
    filled_qty, filled_value = max((order.filled_qty, order.filled_value), fills(order, report))
    updated_at, _, status = max(
        (order.updated_at or _NEVER, progress_of(order.status), order.status),
        (report.updated_at or _NEVER, progress_of(report.status), report.status),
    )
    terminal = progress_of(report.status) is Progress.TERMINAL
    known = Progress.TERMINAL if filled_qty >= order.qty else progress_of(report.status)
    return replace(
        order,
        progress=max(order.progress, known),
        status=status,
        filled_qty=filled_qty,
        filled_value=filled_value,
        updated_at=None if updated_at == _NEVER else updated_at,
        broker_id=max(order.broker_id, report.broker_id),
        confirmed=order.confirmed or (report.confirmed and terminal),
    )


def fills(order: Order, report: OrderReport) -> tuple[int, Money]:
    """Return the shares filled and their value as a report of the order tells them, in all."""
    return order.carried_qty + report.filled_qty, order.carried_value + report.filled_value


def follow(order: Order, successor: str) -> Order:
    """Return the order as it lives on under the broker's new id, with its fills carried over."""
    return replace(
        order,
        progress=Progress.LIVE,
        status="",
        broker_id=successor,
        successor=successor,
        carried_qty=order.filled_qty,
        carried_value=order.filled_value,
        updated_at=None,
        confirmed=False,
        cancel_at=None,
    )


def is_correction(order: Order, report: OrderReport) -> bool:
    """Return whether a newer, confirmed report takes fills back: a bust or a correction."""
    return (
        report.confirmed
        and fills(order, report)[0] < order.filled_qty
        and report.updated_at is not None
        and order.updated_at is not None
        and report.updated_at > order.updated_at
    )
