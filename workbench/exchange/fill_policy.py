"""How many shares of an order fill at once: the fill policy decides it, and nothing else does.

The venue decides when an order meets a price (docs/fills.md). Then it asks its policy for the
quantity and makes the fill.
"""

from typing import Protocol

from workbench.exchange.ledger import VenueOrder


class FillPolicy(Protocol):
    """Decides the quantity of each fill; an order given to it is open."""

    def qty_at_price(self, order: VenueOrder) -> int:
        """Return how many shares fill now that the order meets a price: 1 to `order.remaining`."""
        ...

    def qty_before_cancel(self, order: VenueOrder) -> int:
        """Return how many shares still fill before a cancel: 0 to `order.remaining`."""
        ...


class WholeFills:
    """The policy of docs/fills.md: an order fills whole, and a cancel takes effect at once."""

    def qty_at_price(self, order: VenueOrder) -> int:
        """Return all that is left of the order."""
        return order.remaining

    def qty_before_cancel(self, order: VenueOrder) -> int:
        """Return 0."""
        return 0
