"""The generated parts of README.md: each figure of the first screen is a recorded result."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.docs import costs
from workbench.docs.markdown import fill, recorded

PAGE = "README.md"
NOT_RECORDED = "not recorded yet"
SMALLEST, LARGEST = 0, -1
"""The days of bench/results/costs.json go from the fewest symbols to the most."""


def text(root: Path) -> str:
    """Return README.md with its generated parts made anew.

    Raises SystemExit if the page is missing or has lost a mark.
    """
    results = root / "bench/results"
    parts = {
        "proof": [
            _simulation(recorded(results / "simulation.json")),
            _mutants(recorded(results / "mutants.json")),
            _costs(recorded(results / "costs.json")),
        ],
        "duration": _duration(recorded(results / "local_day.json")),
    }
    try:
        return fill((root / PAGE).read_text(encoding="utf-8"), parts)
    except (OSError, ValueError) as error:
        raise SystemExit(f"{PAGE}: {error}") from error


def _simulation(result: Mapping[str, Any] | None) -> str:
    """Return the line of the simulated days: requests, days, crashes and violations."""
    link = "[Simulated days](docs/reliability.md#simulated-days)"
    if result is None:
        return f"- {link}: {NOT_RECORDED}."
    figures = result["figures"]
    return (
        f"- {link}: {figures['steps']:,} simulated requests in {figures['seeds']:,} days with"
        f" {figures['crashes']:,} crashes, **{_violations(figures['violations'])}**."
    )


def _violations(found: int | list[Any]) -> str:
    """Return the count of violations in words; a result holds their number or their list."""
    count = found if isinstance(found, int) else len(found)
    return f"{count:,} violation{'' if count == 1 else 's'}"


def _mutants(result: Mapping[str, Any] | None) -> str:
    """Return the line of the mutants: how many of how many the simulated days find."""
    link = "[Mutants](docs/reliability.md#mutants)"
    if result is None:
        return f"- {link}: {NOT_RECORDED}."
    figures = result["figures"]
    return (
        f"- {link}: we plant {figures['mutants']} mistakes in the code, one at a time, and the"
        f" simulated days find **{figures['killed']} of {figures['mutants']}**."
    )


def _costs(result: Mapping[str, Any] | None) -> str:
    """Return the line of the costs: a month's bill for the fewest and for the most symbols."""
    link = "[Costs](docs/costs.md)"
    if result is None:
        return f"- {link}: {NOT_RECORDED}."
    declared = costs.declared_stack()
    few, many = (
        (day["symbols"], sum(item.dollars for item in costs.month_of(day, declared)))
        for day in (result["days"][SMALLEST], result["days"][LARGEST])
    )
    return (
        f"- {link}: AWS asks **${few[1]:.0f} a month** for {few[0]:,} symbols and"
        f" ${many[1]:.0f} for {many[0]:,}."
    )


def _duration(result: Mapping[str, Any] | None) -> list[str]:
    """Return the lines that say how long `make run` takes, on which machine."""
    if result is None:
        return [f"How long the day takes is {NOT_RECORDED}."]
    machine = ", ".join(str(result["machine"]).split(", ")[:2])
    return [
        f"The day takes about [{result['median_s']:.0f} seconds](docs/performance.md) on an idle"
        f" machine ({machine}).",
        "Two busy cores took 74 to 104 seconds. The first run also downloads the packages.",
    ]
