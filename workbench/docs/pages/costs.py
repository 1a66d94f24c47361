"""docs/costs.md: the month's bill, from the counts of `bench/costs.py` and from the templates."""

from pathlib import Path
from typing import Any

from workbench.docs import costs
from workbench.docs.markdown import NOTE, origin, page, recorded, table

PAGE = "docs/costs.md"


def text(root: Path) -> str:
    """Return the page; `root` holds bench/results."""
    counted = recorded(root / "bench/results/costs.json")
    if counted is None:
        raise SystemExit("bench/results/costs.json is missing: make costs")
    declared = costs.declared_stack()
    days: list[dict[str, Any]] = counted["days"]
    bills = [costs.month_of(day, declared) for day in days]
    sizes = [f"{day['symbols']:,} symbols" for day in days]
    lines = [
        [line.what, *(f"{bill[row].dollars:,.2f}" for bill in bills)]
        for row, line in enumerate(bills[0])
    ]
    totals = [f"**{sum(line.dollars for line in bill):,.2f}**" for bill in bills]
    return page(
        [
            *("# Costs", NOTE),
            f"The figures are US dollars for a month of {costs.SESSIONS} sessions. They use the",
            f"prices below: {costs.PRICES_OF}. Other regions cost more, and",
            f"[AWS's list]({costs.PRICE_LIST}) decides. The bill subtracts no free tier. The",
            "permanent free tiers cover most of Lambda, SQS and Scheduler, and part of",
            "CloudWatch. The bill leaves out Alpaca's fees and data. It also leaves out mail,",
            "storage, backups and transfer, which cost cents.",
            "",
            *table(["", *sizes], [*lines, ["**total**", *totals]]),
            *("## What a session asks of AWS", ""),
            *origin(counted),
            *table(["in a session", *sizes], _counts(days)),
            "The counts come from the real handlers in the local day, over synthetic bars. The",
            "first row says how many ticks of the session were played. If this is not all of",
            "them, the played ticks and the end of the day stand for the session. Such a part of",
            "a day begins",
            *_excess(counted),
            "DynamoDB's units follow from the sizes of the items. They include refused writes.",
            "",
            *("## Assumptions", ""),
            *_assumptions(declared),
            "",
            *("## Prices", ""),
            *table(
                ["US dollars", "for"],
                [[f"{price:.10f}".rstrip("0").rstrip("."), what] for price, what in _prices()],
            ),
        ]
    )


def _assumptions(declared: costs.DeclaredStack) -> list[str]:
    """Return the lines of what the bill assumes, beside the counts."""
    schedules = sum(declared.schedule_runs.values())
    return [
        f"- A function with less than {costs.ONE_CPU_MB:,} MB gets less of a processor. So the",
        f"  bill multiplies its seconds by {costs.ONE_CPU_MB:,} MB over its memory. A tick also",
        f"  waits {costs.BAR_WAIT_S:g} s for its second and its bars.",
        f"- Lambda restores the webhook's snapshot {costs.RESTORES} times in a session.",
        f"- Each tick is {costs.RUNS_A_TICK} runs. Both read the table and send a message.",
        "  Scheduler's run comes at any second of the minute and finds the minute claimed.",
        f"- One relay is connected for {costs.RELAY_HOURS:g} hours of a session and renews its",
        f"  lease each {costs.RELAY_RENEW_S:g} s. Each further run watches the lease for",
        f"  {costs.RELAY_LOOK_S:g} s and leaves.",
        f"- A message is {costs.REQUESTS_A_MESSAGE} requests. Lambda always polls each of",
        f"  {declared.polled_queues} queues {costs.POLLS_A_MINUTE} times a minute.",
        f"- The bill counts all {declared.metrics} metrics of the code for a whole month. AWS",
        "  bills only the hours in which they are sent.",
        f"- The templates declare {schedules:,} invocations by Scheduler on a weekday,",
        f"  {declared.alarms} watched metrics and {declared.composites} composite alarm(s).",
        f"- AWS adds {costs.PLATFORM_LOG_BYTES} bytes to the log per invocation.",
    ]


def _excess(counted: dict[str, Any]) -> list[str]:
    """Return how many times the trade updates of a whole day the parts of a day make."""
    check = counted.get("parts")
    if check is None:
        return ["with nothing held, so it enters more than a day does. The excess is not recorded."]
    [whole] = [day for day in counted["days"] if day["symbols"] == check["symbols"]]
    ratio = check["invocations"]["trade_update"] / whole["invocations"]["trade_update"]
    return [
        "with nothing held, so it enters more than a day does. With",
        f"{check['symbols']} symbols it makes {ratio:.1f} times the trade updates.",
    ]


def _counts(days: list[dict[str, Any]]) -> list[list[str]]:
    """Return the rows of what was counted."""
    functions = sorted({name for day in days for name in day["invocations"]})
    rows = [
        ("ticks played", "ticks_played"),
        ("write units", "write_units"),
        ("read units", "read_units"),
        ("messages", "messages"),
        ("requests for secrets", "secret_requests"),
        ("bytes of logs", "log_bytes"),
    ]
    return [
        *([text, *(f"{day[name]:,}" for day in days)] for text, name in rows),
        *(
            [f"runs of {name}", *(f"{day['invocations'].get(name, 0):,}" for day in days)]
            for name in functions
        ),
        *(
            [f"seconds of {name}", *(f"{day['seconds'].get(name, 0):,.1f}" for day in days)]
            for name in functions
        ),
    ]


def _prices() -> list[tuple[float, str]]:
    return list(costs.PRICES.values())
