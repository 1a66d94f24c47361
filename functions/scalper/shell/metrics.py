"""Every metric that the functions send: its name, its unit and what it tells the owner.

docs/metrics.md is generated from this enum. An alarm or the dashboard names each member.
"""

from enum import StrEnum
from typing import Self

from aws_lambda_powertools.metrics import MetricUnit


class Metric(StrEnum):
    """A metric in the namespace `scalper`; its text is its name in CloudWatch.

    Each member says when it is counted, and what that means to the owner.
    """

    unit: MetricUnit

    def __new__(cls, name: str, unit: MetricUnit = MetricUnit.Count) -> Self:
        """Make a member from its name and the unit of all its values."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.unit = unit
        return member

    # Is it alive?
    HEARTBEAT = "Heartbeat"
    """Each run of `tick`. While the market is open, minutes without one mean that nothing is
    entered."""
    RELAY_HEARTBEAT = "RelayHeartbeat"
    """Every 30 s while the relay is connected to the broker's stream. Without it, fills are
    found by the checkup, half a minute late."""
    RELAY_CONNECTS = "RelayConnects"
    """Each time the relay connected. Some in a day are normal: a run lasts a quarter of an hour."""
    RELAY_TAKEOVERS = "RelayTakeovers"
    """A relay took the lease of another that had not given it back: the other run was killed."""

    # Is it flat?
    NOT_FLAT = "NotFlat"
    """1 if, after the close, a share or an open order of ours is left, else 0. From a minute before
    the close the liquidation counts 1 as well. It costs money overnight: act at once."""

    # What did it earn?
    PNL_USD = "PnlUsd", MetricUnit.NoUnit
    """Once after the close: the day's result in dollars, before fees."""
    TRADES = "Trades"
    """Once after the close: sells of the day that filled, in full or in part."""
    PNL_MISMATCH = "PnlMismatch"
    """After the close: 1 if the orders and the broker's fills disagree by a cent or more for a
    symbol, else 0. Usually a fill was taken back, or somebody traded by hand."""

    # How fast?
    START_LAG = "StartLag", MetricUnit.Seconds
    """Each tick that claimed its minute: from the minute to the start. From 45 s on the tick enters
    nothing. Not counted with `CLOCK=broker`."""
    BAR_AGE = "BarAge", MetricUnit.Seconds
    """Each tick that decides: the time since the end of the newest bar of the symbol with the
    oldest newest bar. A halted or thinly traded stock makes it grow."""
    TICK_MS = "TickMs", MetricUnit.Milliseconds
    """Each tick that sent an order: from its start to the answer to its last order."""

    # Orders
    UNKNOWN_ORDERS = "UnknownOrders"
    """Each tick that claimed its minute: orders without an answer for over 60 s, and orders given
    up. Their symbols enter nothing."""
    UNKNOWN_OUTCOMES = "UnknownOutcomes"
    """A request for an order had no readable answer. The order is asked for later, and is not sent
    under another id."""
    UNKNOWN_STATUSES = "UnknownStatuses"
    """An order has a status that this version does not know. The order counts as open."""
    ORDERS_REFUSED = "OrdersRefused"
    """The broker refused an order. The log line `order refused` says why."""
    ENTRIES_BLOCKED = "EntriesBlocked"
    """A signal came, and the symbol could not enter, because of an external order or position, an
    order in doubt, or an answer that the broker did not give."""
    SYMBOLS_HALTED = "SymbolsHalted"
    """A symbol met what should not happen. It enters nothing for the rest of the day, until a
    person has looked; its exits go on."""

    # The broker
    BROKER_ERRORS = "BrokerErrors"
    """A request to the broker failed as a whole. The next tick or checkup tries again."""
    KEYS_REFUSED = "KeysRefused"
    """The broker refuses the keys. Nothing is traded until the secret has valid ones."""
    WRONG_ACCOUNT = "WrongAccount"
    """Each request held back because the keys open another account than `LIVE_ACCOUNT_NUMBER`, or
    because no number is set. Nothing is traded."""
    ACCOUNT_BLOCKED = "AccountBlocked"
    """A tick found that the broker takes no orders of the account. Nothing is entered, and exits
    may be refused."""
    CLOCK_SKEW = "ClockSkew"
    """A tick found more than 2 s between the broker's clock and its own. It enters nothing."""
    EXTERNAL_ORDERS_UNREADABLE = "ExternalOrdersUnreadable"
    """An external order in the broker's list could not be read, such as one of several legs. It is
    left out."""

    # Symbols, bars and signals
    SYMBOL_FAILURES = "SymbolFailures"
    """The work on one symbol failed. The other symbols go on; the log line `symbol failed` says
    why."""
    SYMBOLS_REFUSED = "SymbolsRefused"
    """Each tick: invalid rows of the symbols table. These symbols enter nothing."""
    SIGNALS_FAILED = "SignalsFailed"
    """A signal function raised an error. Its symbol enters nothing in this minute."""
    BARS_REFUSED = "BarsRefused"
    """The broker sent an invalid bar. It is left out."""

    # Tables, queues and mail
    STORE_ERRORS = "StoreErrors"
    """A request to a table failed. Nothing is sent that could not be stored first."""
    CONFLICTS = "Conflicts"
    """Two invocations wrote a symbol's state at the same time. The second one read it again and
    decided again. A few in a day are normal."""
    STATES_RECOVERED = "StatesRecovered"
    """A symbol's state was missing, and was rebuilt from the broker's orders of the day."""
    STATES_UNREADABLE = "StatesUnreadable"
    """A symbol's item in the state table cannot be read. The symbol stands still."""
    LIQUIDATED_WITHOUT_TABLE = "LiquidatedWithoutTable"
    """A symbol was liquidated from the broker's orders, because the state table did not answer."""
    QUEUE_ERRORS = "QueueErrors"
    """A message to a queue was not taken. A checkup or a tick comes later than planned."""
    NOTIFY_ERRORS = "NotifyErrors"
    """The day's summary could not be sent. It stands in the log and in the state table."""

    # Webhook and relay
    WEBHOOK_REFUSED = "WebhookRefused"
    """The webhook refused a delivery: no good signature, too large, or no trade update. Many mean
    strangers, or a relay that signs with another key."""
    WEBHOOK_ERRORS = "WebhookErrors"
    """The webhook could not act on a delivery and answered 503. The checkup finds what it said."""
    WEBHOOK_OTHER_ACCOUNT = "WebhookOtherAccount"
    """An event has a client order id of ours and is of another order: another account uses the
    same ids. It is ignored."""
    RELAY_LOSSES = "RelayLosses"
    """The relay lost the broker's stream or could not connect. It tries again."""
    RELAY_REFUSED = "RelayRefused"
    """The webhook refused what the relay posted. The keys differ, or a clock is wrong."""
    RELAY_LOST = "RelayLost"
    """The webhook took a message in none of the relay's attempts. The checkup finds what it
    said."""
