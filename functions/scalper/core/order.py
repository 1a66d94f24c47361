"""An order and the broker's reports of it: `join` takes maxima, so repeated reports are harmless.

Quantities are whole shares, cumulative as the broker reports them. Statuses follow Alpaca's order
object (https://docs.alpaca.markets/docs/orders-at-alpaca#order-lifecycle). A status that is not
known to be terminal counts as live.
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
"""Two "not found" answers that are closer together than this count as one."""

REFUSED = "refused"
"""Not a broker's status: the broker refused the submit, so that the order does not exist."""

ABSENT = "absent"
"""Not a broker's status: a request by client order id got a 404. The order may still land."""

SYMBOL = re.compile(r"[A-Z][A-Z0-9.]{0,9}", re.ASCII)
"""A symbol that can be traded here, such as TSLA or BRK.B: its client ids have to be short."""

TERMINAL_STATUSES = frozenset({"filled", "canceled", "expired", "rejected", "replaced"})

OPEN_STATUSES = frozenset(
    {"new", "accepted", "pending_new", "partially_filled", "pending_cancel", "held"}
)
"""The statuses of an order that Alpaca lists as open and that may still fill."""

KNOWN_STATUSES = (
    TERMINAL_STATUSES
    | OPEN_STATUSES
    | {*("done_for_day", "pending_replace", "accepted_for_bidding"), *("stopped", "suspended")}
    | {"calculated"}
)
"""Alpaca's words for an order; any other counts as live all the same.

(https://docs.alpaca.markets/docs/orders-at-alpaca#order-lifecycle)
"""

_NEVER = datetime.min.replace(tzinfo=UTC)
_CLIENT_ID = re.compile(
    rf"{PREFIX}-(?P<mode>paper|live)-(?P<symbol>{SYMBOL.pattern})"
    r"-(?P<day>\d{8})-(?P<generation>[1-9]\d{0,2})-(?P<purpose>[a-z]+)",
    re.ASCII,
)


class Purpose(StrEnum):
    """What an order is for. Its client order id ends with it, so that the broker shows it too."""

    ENTRY = "entry"
    TARGET = "target"
    STOP = "stop"
    BAILOUT = "bailout"
    LIQUIDATION = "liquidation"


class Progress(IntEnum):
    """How far an order is known to have come. It never goes back, except for a successor."""

    INTENT = 0
    LIVE = 1
    TERMINAL = 2


@dataclass(frozen=True, slots=True)
class ClientOrderId:
    """The parts of a client order id. Its text is deterministic and has at most 48 characters."""

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
        """Return the parts, or None if this system did not make the id."""
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
    """What all filled shares cost or brought together: quantity times average price."""
    updated_at: datetime | None = None
    broker_id: str = ""
    replaced_by: str = ""
    """The broker's id of the successor, if the broker replaced this order."""
    carried: tuple[int, Money] | None = None
    """For a successor: the quantity that the replaced order had filled, and its value.

    The report's quantities and values are then of both orders together.
    """
    confirmed: bool = False
    """Whether it is the answer to a request (GET). An event may carry old quantities."""
    throttled: bool = False
    """Whether the order was refused for too many requests, which says nothing about the order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The symbol's one working order: first an intent, then what the broker reported of it."""

    client_order_id: str
    purpose: Purpose
    qty: int
    limit: Money | None
    """None for a market order."""
    submitted_at: datetime
    """When the order was decided, never the broker's time stamp."""
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
    """Answers 404 to requests for the intent, at least `ABSENCE_GAP` apart."""
    absent_at: datetime | None = None
    # The table may lack these fields. A version that does not know them asks for the replaced
    # order, finds it closed and halts the symbol, as it did before there were successors.
    successor: str = ""
    """The broker's id of the order that works in place of this one, which the broker replaced."""
    carried_qty: int = 0
    """Filled by the replaced order. The successor's own quantities start at 0."""
    carried_value: Money = 0

    @property
    def is_buy(self) -> bool:
        """Whether it is an entry. Every other purpose sells."""
        return self.purpose is Purpose.ENTRY

    @property
    def is_closed(self) -> bool:
        """Whether it can change no more: filled in full, or terminal by the answer to a request."""
        return self.filled_qty >= self.qty or (
            self.progress is Progress.TERMINAL and self.confirmed
        )

    @property
    def needs_confirmation(self) -> bool:
        """Whether an event said that it is terminal, and a request has to confirm that."""
        return self.progress is Progress.TERMINAL and not self.is_closed


def progress_of(status: str) -> Progress:
    """Return how far an order with this status has come. An unknown status counts as live."""
    return Progress.TERMINAL if status in TERMINAL_STATUSES else Progress.LIVE


def join(order: Order, report: OrderReport, at: datetime) -> Order:
    """Return the order with the report joined in. Reports in any sequence give the same order.

    Filled quantity and progress are maxima. The status is the latest by the broker's time stamp.
    ABSENT only adds to `absences`. REFUSED makes the order terminal. Quantities of a successor are
    added to those that were carried over, and its size sets the order's size anew.
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
    """Return the order's filled shares and their value by this report, carried ones included."""
    return order.carried_qty + report.filled_qty, order.carried_value + report.filled_value


def follow(order: Order, successor: str) -> Order:
    """Return the order under its successor's broker id, with the fills so far carried over."""
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
