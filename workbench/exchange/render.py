"""The exchange's records as Alpaca's JSON objects; field names and types follow its OpenAPI.

The documents checked against are alpaca-trading-api.json and alpaca-market-data-api.json.
"""

from datetime import datetime
from functools import lru_cache

from scalper.core.pricing import Money
from scalper.core.session import Session, new_york_day, new_york_text
from scalper.core.signal import Bar
from workbench.exchange.ledger import Update, VenueOrder, VenuePosition, named_uuid
from workbench.exchange.tape import trades_estimate, typical_price
from workbench.exchange.venue import Venue
from workbench.exchange.wire import dollars, new_york, number, quotient, ratio, stamp, stamp_ns

Json = dict[str, object]

ACCOUNT_NUMBER = "PA0SCALPER00"
EXCHANGE_CODE = "V"
"""Alpaca's letter for IEX: every simulated trade and quote carries it."""


def _stamp(at: datetime | None) -> str | None:
    return stamp(at) if at else None


def order(record: VenueOrder, *, status: str | None = None) -> Json:
    """Return an order; `status` overrides its own if it is answered as it was taken on."""
    kind = "market" if record.limit is None else "limit"
    submitted = stamp_ns(record.submitted_ns)
    average = quotient(record.filled_cost, record.filled_qty) if record.filled_qty else None
    return {
        "id": record.id,
        "client_order_id": record.client_order_id,
        "created_at": submitted,
        "updated_at": submitted
        if record.updated_at == record.submitted_at
        else stamp(record.updated_at),
        "submitted_at": submitted,
        "filled_at": _stamp(record.filled_at),
        "expired_at": _stamp(record.expired_at),
        "expires_at": stamp(record.expires_at),
        "canceled_at": _stamp(record.canceled_at),
        "failed_at": _stamp(record.failed_at),
        "replaced_at": None,
        "replaced_by": None,
        "replaces": None,
        "asset_id": str(named_uuid("asset", record.symbol)),
        "symbol": record.symbol,
        "asset_class": "us_equity",
        "notional": None,
        "qty": str(record.qty),
        "filled_qty": str(record.filled_qty),
        "filled_avg_price": average,
        "order_class": "",
        "order_type": kind,
        "type": kind,
        "side": record.side,
        "position_intent": "buy_to_open" if record.side == "buy" else "sell_to_close",
        "time_in_force": "day",
        "limit_price": None if record.limit is None else dollars(record.limit),
        "stop_price": None,
        "status": status or record.status,
        "extended_hours": False,
        "legs": None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
    }


def trade_update(update: Update) -> Json:
    """Return the websocket message of an update, its envelope included."""
    told: Json = {
        "event": update.event,
        "event_id": f"{update.number:026d}",
        "execution_id": str(named_uuid("execution", update.number)),
        "timestamp": stamp(update.at),
        "order": order(update.order),
    }
    if update.price is not None:
        told["price"] = dollars(update.price)
        told["qty"] = str(update.qty)
        told["position_qty"] = str(update.position_qty)
    return {"stream": "trade_updates", "data": told}


def fill_id(update: Update) -> str:
    """Return the activity id of a fill; ids sort like their times."""
    at = update.at.strftime("%Y%m%d%H%M%S") + f"{update.at.microsecond // 1000:03d}"
    return f"{at}::{named_uuid('execution', update.number)}"


def fill(update: Update) -> Json:
    """Return a fill as an account activity."""
    record = update.order
    return {
        "id": fill_id(update),
        "activity_type": "FILL",
        "transaction_time": stamp(update.at),
        "type": update.event,
        "price": dollars(update.price or 0),
        "qty": str(update.qty),
        "side": record.side,
        "symbol": record.symbol,
        "leaves_qty": str(record.remaining),
        "order_id": record.id,
        "cum_qty": str(record.filled_qty),
        "order_status": record.status,
    }


def position(venue: Venue, held: VenuePosition) -> Json:
    """Return a position at the symbol's last trade."""
    symbol = held.symbol
    current = venue.last_trade(symbol) or 0
    value = held.qty * current
    before = venue.tape.day_before(new_york_day(venue.now))
    last = venue.tape.last_of_session(symbol, before) if before else None
    lastday = last.close if last else current
    return {
        "asset_id": str(named_uuid("asset", symbol)),
        "symbol": symbol,
        "exchange": "NASDAQ",
        "asset_class": "us_equity",
        "asset_marginable": False,
        "qty": str(held.qty),
        "qty_available": str(held.qty - venue.ledger.held(symbol)),
        "side": "long",
        "avg_entry_price": quotient(held.cost, held.qty),
        "cost_basis": dollars(held.cost),
        "market_value": dollars(value),
        "current_price": dollars(current),
        "lastday_price": dollars(lastday),
        "change_today": ratio(current - lastday, lastday),
        "unrealized_pl": dollars(value - held.cost),
        "unrealized_plpc": ratio(value - held.cost, held.cost),
        "unrealized_intraday_pl": dollars(value - held.cost),
        "unrealized_intraday_plpc": ratio(value - held.cost, held.cost),
    }


def account(venue: Venue) -> Json:
    """Return the account: cash only, no margin, active."""
    ledger = venue.ledger
    equity = venue.equity()
    free = dollars(ledger.buying_power())
    return {
        "id": str(named_uuid("account", ACCOUNT_NUMBER)),
        "account_number": ACCOUNT_NUMBER,
        "status": "ACTIVE",
        "crypto_status": "INACTIVE",
        "currency": "USD",
        "cash": dollars(ledger.cash),
        "buying_power": free,
        "regt_buying_power": free,
        "daytrading_buying_power": "0",
        "non_marginable_buying_power": free,
        "options_buying_power": "0",
        "options_approved_level": 0,
        "options_trading_level": 0,
        "portfolio_value": dollars(equity),
        "equity": dollars(equity),
        "last_equity": dollars(venue.last_equity),
        "long_market_value": dollars(equity - ledger.cash),
        "short_market_value": "0",
        "initial_margin": dollars(equity - ledger.cash),
        "maintenance_margin": "0",
        "last_maintenance_margin": "0",
        "accrued_fees": "0",
        "sma": "0",
        "multiplier": "1",
        "shorting_enabled": False,
        "pattern_day_trader": False,
        "daytrade_count": 0,
        "trading_blocked": False,
        "transfers_blocked": False,
        "account_blocked": False,
        "trade_suspended_by_user": ledger.suspend_trade,
        "created_at": stamp(venue.market.days[0].session.open),
    }


def configurations(venue: Venue) -> Json:
    """Return the account's settings, of which `suspend_trade` and `no_shorting` can be changed."""
    return {
        "dtbp_check": "entry",
        "fractional_trading": False,
        "max_margin_multiplier": "1",
        "max_options_trading_level": 0,
        "no_shorting": venue.ledger.no_shorting,
        "pdt_check": "entry",
        "ptp_no_exception_entry": False,
        "suspend_trade": venue.ledger.suspend_trade,
        "trade_confirm_email": "none",
    }


def asset(symbol: str) -> Json:
    """Return a symbol of the market as a tradable asset."""
    return {
        "id": str(named_uuid("asset", symbol)),
        "class": "us_equity",
        "exchange": "NASDAQ",
        "symbol": symbol,
        "name": f"{symbol} (simulated)",
        "status": "active",
        "tradable": True,
        "marginable": False,
        "shortable": False,
        "easy_to_borrow": False,
        "borrow_status": "hard_to_borrow",
        "fractionable": False,
        "maintenance_margin_requirement": 100,
        "margin_requirement_long": "100",
        "margin_requirement_short": "100",
        "attributes": [],
    }


def clock(venue: Venue) -> Json:
    """Return the exchange's time and what opens and closes next, with New York offsets."""
    now = venue.now
    return {
        "timestamp": new_york(now),
        "is_open": venue.hours.at(now) is not None,
        "next_open": new_york(venue.hours.opening_after(now).open),
        "next_close": new_york(venue.hours.closing_after(now).close),
    }


def calendar_day(session: Session, following: Session) -> Json:
    """Return a session of the calendar; trades settle in the one that follows."""
    return {
        "date": session.day.isoformat(),
        "open": new_york_text(session.open),
        "close": new_york_text(session.close),
        "session_open": "0400",
        "session_close": "2000",
        "settlement_date": following.day.isoformat(),
    }


@lru_cache(maxsize=100_000)
def bar(record: Bar) -> Json:
    """Return a bar of the market-data API; count and average price are stand-ins.

    The same object is returned for the same bar, which is asked for many times: do not change it.
    """
    return {
        "t": stamp(record.start),
        "o": number(record.open),
        "h": number(record.high),
        "l": number(record.low),
        "c": number(record.close),
        "v": record.volume,
        "n": trades_estimate(record),
        "vw": number(typical_price(record)),
    }


def trade(price: Money, at: datetime) -> Json:
    """Return the latest trade."""
    number_of_trade = int(at.timestamp())
    return {
        "t": stamp(at),
        "x": EXCHANGE_CODE,
        "p": number(price),
        "s": 100,
        "c": ["@"],
        "i": number_of_trade,
        "z": "C",
    }


def quote(price: Money, at: datetime) -> Json:
    """Return the latest quote: bars know no spread, so bid and ask are the last trade."""
    return {
        "t": stamp(at),
        "bx": EXCHANGE_CODE,
        "bp": number(price),
        "bs": 100,
        "ax": EXCHANGE_CODE,
        "ap": number(price),
        "as": 100,
        "c": ["R"],
        "z": "C",
    }
