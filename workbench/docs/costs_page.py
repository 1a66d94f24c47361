"""docs/costs.md: the month's bill, made of what `bench/costs.py` counted and the templates."""

from pathlib import Path
from typing import Any

from workbench.docs import costs
from workbench.docs.markdown import NOTE, origin, page, recorded, table

PAGE = "docs/costs.md"


def costs_page(root: Path) -> str:
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
    schedules = sum(declared.schedule_runs.values())
    return page(
        [
            *("# Costs", NOTE),
            f"US dollars a month of {costs.SESSIONS} sessions, at the prices below:",
            f"{costs.PRICES_OF}. Other regions cost more, and",
            f"[AWS's list]({costs.PRICE_LIST}) is what counts. No free tier is taken off; the",
            "permanent ones cover most of Lambda, SQS and Scheduler, and part of CloudWatch.",
            "Alpaca's fees and data, mail, storage, backups and transfer (cents) are not in it.",
            "",
            *table(["", *sizes], [*lines, ["**in all**", *totals]]),
            *("## What a session asks of AWS", ""),
            *origin(counted),
            *table(["in a session", *sizes], _counts(days)),
            "Counted at the real handlers in the local day, over synthetic bars. Where not all of",
            "a session's ticks were played (first row), those played stand for it, beside the end",
            "of the day. Such a stretch begins with nothing held, and enters more than a day",
            *_excess(counted),
            "DynamoDB's units follow from the sizes of the items, refused writes included.",
            "",
            *("## What is taken for granted", ""),
            f"- A function's seconds are as measured, times {costs.ONE_CPU_MB:,} MB over the",
            "  function's memory where that is less: Lambda gives it so much less of a processor.",
            f"  A tick waits {costs.BAR_WAIT_S:g} s for its second and its bars on top.",
            f"- The webhook's snapshot is restored {costs.RESTORES} times in a session.",
            f"- Each tick is {costs.RUNS_A_TICK} runs, both of which read the table and send a",
            "  message: Scheduler's own comes at any second of the minute, and finds it done.",
            f"- One relay is connected for {costs.RELAY_HOURS:g} hours of a session and renews its",
            f"  lease each {costs.RELAY_RENEW_S:g} s; each further one started looks at the",
            f"  lease for {costs.RELAY_LOOK_S:g} s and leaves.",
            f"- A message is {costs.REQUESTS_A_MESSAGE} requests, and Lambda polls each of",
            f"  {declared.polled_queues} queues {costs.POLLS_A_MINUTE} times a minute, always.",
            f"- All {declared.metrics} metrics that the code knows are billed for a whole month;",
            "  AWS bills the hours in which they are sent.",
            f"- {schedules:,} invocations by Scheduler on a weekday, {declared.alarms} watched",
            f"  metrics, {declared.composites} composite alarms, as the templates declare them.",
            f"- An invocation's own lines in the log are {costs.PLATFORM_LOG_BYTES} bytes.",
            "",
            *("## Prices", ""),
            *table(
                ["US dollars", "for"],
                [[f"{price:.10f}".rstrip("0").rstrip("."), what] for price, what in _prices()],
            ),
        ]
    )


def _excess(counted: dict[str, Any]) -> list[str]:
    """Return the end of a sentence: how many times the trade updates of a day stretches make."""
    check = counted.get("stretches")
    if check is None:
        return ["does: by how much is not recorded yet."]
    [whole] = [day for day in counted["days"] if day["symbols"] == check["symbols"]]
    ratio = check["invocations"]["trade_update"] / whole["invocations"]["trade_update"]
    return [f"does: of {check['symbols']} symbols it makes {ratio:.1f} times the trade updates."]


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
