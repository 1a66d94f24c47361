"""The faults seen in the field, as docs/reliability.md lists them, and the tests that show each.

A test names its rows by `@pytest.mark.fault("14", ...)`; the marks are read from the source, so
that the page needs no test imported. `tests/workbench/test_faults.py` keeps both complete.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Fault:
    """A row: its lasting name, what happens, and what this system does then."""

    name: str
    happens: str
    wanted: str
    note: str = ""
    """What of it is not there yet."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A test that shows the wanted answer to a fault."""

    path: Path
    """Below the project's root."""
    name: str

    @property
    def sentence(self) -> str:
        """The test's name as people read it."""
        return re.sub(r"^test_(fault_\d+_)?", "", self.name).replace("_", " ")


EVENTS = (
    Fault(
        "1",
        "The event of a fill never comes.",
        "Each working order is asked for at every checkup: no event is needed.",
    ),
    Fault(
        "2",
        "The stream is open but mute, or breaks again and again; it allows one connection.",
        "A stream that answers no ping is closed within a minute; each connect asks for a "
        "checkup; waits grow, with jitter; one relay by a lease, which is gone before it ends; "
        "where another connection has the place it waits; a heartbeat only while connected.",
    ),
    Fault(
        "3",
        "One fill is never told, and the liquidation sells on and on.",
        "What is left to sell is what the broker says; so many sells, then a halt with an alarm.",
    ),
    Fault("4", "The same execution is told twice.", "Joining a report again changes nothing."),
    Fault(
        "5",
        "A cumulative quantity is taken for an increment.",
        "Quantities are the broker's totals and never added up.",
    ),
    Fault(
        "6",
        "A status nobody thought of leaves an order pending for good.",
        "Every status has an answer; an unknown one counts as live and is an alarm.",
    ),
    Fault("7", "The execution's id is missing.", "Nothing hangs on it."),
    Fault(
        "8",
        "The answer to a sent order holds a word the client does not know.",
        "Unknown words do no harm; an answer that cannot be read is an unknown outcome.",
    ),
    Fault(
        "9",
        "A fill is told before the submit has returned.",
        "The client id is stored before the order is sent, so the fill finds its order.",
    ),
    Fault(
        "10",
        "An event is noted as seen, then its effect is lost.",
        "The state's own write is the only note: what was not stored takes effect next time.",
    ),
    Fault(
        "11",
        "A fill found by asking is told too, or told under another execution id.",
        "The totals are joined by their maximum, whoever said them.",
    ),
    Fault(
        "12",
        "The first event of an order is already its fill.",
        "Each event is a snapshot that needs none before it.",
    ),
    Fault(
        "13",
        "An order is forgotten, and its late fill dropped.",
        "The day's ids are remembered, and a late fill is sold.",
    ),
)

ORDERS = (
    Fault(
        "14",
        "A submit times out and the order is sent a second time.",
        "A POST is never repeated blindly: first the order is asked for.",
    ),
    Fault(
        "15",
        "Each repeat has an id of its own, so the broker takes them all.",
        "The id is stored before the order is sent, and a repeat has the same.",
    ),
    Fault(
        "16",
        "What was set aside for an order is set free while its outcome is open.",
        "The intent stays, and keeps its symbol, until the outcome is known.",
    ),
    Fault(
        "17",
        "An id stays taken after its order was canceled.",
        "Each order has a new number; “must be unique” means that it exists: it is asked for.",
    ),
    Fault(
        "18",
        "A cancel fails because the order has filled.",
        "Whatever a cancel answers, the order is asked for.",
    ),
    Fault(
        "19",
        "A cancel is answered 422, “already filled”.",
        "Whatever a cancel answers, the order is asked for.",
    ),
    Fault(
        "20",
        "A cancel of a filled order is answered 204.",
        "Whatever a cancel answers, the order is asked for.",
    ),
    Fault(
        "21",
        "An order hangs in pending_cancel for hours.",
        "It counts as live, the cancel is repeated at intervals, and it is an alarm before the "
        "close.",
    ),
    Fault(
        "22",
        "Canceled and filled at once; or a cancel is acknowledged and the order stays open.",
        "The filled quantity counts, and the order is asked for until its end is certain.",
    ),
    Fault(
        "23",
        "The broker replaces an order by another.",
        "The order that replaced it is followed.",
    ),
    Fault(
        "24",
        "An accepted order is rejected later.",
        "It is asked for until it is over.",
    ),
    Fault(
        "25",
        "An order is dropped from sight when its cancel fails.",
        "It is followed until a request says that it is over.",
    ),
    Fault(
        "26",
        "“Insufficient quantity” right after a cancel or a fill.",
        "Nothing is sold before a cancel is certain; a refused sell goes out at the next checkup, "
        "of what no open order holds.",
    ),
    Fault(
        "27",
        "A wash trade is refused.",
        "A buy and a sell of one symbol never work at once.",
    ),
    Fault(
        "28",
        "The buying power is insufficient.",
        "The refusal is definite, and the symbol cools down instead of asking each minute.",
    ),
    Fault(
        "29",
        "The account takes no new orders.",
        "Entries halt; an exit that cannot go out is an alarm.",
    ),
    Fault(
        "30",
        "A price lies off the grid of prices.",
        "Prices are exact; buys are rounded down to the tick, sells up.",
    ),
    Fault(
        "31",
        "502 all day, or 429.",
        "A POST's outcome is unknown; questions are repeated within a budget; one list of orders "
        "serves a pass, and exits go before entries.",
    ),
    Fault(
        "32",
        "A submit is answered by an empty order, or another.",
        "The client id in the answer is compared; otherwise the outcome is unknown.",
    ),
)

HANDS = (
    Fault(
        "33",
        "A buy fills in part, then is canceled.",
        "The position is what filled of the order that is over.",
    ),
    Fault(
        "34",
        "A sell fills in part, and the rest is stuck or sold twice.",
        "Once its end is certain, the rest is sold under a new id.",
    ),
    Fault(
        "35",
        "Dust of a fraction of a share.",
        "Only whole shares are traded; a fraction is never ours and stays.",
    ),
    Fault("36", "Somebody cancels an order by hand.", "It is found by asking."),
    Fault(
        "37",
        "Somebody sells the shares by hand.",
        "The broker's lower number counts; the symbol is halted, with an alarm.",
    ),
    Fault(
        "38",
        "Orders or positions of others on a watched symbol.",
        "They are never touched; they keep the symbol from entering, visibly.",
    ),
    Fault(
        "39",
        "A fill is taken back or corrected.",
        "The symbol is halted and reconciled.",
    ),
)

MARKET = (
    Fault(
        "40",
        "A minute without a bar.",
        "No bar is made up; only the minute's own bar decides.",
    ),
    Fault("41", "A day that is almost empty.", "The average needs its 21 bars of the day."),
    Fault(
        "42",
        "A bar with NaN, zero, or its high below its low.",
        "That bar is refused and counted; its symbol skips the minute, the others go on.",
    ),
    Fault("43", "The answer holds nothing.", "Each symbol stands for itself."),
    Fault("44", "Bars from before the open.", "Only the calendar's session counts."),
    Fault(
        "45",
        "A split makes the price jump.",
        "Only today's bars count, and they are asked for as adjusted.",
    ),
    Fault(
        "46",
        "A half-day is missed.",
        "The broker's calendar gives the hours, and its clock is compared at each tick.",
    ),
    Fault(
        "47",
        "A bar is revised, late, or still going on; a symbol is halted.",
        "Complete bars only, the newest revision; after the wait's bound a late bar enters "
        "nothing.",
    ),
    Fault(
        "48",
        "The clock is off.",
        "More than 2 s from the broker's: nothing is entered, and it is an alarm.",
    ),
)

PLATFORM = (
    Fault(
        "duplicate-schedule",
        "A minute is scheduled twice, or two ticks overlap.",
        "A minute is claimed once; of two writers one decides again, within a bound.",
    ),
    Fault(
        "late-tick",
        "A tick starts over 45 s late, or is delivered again later.",
        "It reconciles and enters nothing.",
    ),
    Fault(
        "killed-anywhere",
        "A function is killed between any two requests.",
        "The next checkup or tick finds what the table and the broker know.",
    ),
    Fault(
        "throttled-store",
        "The state table does not answer.",
        "Its repeats are bounded; what is not written is not sent.",
    ),
    Fault(
        "lying-write",
        "A write reports failure though it was done.",
        "Its nonce shows that it was this very write.",
    ),
    Fault(
        "broken-row",
        "The list of symbols is broken by an edit.",
        "That row is refused with a line that says why; the others trade, and no exit needs it.",
    ),
    Fault(
        "removed-while-held",
        "A symbol is removed or paused while its shares are held.",
        "Nothing more is entered, and the exit is managed to its end.",
    ),
    Fault(
        "rotated-secret",
        "A secret is changed under way.",
        "Two webhook keys are good at once; refused broker keys are fetched again once, and "
        "without good ones nothing is entered.",
    ),
    Fault(
        "bad-webhook",
        "A webhook is forged, replayed, stale, too large, malformed or of another account.",
        "It is refused before anything is read of it; a repeat, or an order that is not ours, "
        "changes nothing.",
    ),
    Fault(
        "webhook-flood",
        "The webhook is flooded.",
        "It is a function of its own: ticks and checkups run on and find every fill. What is too "
        "large or unsigned is refused first; its concurrency is bounded where the account has "
        "the room.",
    ),
    Fault(
        "dead-socket",
        "A thawed function holds a connection that is dead.",
        "Questions are asked again; a POST's outcome is unknown.",
    ),
    Fault(
        "mid-day-deploy",
        "A new version is deployed in the session, or an old one finds what a newer wrote.",
        "One version apart they read each other's states and keep unknown fields; under a newer "
        "schema nothing is entered and exits go on.",
    ),
    Fault(
        "lost-table",
        "The state table is empty while shares are held.",
        "It is rebuilt from the broker's orders of the day before anything is entered.",
    ),
    Fault(
        "dead-relay",
        "The relay is dead.",
        "Trading is correct by asking alone; a start each minute sees its lease run out and takes "
        "it over within a minute; a missing heartbeat raises an alarm.",
    ),
)

SECTIONS: Mapping[str, tuple[Fault, ...]] = {
    "Events and streams": EVENTS,
    "Submit, cancel, reject": ORDERS,
    "Partial fills, leftovers, other hands": HANDS,
    "Data and calendar": MARKET,
    "Platform": PLATFORM,
}
FAULTS = tuple(fault for faults in SECTIONS.values() for fault in faults)


def shown_by(root: Path) -> dict[str, list[Shown]]:
    """Return the tests below `root`/tests by the names in their marks, known or not.

    Raises ValueError where a mark stands on anything but a test, or names no texts.
    """
    found: dict[str, list[Shown]] = {}
    for path in sorted((root / "tests").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if "mark.fault" not in source:
            continue
        for test, names in _marks(ast.parse(source), path):
            for name in names:
                found.setdefault(name, []).append(Shown(path.relative_to(root), test))
    return found


def _marks(tree: ast.Module, path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each marked test's name and the rows that it names."""
    every = {id(one) for one in ast.walk(tree) if _is_mark(one)}
    for test in ast.walk(tree):
        if not isinstance(test, ast.FunctionDef) or not test.name.startswith("test_"):
            continue
        for mark in test.decorator_list:
            if isinstance(mark, ast.Call) and _is_mark(mark.func):
                names = [ast.literal_eval(name) for name in mark.args]
                if not names or mark.keywords or not all(isinstance(n, str) for n in names):
                    raise ValueError(f"{path}: the mark of {test.name} names no rows")
                every.discard(id(mark.func))
                yield test.name, names
    if every:
        raise ValueError(f"{path}: pytest.mark.fault stands on what is no test, or names no rows")


def _is_mark(one: ast.AST) -> bool:
    return isinstance(one, ast.Attribute) and ast.unparse(one) == "pytest.mark.fault"
