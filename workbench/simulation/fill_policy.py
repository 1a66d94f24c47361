"""The fill policy of a simulated day: its seed says which orders fill in parts.

The simulated broker decides when a fill is made.
"""

from random import Random

from workbench.exchange.ledger import VenueOrder
from workbench.faults.kinds import FaultKind
from workbench.simulation.faults import Plan


class SeededFills:
    """Fills in one part or two, by the day's fault plan and its random numbers."""

    def __init__(self, plan: Plan, numbers: Random) -> None:
        """Take the plan that says if an order is split, and the numbers that say where."""
        self._plan = plan
        self._numbers = numbers

    def qty_at_price(self, order: VenueOrder) -> int:
        """Return the shares of the order's first fill."""
        if order.remaining > 1 and self._plan.happens(
            FaultKind.PARTIAL_FILL, 0.3, order.client_order_id
        ):
            return self._numbers.randint(1, order.remaining - 1)
        return order.remaining

    def qty_before_cancel(self, order: VenueOrder) -> int:
        """Return all: the broker asks only if the plan lets the cancel lose to a fill."""
        return order.remaining
