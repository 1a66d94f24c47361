"""`scalper why`: what the logs say of a symbol around a time, each reason in words.

Pure: the lines come from `workbench.operate.logs`, the words from the docstrings of `Reason`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, time, timedelta
from functools import cache
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from scalper.core import model
from scalper.core.model import Reason
from scalper.core.session import MINUTE, new_york_day, new_york_text, parse_time, to_utc
from workbench.operate.deployed_stack import OperateError
from workbench.operate.logs import LogLine
from workbench.source.remarks import remarks

NEWEST_MINUTES = 5
"""Minutes shown before now, or before the end of a file, if no time is asked for."""

EVENTS = {
    "BarClosed": "tick",
    "OrderSeen": "order",
    "CheckupDue": "checkup",
    "LiquidationDue": "liquidation",
}
"""The machine's events, as this command names them."""

ALARMING = ("WARNING", "ERROR", "CRITICAL")

BEGINS_WITH_SYMBOL = ("symbol refused", "bar refused")
"""Messages whose `error` begins with the symbol that they are about."""

DETAILS = ("what", "why", "error", "status", "skew_s")
"""Fields of a line without a reason that say what happened."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What one log line says of a symbol."""

    at: datetime
    event: str
    """One of `EVENTS`, or the message of another line."""
    reason: str
    """A value of `Reason`; "" if the line has none."""
    words: str
    phase_from: str = ""
    phase_to: str = ""
    client_order_id: str = ""


@dataclass(frozen=True, slots=True)
class LastPhase:
    """The phase of a symbol at the end of what was read."""

    name: str
    since: datetime
    """The time of the first line that shows the symbol in this phase without a break."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the logs say of a symbol from `since` until before `until`."""

    symbol: str
    since: datetime
    until: datetime
    statements: tuple[Statement, ...]
    phase: LastPhase | None
    """None if no line of the day tells it."""
    next_step: str
    """What to look at if nothing is said of the symbol; else ""."""


def period(at: str, minutes: int, newest: datetime) -> tuple[datetime, datetime]:
    """Return the begin and the end, which is not included, of the time that is asked for.

    `at` is a New York time of the day of `newest`, such as "10:31", or a whole RFC 3339 time:
    `minutes` before it to `minutes` after its minute. If it is "", the last minutes before
    `newest`. Raises OperateError if it is neither.
    """
    if not at:
        return newest - NEWEST_MINUTES * MINUTE, newest + timedelta(seconds=1)
    try:
        asked = _asked_for(at, newest)
    except ValueError as error:
        raise OperateError(
            f"--at {at}: give a New York time such as 10:31, or a whole one such as "
            "2026-07-01T10:31:00-04:00"
        ) from error
    return asked - minutes * MINUTE, asked + (minutes + 1) * MINUTE


def explain(lines: Sequence[LogLine], symbol: str, since: datetime, until: datetime) -> Explanation:
    """Return what the lines say of a symbol from `since` until before `until`."""
    within = [line for line in lines if since <= line.at < until]
    statements = tuple(one for line in within if (one := _statement(line, symbol)) is not None)
    phase = _last_phase([line for line in lines if line.at < until], symbol)
    next_step = "" if statements else _next_step(lines, within, symbol)
    return Explanation(symbol, since, until, statements, phase, next_step)


def document(found: Explanation) -> dict[str, Any]:
    """Return the explanation as `--json` prints it; times are RFC 3339 in UTC."""
    return {
        "symbol": found.symbol,
        "since": found.since.isoformat(),
        "until": found.until.isoformat(),
        "statements": [{**asdict(one), "at": one.at.isoformat()} for one in found.statements],
        "phase": None
        if found.phase is None
        else {"name": found.phase.name, "since": found.phase.since.isoformat()},
        "next_step": found.next_step,
    }


def show(console: Console, found: Explanation) -> None:
    """Print a row for each thing that happened, then the phase, then what to look at."""
    last = found.until - timedelta(seconds=1)
    console.print(
        f"{found.symbol}, {new_york_day(found.since)}, {new_york_text(found.since)} to "
        f"{new_york_text(last)} New York",
        markup=False,
    )
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(3):
        table.add_column()
    for times, one in _runs(found.statements):
        moved = one.phase_to and one.phase_from != one.phase_to
        phases = f"{one.phase_from} to {one.phase_to}. " if moved else ""
        order = f" ({one.client_order_id})" if one.client_order_id else ""
        reason = f"{one.reason}: " if one.reason else ""
        # A message of the broker may have brackets, which are no markup.
        words = Text(f"{reason}{one.words} {phases}".rstrip() + order)
        table.add_row(times, Text(one.event), words)
    if found.statements:
        console.print(table)
    if found.phase is not None:
        meaning = remarks(model, "Phase").get(found.phase.name, "")
        console.print(
            f"In phase {found.phase.name} since {new_york_text(found.phase.since)}. {meaning}",
            markup=False,
        )
    if found.next_step:
        console.print(found.next_step, markup=False)


@cache
def _reasons() -> dict[str, str]:
    """Return each reason's words by its value."""
    texts = remarks(model, "Reason")
    return {reason.value: texts[reason.name] for reason in Reason}


def words_of(reason: str) -> str:
    """Return a reason in words; of a newer version's reason, only that it is unknown here."""
    return _reasons().get(reason, "This version does not know the reason.")


def _asked_for(at: str, newest: datetime) -> datetime:
    """Return the time that `--at` names; raises ValueError if it is none."""
    if len(at) <= len("10:31:00"):
        return to_utc(new_york_day(newest), time.fromisoformat(at))
    return parse_time(at)


def _statement(line: LogLine, symbol: str) -> Statement | None:
    """Return what a line says of the symbol, or of all symbols; None if nothing."""
    fields = line.fields
    if line.message == "nothing changed":
        for reason, symbols in dict(fields.get("reasons") or {}).items():
            if symbol in symbols:
                return Statement(line.at, "tick", reason, words_of(reason))
        return None
    if not _is_about(line, symbol):
        return None
    reason = str(fields.get("reason") or "")
    if line.message == "decision":
        event = EVENTS.get(str(fields.get("event")), str(fields.get("event")))
        words = words_of(reason)
    elif line.message == "event ignored":
        event, words = "order", f"{words_of(reason)} The event changed nothing."
    else:
        event = line.message
        details = [str(fields[name]) for name in DETAILS if fields.get(name) not in (None, "")]
        words = words_of(reason) if reason else ", ".join(details)
    return Statement(
        line.at,
        event,
        reason,
        words,
        str(fields.get("phase_from") or ""),
        str(fields.get("phase_to") or ""),
        str(fields.get("client_order_id") or ""),
    )


def _is_about(line: LogLine, symbol: str) -> bool:
    """Whether a line is about the symbol, or is an alarm about all symbols."""
    fields = line.fields
    if "symbol" in fields:
        return bool(fields["symbol"] == symbol)
    if line.message in BEGINS_WITH_SYMBOL:
        return str(fields.get("error", "")).startswith(f"{symbol}:")
    if line.level not in ALARMING:
        return False
    named = fields.get("symbols")
    return not named or symbol in named


def _last_phase(lines: Iterable[LogLine], symbol: str) -> LastPhase | None:
    last: LastPhase | None = None
    for line in lines:
        name = line.fields.get("phase_to")
        if name and line.fields.get("symbol") == symbol and (last is None or last.name != name):
            last = LastPhase(str(name), line.at)
    return last


def _next_step(lines: Sequence[LogLine], within: Sequence[LogLine], symbol: str) -> str:
    """Return what to look at if no line within the period is about the symbol."""
    if within:
        return (
            f"The functions ran, and no line is about {symbol}. Has it an enabled row in the "
            "symbols table? Did a tick run in each minute (scalper doctor)?"
        )
    if not lines:
        return (
            "The logs have no line of the functions. Did a tick run (scalper doctor)? Was the "
            "market open?"
        )
    first, last = lines[0].at, lines[-1].at
    return (
        f"No function wrote a line then. Was the market open? The lines read are of "
        f"{new_york_day(first)} {new_york_text(first)} to {new_york_day(last)} "
        f"{new_york_text(last)} New York: name a time within by --at."
    )


def _runs(statements: Sequence[Statement]) -> Iterator[tuple[str, Statement]]:
    """Yield each run of equal statements as one, with the New York times of its ends."""

    def same(one: Statement) -> tuple[str, ...]:
        return (one.event, one.reason, one.words, one.phase_to, one.client_order_id)

    for _, run in groupby(statements, same):
        first, *others = run
        begin, end = (new_york_text(one.at) for one in (first, others[-1] if others else first))
        yield begin if begin == end else f"{begin} to {end}", first
