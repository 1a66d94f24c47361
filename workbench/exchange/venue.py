"""The exchange without its web: a clock of its own, the bars, and one account's ledger.

The clock only moves forward and works through every whole minute on the way, in order. At T it
matches the bars of [T-60 s, T), symbols in sorted order. At a session's close, open market orders
fill at the symbol's last close of the session; then day orders expire. The venue hands each
`Update` to `tell` before anything else happens.

Every fill of the exchange is made in `Venue._fill`. Its quantity comes from the fill policy.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from scalper.core.pricing import Money
from scalper.core.session import MINUTE, Session, new_york_day
from workbench.exchange import refusals
from workbench.exchange.fill_policy import FillPolicy, WholeFills
from workbench.exchange.ledger import OrderLedger, Ticket, Update, VenueOrder
from workbench.exchange.tape import LAST_YEAR, Hours, Tape
from workbench.market.matching import market_at_close, match, works_on
from workbench.market.model import Market

MAX_ADVANCE = timedelta(days=4000)
"""The longest single step of the clock; a date further off is a typing mistake."""


END_OF_TIME = datetime(LAST_YEAR, 1, 1, tzinfo=UTC)
"""The clock stops a year before the calendar does, so that there is always a next session."""


class Venue:
    """The whole exchange for one account, synchronous and deterministic."""

    def __init__(
        self,
        market: Market,
        *,
        cash: Money | None = None,
        start: datetime | None = None,
        fill_policy: FillPolicy | None = None,
    ) -> None:
        """Open at `start` (aware), else at the first session's open.

        Without a `fill_policy` every order fills whole. Raises ValueError if the market has no
        day or `start` has no offset.
        """
        if not market.days:
            raise ValueError("a market without a single day")
        if start is not None and start.tzinfo is None:
            raise ValueError("the start has no UTC offset")
        self.market = market
        self.tape = Tape(market)
        self.hours = Hours(self.tape.days)
        self.ledger = OrderLedger(cash)
        self.fill_policy: FillPolicy = fill_policy or WholeFills()
        self.now = start.astimezone(UTC) if start else market.days[0].session.open
        self.tell: Callable[[Update], None] = _ignore
        self.last_equity = self.ledger.cash
        self._told_price: dict[str, tuple[datetime, Money]] = {}

    # Orders --------------------------------------------------------------------------------

    def submit(self, ticket: Ticket) -> VenueOrder:
        """Take an order on or raise a refusal; returns it as it was answered, never filled.

        Inside a session it works at once; outside, Alpaca accepts a day order and it works in
        the next session (status `accepted` until the open).
        """
        if not self.tape.knows(ticket.symbol):
            raise refusals.unknown_asset(ticket.symbol)
        session = self.hours.closing_after(self.now)
        open_now = session.holds(self.now)
        order = self.ledger.submit(
            ticket,
            now=self.now,
            expires_at=session.close,
            status="pending_new" if open_now else "accepted",
            last_trade=self.last_trade(ticket.symbol),
        )
        if open_now:
            self._tell(self.ledger.accept(order, self.now))
        return order

    def cancel(self, order_id: str) -> None:
        """Cancel an open order, or raise a refusal: 422 if the policy fills all of it first."""
        order = self.ledger.order(order_id)
        qty = self.fill_policy.qty_before_cancel(order) if order.is_open else 0
        price = order.limit or self.last_trade(order.symbol)
        if qty and price is not None:
            self._fill(order, price, qty)
        self._tell(self.ledger.cancel(order_id, self.now))

    # Prices --------------------------------------------------------------------------------

    def last_trade(self, symbol: str) -> Money | None:
        """Return the newest price: a fill told at this very time, else the last ended close."""
        told = self._told_price.get(symbol)
        if told is not None and told[0] == self.now:
            return told[1]
        bar = self.tape.latest(symbol, now=self.now)
        return bar.close if bar else None

    def equity(self) -> Money:
        """Return cash and shares at their last trades."""
        return self.ledger.cash + sum(
            position.qty * (self.last_trade(position.symbol) or 0)
            for position in self.ledger.positions.values()
        )

    # Time ----------------------------------------------------------------------------------

    def advance(self, to: datetime) -> None:
        """Move the clock to `to` (aware UTC), working through every minute on the way.

        Raises ValueError if that is backwards or further than `MAX_ADVANCE`.
        """
        if to < self.now:
            raise ValueError("the clock does not move backwards")
        if to - self.now > MAX_ADVANCE:
            raise ValueError(f"the clock moves at most {MAX_ADVANCE.days} days at once")
        if to > END_OF_TIME:
            raise ValueError(f"the calendar ends in {END_OF_TIME.year}")
        for session in self.hours.on(new_york_day(self.now), new_york_day(to)):
            for minute in self._minutes(session, to):
                self.now = minute
                self._work_through(session)
        self.now = to

    def _minutes(self, session: Session, to: datetime) -> list[datetime]:
        """Return the session's whole minutes after now, up to `to`: all that can happen is there.

        A day without bars only opens and closes.
        """
        if session.day not in self.tape.days:
            return [at for at in (session.open, session.close) if self.now < at <= to]
        first = max(0, (self.now - session.open) // MINUTE + 1)
        last = (min(to, session.close) - session.open) // MINUTE
        return [session.open + n * MINUTE for n in range(first, last + 1)]

    def _work_through(self, session: Session) -> None:
        for symbol in self.ledger.open_symbols():
            for order in self.ledger.open_orders(symbol):
                if order.status == "accepted":
                    self._tell(self.ledger.accept(order, self.now))
                elif session.holds(self.now - MINUTE):
                    self._match(order)
        if self.now == session.close:
            self._close(session)

    def _match(self, order: VenueOrder) -> None:
        bar = self.tape.bar(order.symbol, self.now - MINUTE)
        if bar is None or not works_on(order.submitted_at, bar):
            return
        price = match(order.side, order.limit, bar)
        if price is not None:
            self._fill(order, price, self.fill_policy.qty_at_price(order))

    def _close(self, session: Session) -> None:
        """End the session: leftover market orders at the last close, then day orders expire."""
        day = self.tape.days.get(session.day)
        for order in self.ledger.open_orders():
            last = self.tape.last_of_session(order.symbol, day) if day else None
            if order.limit is None and last is not None:
                self._fill(order, market_at_close(last), self.fill_policy.qty_at_price(order))
        for order in self.ledger.open_orders():
            self._tell(self.ledger.expire(order, self.now))
        self.last_equity = self.equity()

    def _fill(self, order: VenueOrder, price: Money, qty: int) -> None:
        self._told_price[order.symbol] = (self.now, price)
        self._tell(self.ledger.fill(order, price=price, qty=qty, at=self.now))

    def _tell(self, update: Update) -> None:
        self.tell(update)


def _ignore(_: Update) -> None:
    """Tell nobody."""
