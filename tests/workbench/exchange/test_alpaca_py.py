"""The real alpaca-py clients, models and all, trade on the exchange over real connections."""

import asyncio
import threading
from concurrent.futures import Future
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from alpaca.common.exceptions import APIError
from alpaca.data.enums import DataFeed
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.requests import (
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockSnapshotRequest,
)
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, OrderStatus, QueryOrderStatus, TimeInForce
from alpaca.trading.models import TradeUpdate
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetCalendarRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
)
from alpaca.trading.stream import TradingStream

from tests.workbench.exchange.conftest import FRIDAY, KEY, OPEN, SECRET, Client, at

WITHIN_S = 10.0


@pytest.fixture
def trading(client: Client) -> Any:
    """Return alpaca-py's client; Any, for its answers are models or dicts."""
    return TradingClient(KEY, SECRET, url_override=client.running.url)


@pytest.fixture
def data(client: Client) -> Any:
    return StockHistoricalDataClient(KEY, SECRET, url_override=client.running.url)


def limit(side: OrderSide, price: float, **more: Any) -> LimitOrderRequest:
    return LimitOrderRequest(
        symbol="AAA",
        qty=10,
        side=side,
        limit_price=price,
        time_in_force=TimeInForce.DAY,
        **more,
    )


def test_a_round_trip(client: Client, trading: Any):
    bought = trading.submit_order(limit(OrderSide.BUY, 10.0, client_order_id="in"))
    assert bought.status is OrderStatus.PENDING_NEW
    client.advance(at(1))
    filled = trading.get_order_by_client_id("in")
    assert (filled.status, filled.filled_avg_price) == (OrderStatus.FILLED, "10")
    assert filled.filled_at == at(1)
    assert trading.get_open_position("AAA").qty_available == "10"
    sold = trading.submit_order(limit(OrderSide.SELL, 10.01, client_order_id="out"))
    assert trading.get_all_positions()[0].qty_available == "0"
    client.advance(at(2))
    assert trading.get_order_by_id(sold.id).status is OrderStatus.FILLED
    assert trading.get_all_positions() == []
    orders = trading.get_orders(
        GetOrdersRequest(status=QueryOrderStatus.ALL, after=OPEN, symbols=["AAA"])
    )
    assert [order.client_order_id for order in orders] == ["out", "in"]
    assert Decimal(trading.get_account().cash) == Decimal("1000000000.1")


def test_cancels_and_closes(client: Client, trading: Any):
    first = trading.submit_order(limit(OrderSide.BUY, 1.0))
    trading.cancel_order_by_id(first.id)
    with pytest.raises(APIError) as refused:
        trading.cancel_order_by_id(first.id)
    assert (refused.value.status_code, refused.value.code) == (422, 42210000)
    trading.submit_order(limit(OrderSide.BUY, 1.0))
    assert [answer.status for answer in trading.cancel_orders()] == [200]
    trading.submit_order(
        MarketOrderRequest(symbol="AAA", qty=10, side=OrderSide.BUY, time_in_force=TimeInForce.DAY)
    )
    client.advance(at(1))
    part = trading.close_position("AAA", ClosePositionRequest(qty="4"))
    assert part.qty == "4"
    closed = trading.close_all_positions(cancel_orders=True)
    assert [(answer.symbol, answer.status) for answer in closed] == [("AAA", 200)]
    client.advance(at(2))
    assert trading.get_all_positions() == []


def test_account_clock_calendar_assets(trading: Any):
    assert trading.get_account().account_number
    settings = trading.get_account_configurations()
    assert settings.no_shorting is True
    settings.suspend_trade = True
    assert trading.set_account_configurations(settings).suspend_trade is True
    clock = trading.get_clock()
    assert (clock.is_open, clock.timestamp) == (True, OPEN)
    days = trading.get_calendar(GetCalendarRequest(start=FRIDAY, end=FRIDAY))
    assert [(day.date, day.open.hour, day.close.hour) for day in days] == [(FRIDAY, 9, 16)]
    assert [asset.symbol for asset in trading.get_all_assets()] == ["AAA", "BBB"]
    assert trading.get_asset("AAA").tradable is True


def test_market_data(client: Client, data: Any):
    client.advance(at(30))
    both = ["AAA", "BBB"]
    bars = data.get_stock_bars(
        StockBarsRequest(
            symbol_or_symbols=both,
            timeframe=TimeFrame.Minute,
            start=OPEN,
            end=at(29),
            feed=DataFeed.IEX,
            limit=32,
        )
    )
    assert [len(bars["AAA"]), len(bars["BBB"])] == [30, 2]
    assert (bars["AAA"][0].timestamp, bars["AAA"][0].close) == (OPEN, 10.01)
    assert data.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols=both))[
        "AAA"
    ].timestamp == at(29)
    trades = data.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols=both))
    assert {symbol: trade.price for symbol, trade in trades.items()} == {"AAA": 10.3, "BBB": 5.05}
    quotes = data.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="AAA"))
    assert quotes["AAA"].bid_price == quotes["AAA"].ask_price == 10.3
    shown = data.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols=both))
    assert shown["BBB"].daily_bar.volume == 6 * 250


def test_pages_join_up_in_the_client(client: Client, data: Any):
    client.advance(at(390))
    request = StockBarsRequest(
        symbol_or_symbols=["AAA", "BBB"], timeframe=TimeFrame.Minute, start=OPEN
    )
    bars = data.get_stock_bars(request)
    assert [len(bars["AAA"]), len(bars["BBB"])] == [390, 12]


def test_wrong_keys(client: Client):
    wrong = TradingClient(KEY, "wrong", url_override=client.running.url)
    with pytest.raises(APIError) as refused:
        wrong.get_account()
    assert refused.value.status_code == 401


def test_trading_stream(client: Client, trading: Any):
    stream = TradingStream(KEY, SECRET, url_override=client.running.stream_url)
    told: list[TradeUpdate] = []
    filled: Future[TradeUpdate] = Future()

    async def hear(update: TradeUpdate) -> None:
        told.append(update)
        if update.event == "fill":
            filled.set_result(update)

    stream.subscribe_trade_updates(hear)
    thread = threading.Thread(target=stream.run, daemon=True)
    thread.start()
    for _ in range(5000):
        if client.http.get("/exchange/state").json()["listening"]:
            break
    trading.submit_order(limit(OrderSide.BUY, 10.0, client_order_id="in"))
    client.advance(at(1))
    update = filled.result(WITHIN_S)
    # Its own stop() waits for a message that may never come: close the socket under it as well.
    stream.stop()
    loop: Any = stream._loop
    asyncio.run_coroutine_threadsafe(stream.close(), loop).result(WITHIN_S)
    thread.join(WITHIN_S)
    assert not thread.is_alive()
    assert [one.event for one in told] == ["new", "fill"]
    assert (update.price, update.qty, update.position_qty) == (10.0, 10.0, 10.0)
    assert update.order.client_order_id == "in"
    assert update.timestamp == at(1)
    assert isinstance(update.timestamp, datetime)
    assert update.timestamp.tzinfo is not None
    assert update.timestamp.astimezone(UTC) == at(1)
