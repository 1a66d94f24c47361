"""Random days of one symbol on a broker that misbehaves, for Hypothesis to search and shrink."""

from datetime import timedelta
from decimal import Decimal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scalper.core.model import Phase
from scalper.core.order_actions import MAX_LIQUIDATION_ATTEMPTS
from scalper.core.pricing import money
from scalper.core.session import MINUTE
from tests.core.unreliable_broker import POSITION_LAG, SendOutcome, SymbolDriver

PRICES = st.integers(money("99.00"), money("101.00"))
OUTCOMES: st.SearchStrategy[list[SendOutcome]] = st.lists(
    st.sampled_from(["ok", "ok", "refused", "lost", "answer lost", "delayed"]), max_size=4
)


class Day(RuleBasedStateMachine):
    """A day of one symbol.

    The broker asserts at each order and fill: I1 never two live orders, I2 never more than the lot
    in an entry, I3 never short.
    """

    def __init__(self) -> None:
        super().__init__()
        self.driver = SymbolDriver.fresh(stop_loss_pct=Decimal(1), max_hold=timedelta(minutes=8))
        self.outcomes: list[SendOutcome] = []
        self.failing_cancels = 0
        self.driver.send_outcome = lambda: self.outcomes.pop() if self.outcomes else "ok"
        self.driver.cancel_works = self._cancel_works

    def _cancel_works(self) -> bool:
        if self.failing_cancels:
            self.failing_cancels -= 1
            return False
        return True

    @property
    def early(self) -> bool:
        """Whether the day has time left for the faults of a random walk."""
        return self.driver.broker.now < self.driver.rules.session.liquidate_at + 2 * MINUTE

    @rule(outcomes=OUTCOMES)
    def requests_will_end_as(self, outcomes: list[SendOutcome]) -> None:
        self.outcomes = outcomes

    @rule(times=st.integers(1, 2))
    def cancels_will_not_work(self, times: int) -> None:
        self.failing_cancels = times

    @precondition(lambda self: self.early)
    @rule(seconds=st.integers(1, 59))
    def time_passes(self, seconds: int) -> None:
        self.driver.pass_time(timedelta(seconds=seconds))

    @precondition(lambda self: self.early)
    @rule(close=PRICES | st.none(), signal=st.booleans(), reconciled=st.booleans())
    def a_minute_ends(self, close: int | None, signal: bool, reconciled: bool) -> None:
        self.driver.pass_time(MINUTE - timedelta(seconds=self.driver.broker.now.second))
        if reconciled:
            self.driver.reconcile()
        self.driver.tick(close, signal=signal)

    @precondition(lambda self: self.driver.state.phase is Phase.TO_BUY)
    @rule(close=PRICES)
    def a_signal_comes(self, close: int) -> None:
        self.driver.tick(close, signal=True)

    @precondition(lambda self: self.driver.broker.live)
    @rule(data=st.data(), price=PRICES)
    def the_working_order_fills(self, data: st.DataObject, price: int) -> None:
        one = self.driver.broker.live[0]
        qty = data.draw(st.sampled_from(sorted({1, max(one.left // 2, 1), one.left})))
        self.driver.broker.fill(one, qty, price)

    @precondition(lambda self: self.driver.broker.live)
    @rule(status=st.sampled_from(["canceled", "rejected", "expired"]))
    def the_broker_ends_the_working_order(self, status: str) -> None:
        self.driver.broker.end(self.driver.broker.live[0], status)

    @precondition(lambda self: self.driver.broker.events)
    @rule(index=st.integers(0, 20), again=st.booleans())
    def an_event_is_delivered(self, index: int, again: bool) -> None:
        self.driver.deliver(index, again=again)

    @precondition(lambda self: self.driver.broker.events)
    @rule(index=st.integers(0, 20))
    def an_event_is_lost(self, index: int) -> None:
        events = self.driver.broker.events
        events.pop(index % len(events))

    @rule(asked=st.booleans(), lag=st.sampled_from([timedelta(0), POSITION_LAG]))
    def a_checkup_runs(self, asked: bool, lag: timedelta) -> None:
        self.driver.reconcile()
        self.driver.check(self.driver.broker.position_seen(lag) if asked else None)

    @precondition(lambda self: self.driver.broker.now >= self.driver.rules.session.liquidate_at)
    @rule()
    def the_liquidation_runs(self) -> None:
        self.driver.reconcile()
        self.driver.liquidate(self.driver.broker.position)

    @invariant()
    def nothing_is_lost(self) -> None:
        """I4: the state knows every order, and every share if no order works."""
        self.driver.assert_sound()

    def teardown(self) -> None:
        """I5: without further faults the day ends flat, by the state and at the broker."""
        driver = self.driver
        exhausted = driver.state.exit_attempts >= MAX_LIQUIDATION_ATTEMPTS
        driver.finish()
        driver.assert_sound()
        if not exhausted:
            assert driver.broker.position == 0
            assert driver.state.phase is Phase.DONE
            assert driver.state.is_flat
