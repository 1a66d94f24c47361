"""How amounts and times look on Alpaca's wire, and how they are read back.

The trading API writes money and quantities as text, the market-data API as JSON numbers; times
are RFC 3339 with up to nine fractional digits, trailing zeros stripped. Parsing raises
ValueError.
"""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from scalper.core.pricing import DOLLAR, Money
from scalper.core.session import NEW_YORK

NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_STAMP = re.compile(
    r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+\- ]\d\d:?\d\d)", re.ASCII
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def dollars(amount: Money) -> str:
    """Return the amount in dollars as text without trailing zeros: "101.5", "-3", "0.0004"."""
    sign = "-" if amount < 0 else ""
    whole, part = divmod(abs(amount), DOLLAR)
    return f"{sign}{whole}.{part:04d}".rstrip("0").rstrip(".")


def number(amount: Money) -> float:
    """Return the amount in dollars as the JSON number of the market-data API."""
    return amount / DOLLAR


def quotient(amount: Money, qty: int) -> str:
    """Return dollars per share, at most nine decimals, trailing zeros stripped."""
    if amount % qty == 0:
        return dollars(amount // qty)
    return plain(Decimal(amount) / Decimal(qty * DOLLAR))


def ratio(part: Money, whole: Money) -> str:
    """Return part/whole by a factor of 1, four decimals; "0" if the whole is nothing."""
    if whole == 0:
        return "0"
    return plain((Decimal(part) / Decimal(whole)).quantize(Decimal("0.0001")))


def plain(value: Decimal) -> str:
    """Return the number as plain decimal text, at most nine decimals."""
    text = f"{value:.9f}".rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def nanoseconds(at: datetime) -> int:
    """Return an aware time as nanoseconds since 1970."""
    return (at - _EPOCH) // _MICROSECOND * 1000


def stamp(at: datetime) -> str:
    """Return an aware UTC time as RFC 3339: "2013-10-04T13:30:00Z"."""
    whole = at.isoformat().removesuffix("+00:00")
    return (whole.rstrip("0") if at.microsecond else whole) + "Z"


def stamp_ns(ns: int) -> str:
    """Return nanoseconds since 1970 as RFC 3339 in UTC, with up to nine fractional digits."""
    seconds, rest = divmod(ns, NS)
    whole = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".") + "Z"


def parse_stamp(text: str, *, end_of_day: bool = False) -> int:
    """Return an RFC 3339 time or a date (New York, its first or last instant) as nanoseconds.

    A space in place of the offset's plus is forgiven: it is a "+" that a client did not escape.
    """
    if _DATE.fullmatch(text):
        day = date.fromisoformat(text) + timedelta(days=int(end_of_day))
        midnight = datetime(day.year, day.month, day.day, tzinfo=NEW_YORK)
        return nanoseconds(midnight.astimezone(UTC)) - int(end_of_day)
    found = _STAMP.fullmatch(text)
    if found is None:
        raise ValueError(f"not a time: {text}")
    whole, fraction, offset = found.groups()
    at = datetime.fromisoformat(whole.upper() + offset.upper().replace(" ", "+"))
    return nanoseconds(at.astimezone(UTC)) + int((fraction or "").ljust(9, "0"))


def parse_wire_time(text: str) -> datetime:
    """Return an RFC 3339 time as aware UTC, cut to the microsecond."""
    return _EPOCH + timedelta(microseconds=parse_stamp(text) // 1000)


def new_york(at: datetime) -> str:
    """Return an aware time with its New York offset, as /v2/clock writes it."""
    return at.astimezone(NEW_YORK).isoformat()
