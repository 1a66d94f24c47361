"""The trading API's account, its settings and activities, the clock, the calendar, the assets."""

from datetime import date

from scalper.core.session import new_york_day
from workbench.exchange import refusals, render
from workbench.exchange.calls import Answer, Call, Endpoint, asked_symbol
from workbench.exchange.tape import FIRST_YEAR, LAST_YEAR
from workbench.exchange.venue import Venue
from workbench.exchange.wire import nanoseconds

ACTIVITIES_MOST = 100
CALENDAR_TO = 2029
"""The year in which Alpaca's calendar ends if no end is asked for."""


def get_account(venue: Venue, _: Call) -> Answer:
    """Return the account."""
    return Answer(render.account(venue))


def get_configurations(venue: Venue, _: Call) -> Answer:
    """Return the account's settings."""
    return Answer(render.configurations(venue))


def patch_configurations(venue: Venue, call: Call) -> Answer:
    """Change `no_shorting` or `suspend_trade`; a value that differs elsewhere is refused."""
    asked = call.fields()
    current = render.configurations(venue)
    for name, value in asked.items():
        if name in ("no_shorting", "suspend_trade"):
            if not isinstance(value, bool):
                raise refusals.bad_field(f"invalid {name}")
        elif value is not None and value != current.get(name):
            raise refusals.unsupported(f"changing {name} is")
    venue.ledger.no_shorting = bool(asked.get("no_shorting", venue.ledger.no_shorting))
    venue.ledger.suspend_trade = bool(asked.get("suspend_trade", venue.ledger.suspend_trade))
    return Answer(render.configurations(venue))


def get_clock(venue: Venue, _: Call) -> Answer:
    """Return the exchange's clock."""
    return Answer(render.clock(venue))


def get_calendar(venue: Venue, call: Call) -> Answer:
    """List sessions from `start` to `end`, both included."""
    first = max(call.day("start", date(FIRST_YEAR, 1, 1)), date(FIRST_YEAR, 1, 1))
    last = min(call.day("end", date(CALENDAR_TO, 12, 31)), date(LAST_YEAR, 12, 31))
    sessions = venue.hours.on(first, last)
    return Answer([render.calendar_day(day, venue.hours.after(day)) for day in sessions])


def get_assets(venue: Venue, call: Call) -> Answer:
    """List the symbols of the market; all are active US equities."""
    if call.query.get("status", "active") not in ("active", "all", ""):
        return Answer([])
    if call.query.get("asset_class", "us_equity") not in ("us_equity", "all", ""):
        return Answer([])
    return Answer([render.asset(symbol) for symbol in venue.tape.symbols])


def get_asset(venue: Venue, call: Call) -> Answer:
    """Return one asset by symbol or id."""
    symbol = asked_symbol(venue, call)
    if not venue.tape.knows(symbol):
        raise refusals.no_asset(symbol)
    return Answer(render.asset(symbol))


# Activities --------------------------------------------------------------------------------


def get_activities(venue: Venue, call: Call) -> Answer:
    """List account activities; this account has none but fills."""
    kinds = {kind for kind in call.query.get("activity_types", "").split(",") if kind}
    if kinds and "FILL" not in kinds:
        return Answer([])
    if call.query.get("category") == "non_trade_activity":
        return Answer([])
    return _fills(venue, call)


def get_activities_of_type(venue: Venue, call: Call) -> Answer:
    """List the activities of one type."""
    return _fills(venue, call) if call.path["activity_type"] == "FILL" else Answer([])


def _fills(venue: Venue, call: Call) -> Answer:
    """List fills, newest first; `page_token` is the id of the last one seen."""
    size = call.whole("page_size", ACTIVITIES_MOST, ACTIVITIES_MOST)
    after, until = call.time_ns("after"), call.time_ns("until")
    day = call.day("date", date.min)
    chosen = [
        update
        for update in venue.ledger.fills
        if (after is None or nanoseconds(update.at) > after)
        and (until is None or nanoseconds(update.at) < until)
        and day in (date.min, new_york_day(update.at))
    ]
    if call.choice("direction", ("desc", "asc")) == "desc":
        chosen.reverse()
    token = call.query.get("page_token")
    if token:
        ids = [render.fill_id(update) for update in chosen]
        if token not in ids:
            raise refusals.bad_field("invalid page_token")
        chosen = chosen[ids.index(token) + 1 :]
    return Answer([render.fill(update) for update in chosen[:size]])


ENDPOINTS = (
    Endpoint("GET", "/v2/clock", get_clock),
    Endpoint("GET", "/v2/calendar", get_calendar),
    Endpoint("GET", "/v2/account", get_account),
    Endpoint("GET", "/v2/account/configurations", get_configurations),
    Endpoint("PATCH", "/v2/account/configurations", patch_configurations),
    Endpoint("GET", "/v2/account/activities", get_activities),
    Endpoint("GET", "/v2/account/activities/{activity_type}", get_activities_of_type),
    Endpoint("GET", "/v2/assets", get_assets),
    Endpoint("GET", "/v2/assets/{symbol}", get_asset),
)
