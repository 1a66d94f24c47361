"""The incidents of docs/reliability.md: what others reported in public, and how scalper answers.

`workbench/source/remarks.py` finds the tests of each.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Incident:
    """One row: its lasting name, what happens, and how this system answers."""

    name: str
    happens: str
    answer: str
    note: str = ""
    """What of the answer is missing yet."""


EVENTS = (
    Incident(
        "1",
        "The event of a fill never arrives.",
        "Each checkup asks for every working order. The system needs no event.",
    ),
    Incident(
        "2",
        "The stream is open but silent, or breaks again and again. The broker allows one "
        "connection.",
        "The relay closes a stream that answers no ping within a minute. Each new connection "
        "asks for a checkup. The waits between connections grow, with jitter. A lease lets "
        "one relay connect, and the relay disconnects before its lease ends. If another "
        "connection holds the place, the relay waits. It sends its heartbeat only while it is "
        "connected.",
    ),
    Incident(
        "3",
        "One fill is never reported, and the liquidation sells again and again.",
        "The system sells what the broker still shows. It counts its sells, and after the "
        "bound it halts the symbol with an alarm.",
    ),
    Incident(
        "4",
        "The broker reports the same execution twice.",
        "A report that is joined again changes nothing.",
    ),
    Incident(
        "5",
        "A client takes a cumulative quantity for an increment.",
        "The system stores the broker's totals and never adds them up.",
    ),
    Incident(
        "6",
        "An unexpected status leaves an order pending for good.",
        "Every status has an answer. An unknown status counts as live and raises an alarm.",
    ),
    Incident(
        "7",
        "The execution's id is missing.",
        "The system does not use it.",
    ),
    Incident(
        "8",
        "The answer to a submit holds a word that the client does not know.",
        "The system ignores unknown words. It takes an unreadable answer for an unknown outcome.",
    ),
    Incident(
        "9",
        "The fill's event arrives before the submit returns.",
        "The system stores the client order id before it sends the order. So the event finds "
        "its order.",
    ),
    Incident(
        "10",
        "A client notes an event as handled, and then its effect is lost.",
        "The write of the state is the only note. If it fails, the event takes effect the "
        "next time.",
    ),
    Incident(
        "11",
        "A client finds a fill by polling and gets its event, too, perhaps under another "
        "execution id.",
        "The system joins the totals by their maximum, whatever their source.",
    ),
    Incident(
        "12",
        "The first event of an order is already its fill.",
        "Each event is a whole snapshot. It needs no earlier event.",
    ),
    Incident(
        "13",
        "A client forgets an order and drops its late fill.",
        "The system remembers the ids of the day and sells the shares of a late fill.",
    ),
)

ORDERS = (
    Incident(
        "14",
        "A submit times out, and the client sends the order a second time.",
        "The system never repeats a POST blindly. It asks for the order first.",
    ),
    Incident(
        "15",
        "Each repeat has its own id, so the broker accepts them all.",
        "The system stores the id before it sends the order. Each repeat uses the same id.",
    ),
    Incident(
        "16",
        "A client releases the money reserved for an order whose outcome is unknown.",
        "The intent stays and blocks its symbol until the outcome is known.",
    ),
    Incident(
        "17",
        "An id stays taken after its order was canceled.",
        "Each order has a new generation number. If the broker answers “must be unique”, the "
        "system asks for the order.",
    ),
    Incident(
        "18",
        "A cancel fails because the order has filled.",
        "After any answer to a cancel, the system asks for the order.",
    ),
    Incident(
        "19",
        "The broker answers a cancel with 422, “already filled”.",
        "After any answer to a cancel, the system asks for the order.",
    ),
    Incident(
        "20",
        "The broker answers the cancel of a filled order with 204.",
        "After any answer to a cancel, the system asks for the order.",
    ),
    Incident(
        "21",
        "An order stays in pending_cancel for hours.",
        "The order counts as live. The system repeats the cancel at intervals and raises an "
        "alarm before the close.",
    ),
    Incident(
        "22",
        "An order is canceled and filled at once, or the broker confirms a cancel and the "
        "order stays open.",
        "The filled quantity counts. The system asks for the order until it is closed for certain.",
    ),
    Incident(
        "23",
        "The broker replaces an order by another one.",
        "The system follows the successor.",
    ),
    Incident(
        "24",
        "The broker rejects an order that it had accepted.",
        "The system asks for the order until it is closed.",
    ),
    Incident(
        "25",
        "A client drops an order when its cancel fails.",
        "The system follows the order until an answer says that it is closed.",
    ),
    Incident(
        "26",
        "The broker answers “insufficient quantity” right after a cancel or a fill.",
        "The system sells nothing before a cancel is certain. After a refusal, the next "
        "checkup sells what no open order holds.",
    ),
    Incident(
        "27",
        "The broker refuses a wash trade.",
        "A buy and a sell of one symbol never work at the same time.",
    ),
    Incident(
        "28",
        "The buying power is insufficient.",
        "The system takes the refusal as definite. The symbol cools down and does not ask "
        "each minute.",
    ),
    Incident(
        "29",
        "The account takes no new orders.",
        "Entries halt. An exit that cannot go out raises an alarm.",
    ),
    Incident(
        "30",
        "A price is not a multiple of the tick size.",
        "Prices are exact. The system rounds buys down to the tick size and sells up.",
    ),
    Incident(
        "31",
        "The broker answers 502 all day, or 429.",
        "The system takes a POST's outcome as unknown. It repeats reads within a budget. One "
        "list of orders serves an invocation, and exits go before entries.",
    ),
    Incident(
        "32",
        "The broker answers a submit with an empty order, or with another order.",
        "The system compares the client order id in the answer. If it differs, the outcome is "
        "unknown.",
    ),
)

PARTIAL_FILLS = (
    Incident(
        "33",
        "A buy fills in part and is then canceled.",
        "The position is what the closed order filled.",
    ),
    Incident(
        "34",
        "A sell fills in part, and the rest is stuck or is sold twice.",
        "When the sell is closed for certain, the system sells the rest under a new id.",
    ),
    Incident(
        "35",
        "A fraction of a share is left.",
        "The system trades whole shares only. A fraction is not its own, and it stays.",
    ),
    Incident(
        "36",
        "Somebody cancels an order by hand.",
        "The system finds it by polling.",
    ),
    Incident(
        "37",
        "Somebody sells the shares by hand.",
        "The broker's lower number counts. The system halts the symbol with an alarm.",
    ),
    Incident(
        "38",
        "External orders or positions are on a watched symbol.",
        "The system never touches them. They block the symbol's entries, and a log line says so.",
    ),
    Incident(
        "39",
        "The broker takes a fill back or corrects it.",
        "The system halts the symbol and reconciles it.",
    ),
)

MARKET = (
    Incident(
        "40",
        "A minute has no bar.",
        "The system invents no bar. Only the minute's own bar decides.",
    ),
    Incident(
        "41",
        "A day has almost no bars.",
        "The signal needs 21 bars of the day.",
    ),
    Incident(
        "42",
        "A bar has NaN, a zero, or a high below its low.",
        "The system refuses and counts the bar. Its symbol skips the minute, and the others go on.",
    ),
    Incident(
        "43",
        "The answer holds no bars.",
        "Each symbol is decided by itself.",
    ),
    Incident(
        "44",
        "Bars start before the open.",
        "Only the calendar's session counts.",
    ),
    Incident(
        "45",
        "A split makes the price jump.",
        "Only today's bars count, and the system asks for adjusted bars.",
    ),
    Incident(
        "46",
        "A client misses a half-day.",
        "The broker's calendar gives the hours. Each tick compares its clock with the broker's.",
    ),
    Incident(
        "47",
        "A bar is revised, late or not complete, or a symbol is halted.",
        "The system uses complete bars and the newest revision. After the longest wait, a "
        "late bar enters nothing.",
    ),
    Incident(
        "48",
        "The clock is wrong.",
        "If it differs from the broker's by more than 2 s, the system enters nothing and "
        "raises an alarm.",
    ),
)

PLATFORM = (
    Incident(
        "duplicate-schedule",
        "A minute is scheduled twice, or two ticks overlap.",
        "Only one invocation claims a minute. If two invocations write one state, one of them "
        "decides again, within a bound.",
    ),
    Incident(
        "late-tick",
        "A tick starts over 45 s late, or is delivered again later.",
        "The tick reconciles and enters nothing.",
    ),
    Incident(
        "killed-anywhere",
        "A function is killed between any two requests.",
        "The next checkup or tick finds what the table and the broker know.",
    ),
    Incident(
        "throttled-store",
        "The state table does not answer.",
        "The system repeats its requests within a bound. It sends nothing that it could not store.",
    ),
    Incident(
        "lying-write",
        "A write reports failure although it succeeded.",
        "The stored nonce shows that the item is the system's own write.",
    ),
    Incident(
        "broken-row",
        "An edit breaks the list of symbols.",
        "The system refuses the item with a log line that says why. The others trade, and no "
        "exit needs the item.",
    ),
    Incident(
        "removed-while-held",
        "A symbol is removed or paused while its shares are held.",
        "The symbol enters nothing more. The system manages its exit to the end.",
    ),
    Incident(
        "rotated-secret",
        "A secret changes while the functions run.",
        "Two webhook keys are valid at once. The system fetches refused broker keys again "
        "once. Without valid keys it enters nothing.",
    ),
    Incident(
        "bad-webhook",
        "A delivery is forged, replayed, stale, too large, malformed or of another account.",
        "The webhook refuses it before it reads the content. A repeat changes nothing, and "
        "neither does an order that is not ours.",
    ),
    Incident(
        "webhook-flood",
        "Somebody floods the webhook.",
        "The webhook is a function of its own. Ticks and checkups go on and find every fill. "
        "The webhook refuses large and unsigned requests first. A parameter bounds its "
        "concurrent runs if the account has enough of them.",
    ),
    Incident(
        "dead-socket",
        "A thawed function holds a dead connection.",
        "The system repeats reads. It takes a POST's outcome as unknown.",
    ),
    Incident(
        "mid-day-deploy",
        "A new version is deployed in the session, or an old version finds what a newer one wrote.",
        "Neighbouring versions read each other's states and keep unknown fields. Under a "
        "newer schema the system enters nothing, and exits go on.",
    ),
    Incident(
        "lost-table",
        "The state table is empty while shares are held.",
        "The system rebuilds the states from the broker's orders of the day before it enters "
        "anything.",
    ),
    Incident(
        "dead-relay",
        "The relay is dead.",
        "Trading is correct by polling alone. A start each minute finds the expired lease and "
        "takes it over within a minute. A missing heartbeat raises an alarm.",
    ),
)

SECTIONS: Mapping[str, tuple[Incident, ...]] = {
    "Events and streams": EVENTS,
    "Submit, cancel, reject": ORDERS,
    "Partial fills, leftovers, external orders": PARTIAL_FILLS,
    "Data and calendar": MARKET,
    "Platform": PLATFORM,
}
INCIDENTS = tuple(incident for section in SECTIONS.values() for incident in section)
