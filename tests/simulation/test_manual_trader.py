"""Days without ticks at their end, manual purchases, and manual sales of what this system holds."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import count

import pytest

from scalper.core.order import Order, Purpose
from scalper.core.pricing import DOLLAR
from scalper.core.session import MINUTE
from scalper.shell.errors import RefusedError
from tests.shell.fakes import OPEN, SESSION, client_id
from tests.simulation.build import let_pass, scheduler_of
from workbench.faults.kinds import FaultKind
from workbench.simulation.aws import quiet
from workbench.simulation.broker import SimulatedBroker
from workbench.simulation.checks import Checks
from workbench.simulation.crash_points import CrashPoints
from workbench.simulation.day import LOT, OPERATIONS, day_of, run_day
from workbench.simulation.fault_plan import Fault
from workbench.simulation.manual_trader import KEEPS, LONGEST_KEPT_S
from workbench.simulation.scheduler import Scheduler, Violation
from workbench.simulation.venue import SeededVenue

SEED = 3


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet():
        yield


def test_a_day_whose_ticks_end_and_whose_table_is_emptied_ends_flat_by_the_liquidation():
    session = day_of(SEED, CrashPoints(OPERATIONS), [], traced=False).session
    last = (session.liquidate_at - session.open) // MINUTE - 1
    script = [Fault(str(last), FaultKind.TICKS_END), Fault(str(last), FaultKind.TABLE_EMPTIED)]
    day = run_day(SEED, CrashPoints(OPERATIONS), script, traced=True)
    assert (day.violation, day.faults) == ("", script)
    begins = day.trace.index(next(one for one in day.trace if one.endswith("the ticks end")))
    rest = day.trace[begins:]
    assert not [one for one in rest if "[tick " in one]
    assert [one for one in rest if "the item of" in one]
    assert [one for one in rest if "broker takes" in one and one.split()[3].count("-liquidation")]


class TestPurchase:
    """The manual trader buys five shares of AAA, as if a fault of that minute said so."""

    def purchase(self, *, keeps: bool) -> tuple[Scheduler, SeededVenue]:
        minutes = count(2)
        while True:
            minute = str(next(minutes))
            scheduler = scheduler_of(SEED, [Fault(minute, FaultKind.EXTERNAL_ORDERS)])
            assert scheduler.plan.happens(FaultKind.EXTERNAL_ORDERS, 1.0, minute)
            if (scheduler.plan.amount(0, 1) < KEEPS) is keeps:
                break
        venue = SeededVenue(
            scheduler,
            SESSION,
            lambda symbol: 100 * DOLLAR,
            Checks(scheduler, LOT),
            lambda update: None,
        )
        let_pass(scheduler, 60)
        venue.manual_trader.trade("AAA", 5)
        return scheduler, venue

    def test_shares_that_are_offered_are_shown_at_once(self):
        _, venue = self.purchase(keeps=False)
        assert [order.qty for order in venue.ledger.open_orders("AAA")] == [2]
        assert venue.checks.is_external_shown("AAA", timedelta(seconds=10))

    def test_shares_that_are_kept_have_no_open_order_and_are_shown_after_the_lag(self):
        scheduler, venue = self.purchase(keeps=True)
        assert (venue.ledger.qty("AAA"), venue.ledger.open_orders("AAA")) == (5, [])
        assert not venue.checks.is_external_shown("AAA", timedelta(seconds=10))
        let_pass(scheduler, 11)
        assert venue.checks.is_external_shown("AAA", timedelta(seconds=10))

    def test_shares_that_were_kept_are_sold_later(self):
        scheduler, venue = self.purchase(keeps=True)
        let_pass(scheduler, LONGEST_KEPT_S)
        assert (venue.ledger.qty("AAA"), venue.checks.external) == (0, {"AAA": 0})
        assert not venue.checks.is_external_shown("AAA", timedelta(0))


class TestSellsOfWhatIsNotHeld:
    """The broker refuses them; on an account that allows it they would be short sales."""

    def sell(self, purpose: Purpose, *, sold_s: float | None) -> None:
        """Sell what is not held, decided ten seconds after the open."""
        scheduler = scheduler_of()
        checks = Checks(scheduler, LOT)
        venue = SeededVenue(
            scheduler, SESSION, lambda symbol: 100 * DOLLAR, checks, lambda update: None
        )
        broker = SimulatedBroker(venue)
        order = Order(
            client_order_id=client_id(3, purpose),
            purpose=purpose,
            qty=5,
            limit=None,
            submitted_at=OPEN + timedelta(seconds=10),
        )
        if sold_s is not None:
            checks.sold_by_hand["AAA"] = OPEN + timedelta(seconds=sold_s)
        broker._land("AAA", order)

    @pytest.mark.parametrize(
        ("purpose", "sold_s"),
        [(Purpose.BAILOUT, None), (Purpose.TARGET, None), (Purpose.BAILOUT, 9.9)],
    )
    def test_a_bailout_after_a_manual_sale_or_a_sell_without_one_is_a_violation(
        self, purpose: Purpose, sold_s: float | None
    ):
        with pytest.raises(Violation, match="would sell short"):
            self.sell(purpose, sold_s=sold_s)

    @pytest.mark.parametrize(
        ("purpose", "sold_s"),
        [(Purpose.BAILOUT, 10.1), (Purpose.TARGET, 9.9), (Purpose.STOP, 9.9)],
    )
    def test_a_sell_decided_before_the_manual_sale_or_sent_at_once_is_none(
        self, purpose: Purpose, sold_s: float
    ):
        with pytest.raises(RefusedError, match="insufficient qty"):
            self.sell(purpose, sold_s=sold_s)
