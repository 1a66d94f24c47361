"""docs/performance.md: what the measurements of bench/ wrote."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.docs.markdown import NOTE, origin, page, recorded, table

PAGE = "docs/performance.md"


def text(root: Path) -> str:
    """Return the page of the measurements.

    Raises SystemExit if the local day was not measured yet.
    """
    day = recorded(root / "bench/results/local_day.json")
    if day is None:
        raise SystemExit("bench/results/local_day.json is missing: make bench")
    built = recorded(root / "bench/results/artefacts.json")
    cli_help = recorded(root / "bench/results/cli_help.json")
    market = f"{day['symbols']} symbols, {day['bars']:,} bars, {day['ticks']} ticks"
    return page(
        [
            *("# Performance", NOTE, "## The local day"),
            *origin(day),
            *table(
                ["what", "figure"],
                [
                    ["market", f"synthetic: {market}"],
                    ["orders", f"{day['buys']} buys, {day['cancels']} canceled"],
                    ["trades", str(day["trades"])],
                    ["each run, s", ", ".join(f"{one:.2f}" for one in day["seconds"])],
                    ["median, s", f"{day['median_s']:.2f}"],
                    ["limit, s", f"{day['bar_s']:.0f}"],
                    ["median / limit", f"{day['ratio_to_bar']:.3f}"],
                ],
            ),
            "The figures are seconds of the whole command `scalper run`. They include its start,",
            "the servers' start and the report. They exclude the set-up.",
            "",
            *(_artefacts(built) if built else ()),
            *(_cli_help(cli_help) if cli_help else ()),
        ]
    )


def _cli_help(measured: Mapping[str, Any]) -> list[str]:
    """Return the lines of how long the help of the command line takes."""
    figures = measured["figures"]
    return [
        *("## The help of the command line", ""),
        *origin(measured),
        *table(
            ["what", "figure"],
            [
                ["commands", str(figures["commands"])],
                ["runs of each", str(figures["runs"])],
                ["`scalper --help`, median, s", f"{figures['median_s']:.3f}"],
                ["empty Typer application, median, s", f"{figures['empty_median_s']:.3f}"],
                ["ratio", f"{figures['ratio']:.2f}"],
                ["ratio, at most", f"{figures['ratio_limit']:g}"],
            ],
        ),
        "The two run in turns, each as a whole process with compiled modules. The empty",
        "application has as many commands, which do nothing, and the same settings: no completion,",
        "no Rich.",
        "",
    ]


def _artefacts(built: Mapping[str, Any]) -> list[str]:
    """Return the lines of the built functions: their size and their init time."""
    package = built["package"]
    rows = [
        [f"`{name}`", f"{one['median_ms']:,}", ", ".join(f"{ms:,}" for ms in one["init_ms"])]
        for name, one in built["functions"].items()
    ]
    return [
        *("## The built functions", ""),
        *origin(built),
        f"All functions hold the same files: {package['unzipped_mb']} MB unzipped, of Lambda's",
        f"250, and {package['zipped_mb']} MB zipped. Each function started cold under Lambda's",
        f"runtime interface emulator on Python {package['function_python']}, and answered. The",
        "init time is the import of the handler in a new process, without compiled modules, on a",
        "whole core. A cold start with SnapStart does not need this time.",
        "",
        *table(["function", "init, median, ms", "each, ms"], rows),
    ]
