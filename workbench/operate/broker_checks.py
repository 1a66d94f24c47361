"""The doctor's checks of the broker: keys, account, shorting, data feed, clock, symbols."""

import time
from collections.abc import Iterable
from datetime import timedelta

from scalper.shell.alpaca.broker import ACCOUNT_BLOCKS
from scalper.shell.errors import RefusedError
from scalper.shell.trading.tick import SKEW_LIMIT
from workbench.operate.findings import Finding, fail, ok, warn
from workbench.operate.subject import Subject

SKEW_SHOWN = timedelta(seconds=1)

REQUESTED_SINGLY = 20
"""Up to so many symbols are requested one by one; more come from the list of all assets."""

ANY_SYMBOL = "SPY"

NAMED = 10
"""A line names at most so many symbols."""


def check_account(subject: Subject) -> Iterable[Finding]:
    """Check that the keys open an account, and that the stack may trade it."""
    account, mode = subject.account(), subject.settings.mode
    number, status = str(account["account_number"]), str(account["status"])
    yield ok("keys", f"they open the account {number}")
    if mode == "live" and subject.live_account != number:
        named = subject.live_account or "empty"
        yield fail(
            "mode",
            f"live, but LiveAccountNumber is {named} and the keys open {number}: nothing is traded",
            "put that account's keys into the broker's secret, or deploy with its number",
        )
    else:
        whose = "real money" if mode == "live" else "no real money"
        yield ok("mode", f"{mode}: {whose}")
    if status == "ACTIVE":
        yield ok("account", "active")
    else:
        yield fail("account", f"its status is {status}", "see to it on Alpaca's dashboard")
    blocked = [name for name in ACCOUNT_BLOCKS if account.get(name) is True]
    if blocked:
        yield fail(
            "account",
            f"it takes no orders: {', '.join(blocked)}",
            "see to it on Alpaca's dashboard; trade_suspended_by_user is a setting there",
        )


def check_shorting(subject: Subject) -> Iterable[Finding]:
    """Check that the broker itself refuses to sell shares that are not held."""
    configured = subject.configurations()
    if configured["no_shorting"] is True:
        yield ok("no_shorting", "set: the broker refuses to sell short")
    else:
        # A short position of a paper account costs no money.
        report = fail if subject.settings.mode == "live" else warn
        yield report(
            "no_shorting",
            "not set: the broker would sell more than is held",
            "scalper doctor --set-no-shorting; it holds for the whole account",
        )


def check_feed(subject: Subject) -> Iterable[Finding]:
    """Check that the account may read the stack's data feed."""
    feed = subject.settings.feed
    try:
        subject.market_question("/stocks/bars/latest", {"symbols": ANY_SYMBOL, "feed": feed})
    except RefusedError as error:
        if error.status != 403:
            raise
        yield fail(
            "data feed",
            f"the account may not read {feed}: {error.message}",
            "deploy with DataFeed=iex, or subscribe to Algo Trader Plus at Alpaca",
        )
    else:
        yield ok("data feed", f"{feed} may be read")


def check_clock(subject: Subject) -> Iterable[Finding]:
    """Check that this machine's clock agrees with the broker's, give or take the request's time."""
    if subject.settings.clock == "broker":
        yield ok("clock", "decisions use the broker's clock (Clock=broker), for a simulation")
        return
    broker = subject.broker()
    began, before = time.monotonic(), subject.now()
    theirs = broker.clock().now
    took = timedelta(seconds=time.monotonic() - began)
    after = before + took
    # The broker read its clock between the two.
    skew = max(before - theirs, theirs - after, timedelta(0))
    text = f"this machine's clock and the broker's differ by {skew.total_seconds():.1f} s"
    if skew > SKEW_LIMIT:
        limit = f"{SKEW_LIMIT.total_seconds():g} s"
        yield fail("clock", text, f"set this clock by NTP: beyond {limit} the stack enters nothing")
    elif skew > SKEW_SHOWN:
        yield warn("clock", text, "set this clock by NTP")
    else:
        yield ok("clock", text)


def check_symbols(subject: Subject) -> Iterable[Finding]:
    """Check that each row of the symbols table is valid, and that its symbol can be traded."""
    rows, refused = subject.rows()
    for line in refused:
        yield fail("symbols", f"refused: {line}", "correct the row: docs/settings.md")
    if not rows:
        if not refused:
            yield warn("symbols", "the table is empty: nothing is traded", "add an item: README.md")
        return
    paused = [symbol for symbol, row in rows.items() if not row.enabled]
    not_tradable = _not_tradable(subject, list(rows))
    for symbol, why in not_tradable.items():
        yield fail("symbols", f"{symbol}: {why}", "take it off the table")
    if not refused and not not_tradable:
        note = f", of which {len(paused)} paused" if paused else ""
        yield ok("symbols", f"{len(rows)} valid and tradable{note}")


def _not_tradable(subject: Subject, symbols: list[str]) -> dict[str, str]:
    """Return the symbols that cannot be traded, each with the reason.

    (https://docs.alpaca.markets/reference/get-v2-assets-symbol_or_asset_id)
    """
    assets: dict[str, object] = {}
    if len(symbols) <= REQUESTED_SINGLY:
        for symbol in symbols:
            try:
                assets[symbol] = subject.question(f"/assets/{symbol}")
            except RefusedError as error:
                if error.status != 404:
                    raise
    else:
        query = {"status": "active", "asset_class": "us_equity"}
        for one in subject.question("/assets", query):
            assets[str(one["symbol"])] = one
    return {symbol: why for symbol in symbols if (why := _why_not(assets.get(symbol)))}


def _why_not(asset: object) -> str:
    if not isinstance(asset, dict):
        return "the broker does not know it, or it is not active"
    if asset.get("class", "us_equity") != "us_equity":
        return f"of class {asset['class']}, not a US equity"
    if asset.get("status") != "active":
        return f"its status is {asset.get('status')}"
    return "" if asset.get("tradable") is True else "the broker does not allow trading it"


def named(symbols: Iterable[str]) -> str:
    """Return the first symbols as text, and how many more there are."""
    every = sorted(symbols)
    more = f" and {len(every) - NAMED} more" if len(every) > NAMED else ""
    return ", ".join(every[:NAMED]) + more
