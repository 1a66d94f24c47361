"""After the close: flat or not, what the day earned, and whether the broker's fills agree."""

import json
import logging
from dataclasses import replace
from datetime import date, timedelta

import pytest

from scalper.core.model import Reason
from scalper.core.pricing import CENT, DOLLAR
from scalper.core.session import MINUTE, Session
from scalper.shell.errors import BrokerDownError, UnknownOutcomeError
from scalper.shell.memory_store import MemoryStore
from scalper.shell.metrics import Metric
from scalper.shell.ports import Fill, Stored
from scalper.shell.trading import close_day as close
from scalper.shell.trading import tick as ticks
from scalper.shell.trading import tick_metrics
from scalper.shell.trading.day_summary import MAX_LISTED
from tests.shell.conftest import Records
from tests.shell.fakes import CLOSE, CUTOFF, DAY, PRICE, QTY, Desk, client_id, minute

Metrics = dict[str, list[float]]


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> Metrics:
    """The metrics that the functions under test counted."""
    counted: Metrics = {}

    def count(name: Metric, value: float = 1) -> None:
        counted.setdefault(name, []).append(value)

    for module in (close, tick_metrics, ticks):
        monkeypatch.setattr(module, "count", count)
    return counted


def trade_a_day(desk: Desk) -> None:
    """Two round trips, one of them at a loss, on two symbols."""
    desk.broker.fill(desk.hold(1, "AAA"), PRICE + CENT)
    desk.stop_entries()
    target = desk.hold(2, "BBB")
    desk.stop_entries()
    desk.tick(3)
    desk.liquidate(CUTOFF)
    assert desk.broker.book[target].status == "canceled"
    desk.broker.fill(client_id(3, "liquidation", "BBB"), PRICE - DOLLAR)
    desk.liquidate(CUTOFF + MINUTE)


class TestCloseDay:
    def test_the_summary_has_the_days_numbers(self, desk: Desk):
        trade_a_day(desk)
        answer = desk.close_day(CLOSE + 5 * MINUTE)
        assert answer["session"] == "2025-03-05"
        assert answer["flat"] is True
        assert (answer["positions"], answer["open_orders"]) == ({}, [])
        assert answer["trades"] == 2
        assert answer["pnl_usd"] == pytest.approx(QTY * 0.01 - QTY * 1.0)
        assert (answer["wins"], answer["exits"]) == (1, {"target": 1, "liquidation": 1})
        assert (answer["pnl_checked"], answer["mismatches"], answer["halts"]) == (True, {}, {})
        assert json.loads(desk.store.days[DAY]) == answer

    def test_the_owner_gets_one_mail(self, desk: Desk):
        trade_a_day(desk)
        desk.close_day(CLOSE + 5 * MINUTE)
        ((subject, text),) = desk.outbox.mails
        assert subject == "Scalper 2025-03-05: -$19.80, 2 trades, flat"
        assert text.splitlines()[2:] == [
            "Session    2025-03-05, paper",
            "P&L        -$19.80",
            "Trades     2, 1 won (50%)",
            "Exits      1 target, 1 liquidation",
            "Best       AAA +$0.20, 1 trades",
            "Worst      BBB -$20.00, 1 trades",
            "Account    flat",
            "P&L check  agrees with the broker's fills",
            "Halts      none",
            "",
            "AAA           1 trades         0.20",
            "BBB           1 trades       -20.00",
        ]

    def test_its_metrics_are_the_days(self, desk: Desk, metrics: Metrics):
        trade_a_day(desk)
        desk.close_day(CLOSE + 5 * MINUTE)
        assert {name: metrics[name] for name in ("NotFlat", "PnlUsd", "Trades", "PnlMismatch")} == {
            "NotFlat": [0],
            "PnlUsd": [-19.8],
            "Trades": [2],
            "PnlMismatch": [0],
        }

    def test_of_many_symbols_the_mail_lists_the_best(self, desk: Desk):
        for number in range(MAX_LISTED + 2):
            name = chr(65 + number // 26) + chr(65 + number % 26)
            entry, target = client_id(1, symbol=name), client_id(2, "target", symbol=name)
            desk.broker.put(name, entry)
            desk.broker.fill(entry, PRICE)
            desk.broker.put(name, target, limit=PRICE + CENT)
            desk.broker.fill(target, PRICE + CENT)
        desk.close_day(CLOSE)
        lines = desk.outbox.mails[0][1].splitlines()
        assert lines[-1] == "and 2 more"
        assert len([one for one in lines if one.endswith("0.20")]) == MAX_LISTED

    def test_it_reads_the_broker_alone(self, desk: Desk):
        trade_a_day(desk)
        for symbol in ("AAA", "BBB"):
            desk.store.lose(symbol)
        assert desk.close_day(CLOSE)["trades"] == 2

    def test_a_table_that_is_down_keeps_nobody_uninformed(self, desk: Desk, records: Records):
        trade_a_day(desk)
        desk.store.down.add("all")
        assert desk.close_day(CLOSE)["trades"] == 2
        assert len(desk.outbox.mails) == 1
        assert "request failed" in records.messages()

    def test_not_flat_shows_in_the_answer_the_log_and_the_mail(self, desk: Desk, records: Records):
        desk.hold(1)
        desk.broker.held["AAA"] += 100
        desk.broker.held["ZZZ"] = 3
        answer = desk.close_day(CLOSE)
        assert answer["flat"] is False
        assert answer["positions"] == {"AAA": QTY}
        assert answer["open_orders"] == [client_id(2, "target")]
        assert "not flat" in records.messages()
        ((subject, text),) = desk.outbox.mails
        assert subject.endswith("NOT FLAT")
        assert f"STILL HELD: {QTY} AAA" in text
        assert f"STILL OPEN: {client_id(2, 'target')}" in text

    def test_a_short_position_of_a_traded_symbol_is_not_flat(self, desk: Desk):
        """I3: for example a bust of a buy whose shares were sold already."""
        trade_a_day(desk)
        desk.broker.held["AAA"] = -5
        desk.broker.held["ZZZ"] = -3
        answer = desk.close_day(CLOSE)
        assert (answer["flat"], answer["positions"]) == (False, {"AAA": -5})

    def test_before_the_close_it_waits_and_measures_nothing(self, desk: Desk, metrics: Metrics):
        """The schedule for half-days fires on a full day too."""
        desk.hold(1)
        metrics.clear()
        assert desk.close_day(CLOSE - MINUTE) == {"status": "not closed", "session": "2025-03-05"}
        assert (desk.outbox.mails, metrics) == ([], {})

    def test_a_schedule_that_fires_hours_after_a_half_days_close_sends_no_second_mail(
        self, desk: Desk, metrics: Metrics
    ):
        desk.broker.sessions[DAY] = Session.of(DAY, "09:30", "13:00")
        close = desk.broker.sessions[DAY].close  # type: ignore[union-attr]
        desk.close_day(close + 5 * MINUTE)
        desk.close_day(CLOSE + 5 * MINUTE)
        assert len(desk.outbox.mails) == 1
        assert len(desk.store.days) == 1
        # Whether it is flat may have changed; what it earned is measured once.
        assert (metrics["NotFlat"], metrics["PnlUsd"], metrics["Trades"]) == ([0, 0], [0.0], [0])

    def test_a_run_that_the_owner_starts_in_the_evening_still_sends_the_mail(self, desk: Desk):
        """As the runbook says: if every scheduled run fails, an alarm asks the owner for one."""
        trade_a_day(desk)
        desk.close_day(CLOSE + 150 * MINUTE)
        assert len(desk.outbox.mails) == 1

    def test_a_day_without_orders_is_flat(self, desk: Desk):
        answer = desk.close_day(CLOSE)
        assert (answer["flat"], answer["trades"], answer["pnl_usd"]) == (True, 0, 0.0)

    @pytest.mark.parametrize("method", ["orders_since", "open_orders", "positions", "session"])
    def test_a_broker_that_does_not_answer_raises_to_be_invoked_again(
        self, desk: Desk, method: str
    ):
        desk.broker.fail(method, BrokerDownError("down"))
        with pytest.raises(BrokerDownError):
            desk.close_day(CLOSE)
        assert desk.outbox.mails == []

    def test_orders_of_another_day_or_mode_do_not_count(self, desk: Desk):
        trade_a_day(desk)
        yesterday = client_id(1, day=DAY - timedelta(days=1), symbol="CCC")
        live = client_id(1, symbol="CCC").replace("paper", "live")
        for name in (yesterday, live):
            desk.broker.put("CCC", name)
            desk.broker.book[name] = replace(
                desk.broker.book[name], status="filled", filled_qty=5, filled_value=5
            )
        assert desk.close_day(CLOSE)["trades"] == 2


class TestFills:
    """The account's activities are another book than the orders'."""

    def test_a_fill_that_no_order_shows_is_a_mismatch_with_both_figures(
        self, desk: Desk, records: Records, metrics: Metrics
    ):
        trade_a_day(desk)
        desk.broker.fills[0] = replace(desk.broker.fills[0], value=desk.broker.fills[0].value + 300)
        answer = desk.close_day(CLOSE)
        assert answer["mismatches"] == {"AAA": {"by_orders_usd": 0.2, "by_fills_usd": 0.17}}
        assert answer["pnl_usd"] == pytest.approx(-19.8)
        assert metrics["PnlMismatch"] == [1]
        (line,) = records.of("the P&L does not agree with the broker's fills")
        assert line.levelno == logging.ERROR
        assert line.__dict__["symbols"] == {"AAA": "+$0.20 by its orders, +$0.17 by its fills"}
        text = desk.outbox.mails[0][1]
        assert "P&L check  DISAGREES with the broker's fills: AAA" in text
        assert "MISMATCH: AAA +$0.20 by its orders, +$0.17 by its fills" in text

    @pytest.mark.parametrize(("off", "said"), [(CENT - 1, {}), (-(CENT - 1), {}), (CENT, {"AAA"})])
    def test_parts_of_a_cent_are_the_average_prices_rounding(
        self, desk: Desk, off: int, said: set[str]
    ):
        trade_a_day(desk)
        desk.broker.fills[0] = replace(desk.broker.fills[0], value=desk.broker.fills[0].value + off)
        assert set(desk.close_day(CLOSE)["mismatches"]) == set(said)

    def test_a_missing_fill_is_a_mismatch(self, desk: Desk):
        trade_a_day(desk)
        del desk.broker.fills[-1]
        assert set(desk.close_day(CLOSE)["mismatches"]) == {"BBB"}

    def test_external_fills_do_not_count(self, desk: Desk):
        trade_a_day(desk)
        desk.broker.fills.append(Fill("external", "AAA", True, 7, 7 * PRICE))
        assert desk.close_day(CLOSE)["mismatches"] == {}

    def test_what_is_still_held_was_paid_and_is_no_mismatch(self, desk: Desk):
        target = desk.hold(1)
        desk.broker.fill(target, PRICE + CENT, 5)
        answer = desk.close_day(CLOSE)
        assert (answer["flat"], answer["mismatches"]) == (False, {})

    @pytest.mark.parametrize("sold", [QTY, 7])
    def test_shares_of_an_older_session_that_were_sold_are_no_mismatch(self, desk: Desk, sold: int):
        """What they cost is in no order of the day, and their sale was an alarm."""
        desk.broker.held["AAA"] = QTY
        desk.broker.put("AAA", client_id(1, "bailout"), limit=None)
        desk.broker.fill(client_id(1, "bailout"), PRICE, sold)
        desk.broker.put("BBB", client_id(1, symbol="BBB"), qty=5)
        desk.broker.fill(client_id(1, symbol="BBB"), PRICE)
        desk.broker.put("BBB", client_id(2, "target", "BBB"), qty=12)
        desk.broker.fill(client_id(2, "target", "BBB"), PRICE + CENT)
        assert desk.close_day(CLOSE)["mismatches"] == {}

    def test_a_buy_that_is_still_open_and_partly_filled_is_no_mismatch(self, desk: Desk):
        desk.broker.fill(desk.buy(1), PRICE, 5)
        assert desk.close_day(CLOSE)["mismatches"] == {}

    @pytest.mark.fault("23")
    def test_fills_of_an_order_in_a_replaced_ones_place_are_ours(self, desk: Desk):
        target = desk.hold(1)
        desk.broker.fill(target, PRICE + CENT, 5)
        desk.broker.put("AAA", "another-name", qty=QTY - 5, limit=PRICE + CENT)
        successor = desk.broker.book["another-name"]
        desk.broker.say(target, status="replaced", replaced_by=successor.broker_id)
        desk.broker.fill("another-name", PRICE + CENT)
        desk.broker.held["AAA"] = 0
        desk.broker.fills[-1] = replace(desk.broker.fills[-1], is_buy=False)
        answer = desk.close_day(CLOSE)
        assert (answer["mismatches"], answer["flat"], answer["trades"]) == ({}, True, 1)
        assert answer["pnl_usd"] == pytest.approx(QTY * 0.01)

    def test_unread_fills_show_in_the_mail_which_is_sent_all_the_same(
        self, desk: Desk, records: Records, metrics: Metrics
    ):
        trade_a_day(desk)
        desk.broker.fail("fills_since", BrokerDownError("down"))
        answer = desk.close_day(CLOSE)
        assert (answer["pnl_checked"], answer["flat"]) == (False, True)
        assert "PnlMismatch" not in metrics
        assert records.of("request failed")[0].__dict__["what"] == "fills"
        assert "NOT CHECKED" in desk.outbox.mails[0][1]


class TestLeftOvers:
    def leave(self, desk: Desk, day: date) -> None:
        """Let the table say that shares of a day are still held."""
        desk.hold(1)
        stored = MemoryStore.load(desk.store, "AAA")
        assert stored is not None
        state = replace(stored.state, session=day, order=None, generation=0, settled=())
        desk.store.lose("AAA")
        desk.store._states["AAA"] = Stored(state, 1)
        desk.broker.book.clear()
        desk.broker.fills.clear()

    def test_shares_of_an_older_session_are_not_flat(self, desk: Desk):
        self.leave(desk, DAY - timedelta(days=1))
        answer = desk.close_day(CLOSE)
        assert (answer["flat"], answer["positions"]) == (False, {"AAA": QTY})

    def test_shares_that_only_the_table_shows_do_not_count_as_held(self, desk: Desk):
        self.leave(desk, DAY - timedelta(days=1))
        desk.broker.held["AAA"] = 0
        assert desk.close_day(CLOSE)["flat"] is True

    def test_for_a_symbol_bought_today_the_brokers_orders_count(self, desk: Desk):
        """A liquidation without the table leaves it stale; the owner's shares are not ours."""
        target = desk.hold(1)
        desk.broker.fill(target, PRICE + CENT)
        desk.broker.held["AAA"] = 100
        assert desk.close_day(CLOSE)["flat"] is True

    def test_an_open_order_of_an_older_session_is_not_flat(self, desk: Desk):
        yesterday = client_id(1, day=DAY - timedelta(days=1), symbol="CCC")
        desk.broker.put("CCC", yesterday)
        book = desk.broker.book
        book[yesterday] = replace(book[yesterday], submitted_at=minute(0) - timedelta(days=1))
        answer = desk.close_day(CLOSE)
        assert (answer["flat"], answer["open_orders"]) == (False, [yesterday])
        assert (answer["symbols"], answer["trades"]) == (0, 0)

    def test_halts_show_in_the_answer_and_the_mail(self, desk: Desk):
        desk.hold(1)
        stored = MemoryStore.load(desk.store, "AAA")
        assert stored is not None
        desk.store.save(stored, replace(stored.state, halt=Reason.CORRECTED_FILL))
        desk.store.halt_account("by hand")
        answer = desk.close_day(CLOSE)
        assert answer["halts"] == {"AAA": "corrected_fill", "account": "by hand"}
        assert "Halts      AAA: corrected_fill, account: by hand" in desk.outbox.mails[0][1]

    def test_the_mail_says_that_the_table_is_down(self, desk: Desk):
        desk.store.down.add("all")
        assert desk.close_day(CLOSE)["halts"] is None
        assert "not known: the state table could not be read" in desk.outbox.mails[0][1]


class TestNoSession:
    """A holiday: nothing may be held, and the alarm waits for the word."""

    AT = CLOSE + timedelta(days=1)

    def test_it_verifies_and_measures_without_a_record_or_a_mail(
        self, desk: Desk, metrics: Metrics
    ):
        answer = desk.close_day(self.AT)
        assert (answer["status"], answer["session"]) == ("no session", "2025-03-06")
        assert answer["flat"] is True
        assert metrics == {"NotFlat": [0]}
        assert (desk.outbox.mails, desk.store.days) == ([], {})

    def test_what_is_left_of_the_last_session_is_not_flat(
        self, desk: Desk, metrics: Metrics, records: Records
    ):
        desk.hold(1)
        metrics.clear()
        answer = desk.close_day(self.AT)
        assert answer["flat"] is False
        assert (answer["positions"], answer["open_orders"]) == (
            {"AAA": QTY},
            [client_id(2, "target")],
        )
        assert metrics == {"NotFlat": [1]}
        assert "not flat" in records.messages()

    def test_the_owners_own_shares_and_orders_are_none_of_ours(self, desk: Desk):
        desk.broker.held["ZZZ"] = 5
        desk.broker.put("ZZZ", "by hand")
        assert desk.close_day(self.AT)["flat"] is True


class TestTickMetrics:
    def test_orders_in_doubt_are_counted_once_they_are_old(self, desk: Desk, metrics: Metrics):
        desk.broker.fail("submit", UnknownOutcomeError("no answer"))
        desk.broker.always_fail("find", BrokerDownError("down"))
        desk.trade("AAA")
        for number in (1, 2, 3):
            desk.tick(number)
        # At the third minute it is two minutes old; a minute old is not older than a minute.
        assert metrics["UnknownOrders"] == [0, 0, 1]

    def test_abandoned_orders_are_counted_for_the_day(self, desk: Desk, metrics: Metrics):
        desk.buy(1)
        stored = MemoryStore.load(desk.store, "AAA")
        assert stored is not None
        state = replace(stored.state, abandoned=(client_id(9),))
        desk.store.save(stored, state)
        desk.stop_entries()
        desk.tick(2)
        assert metrics["UnknownOrders"] == [0, 1]

    def test_a_tick_is_measured_to_its_last_order_if_it_sent_one(
        self, desk: Desk, metrics: Metrics
    ):
        desk.buy(1)
        desk.stop_entries()
        desk.tick(2)
        (ms,) = metrics["TickMs"]
        assert 0 < ms < 5_000

    def test_the_age_of_bars_is_that_of_the_stalest_symbol_by_the_brokers_time(
        self, desk: Desk, metrics: Metrics
    ):
        desk.trade("AAA", "BBB")
        desk.market.by_symbol["BBB"] = desk.market.by_symbol["BBB"][:2]
        desk.tick(5, late=timedelta(seconds=2))
        assert metrics["BarAge"] == [182.0]
        # A simulated clock knows no lag.
        assert "StartLag" not in metrics

    def test_a_symbol_without_any_bar_counts_from_the_open(self, desk: Desk, metrics: Metrics):
        desk.trade("AAA")
        desk.market.by_symbol["AAA"] = []
        desk.tick(4)
        assert metrics["BarAge"] == [240.0]

    def test_without_a_symbol_to_trade_bars_have_no_age(self, desk: Desk, metrics: Metrics):
        desk.trade("AAA", enabled=False)
        desk.tick(1)
        assert "BarAge" not in metrics

    def test_a_repeated_tick_measures_nothing(self, desk: Desk, metrics: Metrics):
        desk.trade("AAA")
        desk.stop_entries()
        desk.tick(1)
        metrics.clear()
        desk.tick(1)
        assert metrics == {"Heartbeat": [1]}
