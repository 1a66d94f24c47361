"""Random days of one symbol on a broker that misbehaves, for Hypothesis to search and shrink."""

from datetime import timedelta
from decimal import Decimal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scalper.core.model import Phase
from scalper.core.order_actions import MAX_LIQUIDATION_ATTEMPTS
from scalper.core.pricing import money
from scalper.core.session import MINUTE
from tests.core.venue import POSITION_LAG, Fate, World

PRICES = st.integers(money("99.00"), money("101.00"))
FATES: st.SearchStrategy[list[Fate]] = st.lists(
    st.sampled_from(["ok", "ok", "refused", "lost", "answer lost", "delayed"]), max_size=4
)


class Day(RuleBasedStateMachine):
    """A day of one symbol. I1 never two live orders, I2 never more than the lot in an entry and
    I3 never short are asserted by the venue at each order and fill.
    """

    def __init__(self) -> None:
        super().__init__()
        self.world = World.fresh(stop_loss_pct=Decimal(1), max_hold=timedelta(minutes=8))
        self.fates: list[Fate] = []
        self.deaf_cancels = 0
        self.world.send_fate = lambda: self.fates.pop() if self.fates else "ok"
        self.world.cancel_works = self._cancel_works

    def _cancel_works(self) -> bool:
        if self.deaf_cancels:
            self.deaf_cancels -= 1
            return False
        return True

    @property
    def early(self) -> bool:
        """Whether the day has time left for the faults of a random walk."""
        return self.world.venue.now < self.world.rules.session.liquidate_at + 2 * MINUTE

    @rule(fates=FATES)
    def requests_will_meet(self, fates: list[Fate]) -> None:
        self.fates = fates

    @rule(times=st.integers(1, 2))
    def cancels_will_not_work(self, times: int) -> None:
        self.deaf_cancels = times

    @precondition(lambda self: self.early)
    @rule(seconds=st.integers(1, 59))
    def time_passes(self, seconds: int) -> None:
        self.world.pass_time(timedelta(seconds=seconds))

    @precondition(lambda self: self.early)
    @rule(close=PRICES | st.none(), signal=st.booleans(), reconciled=st.booleans())
    def a_minute_ends(self, close: int | None, signal: bool, reconciled: bool) -> None:
        self.world.pass_time(MINUTE - timedelta(seconds=self.world.venue.now.second))
        if reconciled:
            self.world.reconcile()
        self.world.tick(close, signal=signal)

    @precondition(lambda self: self.world.state.phase is Phase.TO_BUY)
    @rule(close=PRICES)
    def a_signal_comes(self, close: int) -> None:
        self.world.tick(close, signal=True)

    @precondition(lambda self: self.world.venue.live)
    @rule(data=st.data(), price=PRICES)
    def the_working_order_fills(self, data: st.DataObject, price: int) -> None:
        one = self.world.venue.live[0]
        qty = data.draw(st.sampled_from(sorted({1, max(one.left // 2, 1), one.left})))
        self.world.venue.fill(one, qty, price)

    @precondition(lambda self: self.world.venue.live)
    @rule(status=st.sampled_from(["canceled", "rejected", "expired"]))
    def the_broker_ends_the_working_order(self, status: str) -> None:
        self.world.venue.end(self.world.venue.live[0], status)

    @precondition(lambda self: self.world.venue.events)
    @rule(index=st.integers(0, 20), again=st.booleans())
    def an_event_is_told(self, index: int, again: bool) -> None:
        self.world.tell(index, again=again)

    @precondition(lambda self: self.world.venue.events)
    @rule(index=st.integers(0, 20))
    def an_event_is_lost(self, index: int) -> None:
        events = self.world.venue.events
        events.pop(index % len(events))

    @rule(asked=st.booleans(), lag=st.sampled_from([timedelta(0), POSITION_LAG]))
    def a_checkup_runs(self, asked: bool, lag: timedelta) -> None:
        self.world.reconcile()
        self.world.check(self.world.venue.position_seen(lag) if asked else None)

    @precondition(lambda self: self.world.venue.now >= self.world.rules.session.liquidate_at)
    @rule()
    def the_liquidation_runs(self) -> None:
        self.world.reconcile()
        self.world.liquidate(self.world.venue.position)

    @invariant()
    def nothing_is_lost(self) -> None:
        """I4: the state knows every order, and every share where nothing works."""
        self.world.assert_sound()

    def teardown(self) -> None:
        """I5: from here on everything works, and the day ends flat by the state and in truth."""
        world = self.world
        exhausted = world.state.exit_attempts >= MAX_LIQUIDATION_ATTEMPTS
        world.finish()
        world.assert_sound()
        if not exhausted:
            assert world.venue.position == 0
            assert world.state.phase is Phase.DONE
            assert world.state.is_flat
