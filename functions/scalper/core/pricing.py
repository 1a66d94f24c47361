"""Money is a whole number of ten-thousandths of a dollar; a float is never an amount.

Prices, lots and profits have one unit, `Money`, so that sums, comparisons and the crossover are
exact. Tick sizes follow SEC Rule 612 as Alpaca applies it: limit prices of $1.00 and more have two
decimals, lower ones four. Alpaca answers other prices with error 42210000.
"""

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation, localcontext

Money = int
"""An amount in ten-thousandths of a dollar ($1.00 is 10_000)."""

DOLLAR: Money = 10_000
CENT: Money = 100
MAX_MONEY: Money = 10**15
"""One hundred billion dollars. A larger input is an error, not an amount."""

_GRID = Decimal("0.0001")


def money(value: str | int | float | Decimal) -> Money:
    """Return `value` dollars, rounded to ten-thousandths, halves to even.

    A float counts as its shortest decimal text. Raises ValueError if the value is no finite
    number, or exceeds `MAX_MONEY`.
    """
    if isinstance(value, bool):
        raise ValueError(f"not an amount: {value!r}")
    try:
        dollars = value if isinstance(value, Decimal) else Decimal(str(value).strip())
    except InvalidOperation:
        raise ValueError(f"not an amount: {value!r}") from None
    # abs() would round to the context, and overflow with a huge exponent.
    if not dollars.is_finite() or dollars.copy_abs() > MAX_MONEY // DOLLAR:
        raise ValueError(f"not an amount: {value!r}")
    with localcontext() as context:
        context.prec = 60
        return int(dollars.quantize(_GRID, rounding=ROUND_HALF_EVEN) * DOLLAR)


def notional(qty: int, price: str | int | float | Decimal) -> Money:
    """Return what `qty` shares at an average `price` dollars cost, rounded once, at the end.

    A broker's average price may have more than four decimals: rounding it before multiplying
    would move the total by up to `qty` half-grids.
    """
    return money(Decimal(qty) * Decimal(str(price)))


def text(amount: Money) -> str:
    """Return the amount in dollars as decimal text with four decimals."""
    sign = "-" if amount < 0 else ""
    whole, part = divmod(abs(amount), DOLLAR)
    return f"{sign}{whole}.{part:04d}"


def price_text(price: Money) -> str:
    """Return a limit price as the broker expects it: two decimals if they suffice, else four."""
    whole, part = divmod(price, DOLLAR)
    return f"{whole}.{part // CENT:02d}" if part % CENT == 0 else f"{whole}.{part:04d}"


def pnl_text(amount: Money) -> str:
    """Return a profit or a loss for people, to the cent: "+$1,234.50", "-$0.04"."""
    return f"{'-' if amount < 0 else '+'}${abs(amount) / DOLLAR:,.2f}"


def tick_size(price: Money) -> Money:
    """Return the smallest price step at `price`: one cent from $1.00 on, else $0.0001."""
    return CENT if price >= DOLLAR else 1


def round_down(price: Money) -> Money:
    """Return the highest price on the tick grid that is not above `price`: for buys."""
    return price - price % tick_size(price)


def round_up(price: Money) -> Money:
    """Return the lowest price on the tick grid that is not below `price`: for sells."""
    return price + -price % tick_size(price)


def shares(lot: Money, limit: Money) -> int:
    """Return how many whole shares `lot` buys at `limit`: 0 if one share costs more."""
    return lot // limit


def target(entry: Money, last_trade: Money) -> Money:
    """Return a target's limit: max(entry + $0.01, last trade), rounded up to the tick size."""
    return round_up(max(entry + CENT, last_trade))
