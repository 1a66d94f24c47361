"""Every kind of fault, named once: what happens, and at which requests or events it can strike.

Simulated days (`workbench/simulation/`) and chaos days (`workbench/chaos/`) inject faults of these
kinds, each its own part of them. A kind's value is its name in traces, scripts and results: a seed
draws by it, so a renamed kind changes the days in which it strikes.
"""

from enum import Enum, StrEnum
from typing import Self


class Strikes(Enum):
    """What a fault can strike: a sort of request, or something that happens without one."""

    READ = "a request to the broker that changes nothing"
    POSITIONS = "a request for the positions"
    SUBMIT = "a request that sends an order"
    CANCEL = "a request that cancels an order"
    STORE_READ = "a read of a table"
    STORE_WRITE = "a write to a table"
    SEND = "a message to a queue or a topic"
    POST = "a trade update that the relay posts to the webhook"
    SECRET = "a request for a secret"
    BAR = "a bar of a minute"
    ORDER = "an order at the broker"
    EVENT = "an order event of the broker's stream"
    TICK = "the scheduled tick of a minute"
    MINUTE = "a minute of the session"
    INVOCATION = "the start of an invocation"
    DAY = "the day as a whole"


_BROKER = (Strikes.READ, Strikes.POSITIONS, Strikes.SUBMIT, Strikes.CANCEL)
_AWS = (Strikes.STORE_READ, Strikes.STORE_WRITE, Strikes.SEND, Strikes.SECRET)
_SIMULATED = (*_BROKER, Strikes.STORE_READ, Strikes.STORE_WRITE, Strikes.SEND)
_REQUESTS = (*_BROKER, *_AWS, Strikes.POST)


class FaultKind(StrEnum):
    """A kind of fault."""

    strikes: frozenset[Strikes]
    """What it can strike."""
    happens: str
    """What happens, in one sentence."""

    def __new__(cls, value: str, strikes: tuple[Strikes, ...], happens: str) -> Self:
        """Make a kind of its name, of what it can strike, and of what happens."""
        kind = str.__new__(cls, value)
        kind._value_ = value
        kind.strikes = frozenset(strikes)
        kind.happens = happens
        return kind

    # A process dies ------------------------------------------------------------------------

    CRASH_BEFORE = "crash_before", _SIMULATED, "The process dies before its request leaves."
    CRASH_AFTER = (
        "crash_after",
        _SIMULATED,
        "The process dies after its request took effect, and never sees the answer.",
    )

    # A request meets trouble on its way ----------------------------------------------------

    READ_LOST = (
        "read_lost",
        (Strikes.READ, Strikes.POSITIONS),
        "No answer comes, the adapter's own repeats included.",
    )
    SLOW = "slow", _REQUESTS, "The answer takes seconds."
    SERVER_ERROR = "5xx", _REQUESTS, "A server error answers, before or after the effect."
    RATE_LIMITED = "429", (*_BROKER, Strikes.POST), "Too many requests: nothing takes effect."
    THROTTLED = "throttled", _AWS, "AWS throttles the request: nothing takes effect."
    RESET = "reset", _REQUESTS, "The connection is reset, before or after the effect."
    EMPTY_ANSWER = "empty", _BROKER, "The answer has an empty body, before or after the effect."
    TRUNCATED_ANSWER = (
        "truncated",
        _BROKER,
        "The answer's body ends in the middle, before or after the effect.",
    )
    OUTAGE = "outage", _REQUESTS, "A server answers next to no request for some minutes."

    # An order is sent ----------------------------------------------------------------------

    SUBMIT_LOST = "submit_lost", (Strikes.SUBMIT,), "The order never arrives; no answer comes."
    SUBMIT_ANSWER_LOST = (
        "submit_answer_lost",
        (Strikes.SUBMIT,),
        "The broker takes the order; its answer is lost.",
    )
    SUBMIT_REPEATED = (
        "submit_repeated",
        (Strikes.SUBMIT,),
        "The order arrives twice; the second answer, a refusal, is the one that comes back.",
    )
    SUBMIT_LATE = (
        "submit_late",
        (Strikes.SUBMIT,),
        "The order arrives later; no answer comes.",
    )
    SUBMIT_HIDDEN = (
        "submit_hidden",
        (Strikes.SUBMIT, Strikes.ORDER),
        "The broker takes the order; for a while no request shows it.",
    )
    REFUSED_BUYING_POWER = (
        "refused_buying_power",
        (Strikes.SUBMIT,),
        "The broker refuses the order: too little buying power.",
    )
    REFUSED_WASH_TRADE = (
        "refused_wash_trade",
        (Strikes.SUBMIT,),
        "The broker refuses the order: it could trade with an own order.",
    )
    REFUSED_QUANTITY = (
        "refused_quantity",
        (Strikes.SUBMIT,),
        "The broker refuses the order: not that many shares are free.",
    )
    REFUSED_SUSPENDED = (
        "refused_suspended",
        (Strikes.SUBMIT,),
        "The broker refuses the order: trading is suspended.",
    )
    REFUSED_SUB_PENNY = (
        "refused_sub_penny",
        (Strikes.SUBMIT,),
        "The broker refuses the order: its price is between two ticks.",
    )
    REFUSED_RATE_LIMIT = (
        "refused_rate_limit",
        (Strikes.SUBMIT,),
        "The broker refuses the order: too many requests.",
    )
    REFUSED_KEYS = "refused_keys", (Strikes.SUBMIT,), "The broker refuses the keys."
    REFUSED_NOT_TRADABLE = (
        "refused_not_tradable",
        (Strikes.SUBMIT,),
        "The broker refuses the order: the symbol cannot be traded at present.",
    )
    REJECTED_LATER = (
        "rejected_later",
        (Strikes.SUBMIT, Strikes.ORDER),
        "The broker takes the order and rejects it some seconds later.",
    )

    # An order is canceled ------------------------------------------------------------------

    CANCEL_LOST = "cancel_lost", (Strikes.CANCEL,), "The cancel never arrives; no answer comes."
    CANCEL_ANSWER_LOST = (
        "cancel_answer_lost",
        (Strikes.CANCEL,),
        "The cancel takes effect; its answer is lost.",
    )
    CANCEL_LOSES_TO_FILL = (
        "cancel_loses_to_fill",
        (Strikes.CANCEL,),
        "The order fills before the cancel takes effect.",
    )
    CANCEL_AFTER_PARTIAL_FILL = (
        "cancel_after_partial_fill",
        (Strikes.CANCEL,),
        "A part of the order fills before the cancel takes effect.",
    )
    CANCEL_STUCK = (
        "cancel_stuck",
        (Strikes.CANCEL,),
        "The order stays pending_cancel for minutes, or until the faults end.",
    )
    CANCEL_LATE = (
        "cancel_late",
        (Strikes.CANCEL,),
        "The order stays pending_cancel for up to a minute and a half.",
    )

    # Positions, tables, messages -----------------------------------------------------------

    POSITIONS_STALE = (
        "positions_stale",
        (Strikes.POSITIONS,),
        "The positions are those of some seconds before.",
    )
    STORE_THROTTLED = (
        "store_throttled",
        (Strikes.STORE_READ, Strikes.STORE_WRITE),
        "The table throttles the request: nothing takes effect.",
    )
    WRITE_UNREPORTED = (
        "write_unreported",
        (Strikes.STORE_WRITE,),
        "The write takes effect; its writer is told that it failed.",
    )
    WRITE_REPEATED = (
        "write_repeated",
        (Strikes.STORE_WRITE,),
        "The answer is lost and the SDK writes again, against its own first write.",
    )
    MESSAGE_LOST = "message_lost", (Strikes.SEND,), "The message never arrives."
    MESSAGE_TWICE = "message_twice", (Strikes.SEND,), "The message arrives twice."
    MESSAGE_LATE = "message_late", (Strikes.SEND,), "The message arrives later than asked for."

    # Without a request: bars, fills, events, ticks -----------------------------------------

    BAR_MISSING = "bar_missing", (Strikes.BAR,), "The minute has no bar."
    BAR_LATE = "bar_late", (Strikes.BAR,), "The bar appears up to 100 seconds later."
    BAR_REVISED = "bar_revised", (Strikes.BAR,), "The bar's prices change half a minute later."
    BAR_BROKEN = "bar_broken", (Strikes.BAR,), "The bar's prices make no sense."
    PARTIAL_FILL = "partial_fill", (Strikes.ORDER,), "The order fills in parts, or in part only."
    FILL_DELAYED = "fill_delayed", (Strikes.ORDER,), "A market order fills after 5 to 150 s."
    EVENT_LOST = "event_lost", (Strikes.EVENT,), "The event is lost."
    EVENT_TWICE = "event_twice", (Strikes.EVENT,), "The event comes twice."
    EVENT_DELAYED = "event_delayed", (Strikes.EVENT,), "The event comes later."
    EVENT_OUT_OF_ORDER = (
        "event_out_of_order",
        (Strikes.EVENT,),
        "The event comes after the one that follows it.",
    )
    EVENT_STREAM_CLOSED = (
        "event_stream_closed",
        (Strikes.EVENT,),
        "The broker closes the stream after the event.",
    )
    TICK_LOST = "tick_lost", (Strikes.TICK,), "The tick is never started."
    TICK_LATE = "tick_late", (Strikes.TICK,), "The tick starts 5 to 75 seconds later."
    TICK_TWICE = "tick_twice", (Strikes.TICK,), "The tick is started twice."
    TICK_REDELIVERED = (
        "tick_redelivered",
        (Strikes.TICK,),
        "The tick is started again minutes after its own minute.",
    )
    TICKS_END = "ticks_end", (Strikes.MINUTE,), "No tick is started any more on this day."
    COLD_START = "cold_start", (Strikes.INVOCATION,), "The warm processes of the function are gone."

    # Without a request: people and the account ---------------------------------------------

    ROW_PAUSED = "row_paused", (Strikes.MINUTE,), "The symbol's row is disabled for a while."
    ROW_REMOVED = "row_removed", (Strikes.MINUTE,), "The symbol's row is gone for a while."
    ROW_BROKEN = "row_broken", (Strikes.MINUTE,), "The symbol's row makes no sense for a while."
    ACCOUNT_HALTED = "account_halted", (Strikes.MINUTE,), "The account's entries are halted."
    CANCELED_BY_HAND = (
        "canceled_by_hand",
        (Strikes.MINUTE, Strikes.ORDER),
        "A person cancels an order of this system.",
    )
    SOLD_BY_HAND = (
        "sold_by_hand",
        (Strikes.MINUTE, Strikes.ORDER),
        "A person sells shares that this system bought.",
    )
    REPLACED = (
        "replaced",
        (Strikes.MINUTE, Strikes.ORDER),
        "The broker puts another order in the place of one of this system.",
    )
    EXTERNAL_ORDERS = (
        "external_orders",
        (Strikes.MINUTE,),
        "A person buys shares of the symbol, and offers a part of them or keeps all.",
    )
    ACCOUNT_BLOCKED = "account_blocked", (Strikes.MINUTE,), "The broker blocks the account."

    # Without a request: what is down or lost -----------------------------------------------

    BROKER_DOWN = "broker_down", (Strikes.MINUTE,), "The broker answers no request for minutes."
    STORE_DOWN = "store_down", (Strikes.MINUTE,), "The tables answer no request for minutes."
    ITEM_LOST = "item_lost", (Strikes.MINUTE,), "A symbol's state is gone from the table."
    TABLE_EMPTIED = "table_emptied", (Strikes.MINUTE,), "Every state is gone from the table."
    ITEM_UNREADABLE = (
        "item_unreadable",
        (Strikes.MINUTE,),
        "A symbol's state cannot be read for a while.",
    )
    POSITIONS_LAG = "positions_lag", (Strikes.DAY,), "All day long positions are ten seconds old."
    RELAY_DEAD = "relay_dead", (Strikes.MINUTE,), "No relay runs for a while."
    CLOCK_SKEWED = "clock_skewed", (Strikes.MINUTE,), "The functions' clock is up to 5 s off."
    DEPLOYED = "deployed", (Strikes.MINUTE,), "Another version of the program takes over."


REFUSALS = tuple(kind for kind in FaultKind if kind.startswith("refused_"))
"""The kinds by which the broker refuses an order with a definite answer."""
