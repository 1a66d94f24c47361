"""The generated pages of docs/: what they show is read from the code and the template.

`python -m workbench.docs` writes them, `--check` names those that are stale and exits with 1.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from scalper.core import machine, model, order, order_actions, session, working_order
from scalper.core.model import (
    BarClosed,
    CheckupDue,
    LiquidationDue,
    OrderSeen,
    Phase,
    Reason,
    SessionBegan,
    StateRebuilt,
)
from scalper.core.pricing import DOLLAR
from scalper.core.transitions import RECOVERIES, TRANSITIONS
from scalper.shell.settings import Settings
from scalper.shell.symbols import _ATTRIBUTES, MAX_LOT, MAX_SYMBOLS
from workbench.docs.commands_page import PAGE as COMMANDS
from workbench.docs.commands_page import commands_page
from workbench.docs.costs_page import PAGE as COSTS
from workbench.docs.costs_page import costs_page
from workbench.docs.markdown import NOTE, code, origin, page, recorded, table
from workbench.docs.metrics_page import PAGE as METRICS
from workbench.docs.metrics_page import metrics_page
from workbench.docs.readme import PAGE as README
from workbench.docs.readme import readme
from workbench.docs.reliability import PAGE as RELIABILITY
from workbench.docs.reliability import reliability
from workbench.docs.source import first_paragraph, remarks, sections
from workbench.template.declared import load_template

ROOT = Path(__file__).parents[2]
STEPS = (BarClosed, OrderSeen, CheckupDue, LiquidationDue)
EVENTS = (*STEPS, SessionBegan, StateRebuilt)

# Variable: the setting that it becomes, and what it is for.
VARIABLES = {
    "SYMBOLS_TABLE": ("symbols_table", "The table of the symbols to trade. Required."),
    "STATE_TABLE": ("state_table", "The table of what is remembered. Required."),
    "CHECKUP_QUEUE_URL": ("checkup_queue_url", "Where a tick asks for the checkup after it."),
    "TICK_QUEUE_URL": (
        "tick_queue_url",
        "Where a tick arms the coming minute's; empty for nowhere.",
    ),
    "BROKER_SECRET_ID": ("broker_secret_id", "Name or ARN of the broker's keys."),
    "WEBHOOK_SECRET_ID": ("webhook_secret_id", "Name or ARN of the webhook's signing keys."),
    "WEBHOOK_URL": ("webhook_url", "Where the relay posts order events; the relay alone needs it."),
    "TRADING_MODE": ("mode", "`paper` or `live`; part of each order's id."),
    "LIVE_ACCOUNT_NUMBER": (
        "live_account_number",
        "With `live`, the one account that may be traded; without it nothing is.",
    ),
    "ALPACA_TRADING_URL": ("trading_url", "Orders, positions, clock; without `/v2`. By mode."),
    "ALPACA_DATA_URL": ("data_url", "Bars and trades; without `/v2`."),
    "ALPACA_STREAM_URL": ("stream_url", "Order events; with `/stream`. By mode."),
    "DATA_FEED": ("feed", "`iex` or `sip`; `sip` needs Alpaca's paid subscription."),
    "DEFAULT_LOT": ("default_lot", "Dollars of an entry where the symbol's item names no lot."),
    "CLOCK": ("clock", "`system`, or `broker`: the time of its `/v2/clock`, for a simulation."),
    "NOTIFY_TOPIC_ARN": ("notify_topic_arn", "Where the day's summary goes; empty for nowhere."),
    "BAR_WAIT_S": ("bar_wait_s", "Longest wait for the minute's bars, 0 to 50 seconds."),
}

# Attribute: its default, and what it does.
ATTRIBUTES = {
    "enabled": ("true", "`false` enters nothing more; what is held is sold as ever."),
    "lot": ("`DEFAULT_LOT`", f"Dollars of an entry, up to {MAX_LOT // DOLLAR:,}; whole shares."),
    "signal": ("the crossover", "`module:function`, a module in `functions/`: bars → buy or not."),
    "stop_loss_pct": ("none", "Sell at market once a close lies so many percent below the cost."),
    "max_hold_minutes": ("none", "Sell at market after so many minutes."),
    "max_entries_per_day": ("none", "Enter no more after so many buys that filled."),
}


def state_machine() -> str:
    """Return the page of the transitions, the phases, the reasons and the bounds."""
    arrows = [
        f"    {one or '[*]'} --> {other}: {', '.join(on)}" for (one, other), on in _arrows().items()
    ]
    phases, reasons = remarks(model, "Phase"), remarks(model, "Reason")
    cells = [
        [f"`{phase}`" if phase else "no state", *(_cell(phase, event) for event in EVENTS)]
        for phase in (None, *Phase)
    ]
    bounds = [
        [f"`{name}`", _value(getattr(module, name)), text]
        for module in (machine, working_order, order_actions, order, session)
        for name, text in remarks(module).items()
        if isinstance(getattr(module, name), int | timedelta)
    ]
    lines = [
        *("# The state machine", NOTE),
        "Each symbol is in one phase. An event leads to another phase or leaves it where it is,",
        "and to orders to send or to cancel. `core/machine.py` decides what is done. Reports of",
        "the working order have a module of their own, `core/working_order.py`; so have reports",
        "of closed or unknown orders, `core/corrections.py`. `core/transitions.py` says what may",
        "happen at all. Its rows are the arrows, and every change of a phase asserts its row. The",
        "picture leaves out the rows from a phase to itself.",
        "",
        *("```mermaid", "stateDiagram-v2", *arrows, "```", ""),
        *table(["phase", "what it means"], [[f"`{p}`", phases[p.name]] for p in Phase]),
        *("## The events", ""),
        *table(
            ["event", "what it means"], [[f"`{e.__name__}`", first_paragraph(e)] for e in EVENTS]
        ),
        *("## What an event may lead to", ""),
        *table(["in phase", *(f"`{e.__name__}`" for e in EVENTS)], cells),
        *("## Why", "", "Each step gives one reason, also where nothing happens.", ""),
    ]
    for title, members in sections(Reason):
        rows = [[f"`{one}`", reasons[one.name]] for one in members]
        lines += [f"### {title}", "", *table(["reason", "what it means"], rows)]
    lines += ["## Bounds", "", *table(["name", "value", "what it bounds"], bounds)]
    return page(lines)


def settings() -> str:
    """Return the page of the symbols' attributes, the parameters, the variables and the secrets."""
    template = load_template(ROOT)
    _same(ATTRIBUTES, _ATTRIBUTES, "symbols' attributes")
    _same(VARIABLES, _variables_read(), "environment variables")
    defaults = Settings.of({"SYMBOLS_TABLE": "", "STATE_TABLE": ""} | dict.fromkeys(_REQUIRED, "-"))
    stack = _variables_set(template)
    attributes = [
        [f"`{name}`", _ATTRIBUTES[name][0], default, text]
        for name, (default, text) in ATTRIBUTES.items()
    ]
    parameters = [
        [f"`{name}`", code(one["Default"]), one["Description"]]
        for name, one in template["Parameters"].items()
    ]
    variables = [
        [f"`{name}`", _default(defaults, name, field), stack.get(name, ""), text]
        for name, (field, text) in VARIABLES.items()
    ]
    return page(
        [
            *("# Settings", NOTE, "## Symbols"),
            "One item for each symbol in the symbols table; its key `symbol` is the ticker, such",
            "as `TSLA` or `BRK.B`. Edits act at the next tick. An item that makes no sense, or has",
            "an unknown attribute, is refused with a log line, and the others trade; so are items",
            f"beyond {MAX_SYMBOLS:,}.",
            "",
            *table(["attribute", "type", "default", "what it does"], attributes),
            *("## Stack", "", "Parameters of `template.yaml`, given to `sam deploy`.", ""),
            *table(["parameter", "default", "what it is"], parameters),
            *("## Secrets", "", "JSON in AWS Secrets Manager, made by the stack.", ""),
            *table(
                ["output", "content"],
                [
                    ["`BrokerSecret`", '`{"key_id": "...", "secret_key": "..."}`'],
                    ["`WebhookSecret`", '`{"current": "whsec_...", "previous": ""}`'],
                ],
            ),
            "## Environment",
            "",
            "The stack sets what the functions need. Whoever runs the handlers elsewhere sets it;",
            "the SDK's own `AWS_ENDPOINT_URL` leads to an emulator.",
            "",
            *table(["variable", "default", "set by the stack to", "what it is"], variables),
        ]
    )


def performance() -> str:
    """Return the page of what was measured, from the files that the measurements wrote."""
    day = recorded(ROOT / "bench/results/local_day.json")
    if day is None:
        raise SystemExit("bench/results/local_day.json is missing: make bench")
    built = recorded(ROOT / "bench/results/artefacts.json")
    cli_help = recorded(ROOT / "bench/results/cli_help.json")
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
                    ["to be under, s", f"{day['bar_s']:.0f}"],
                    ["ratio", f"{day['ratio_to_bar']:.3f}"],
                ],
            ),
            "Seconds of the whole command `scalper run`, its start, the servers' start and the",
            "report included, set-up excluded.",
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
    """Return the lines of the built functions: their size, and how long they take to be ready."""
    package = built["package"]
    rows = [
        [f"`{name}`", f"{one['median_ms']:,}", ", ".join(f"{ms:,}" for ms in one["init_ms"])]
        for name, one in built["functions"].items()
    ]
    return [
        *("## The built functions", ""),
        *origin(built),
        f"All functions hold the same: {package['unzipped_mb']} MB unzipped, of Lambda's 250, and",
        f"{package['zipped_mb']} MB zipped. Each started cold under Lambda's runtime interface",
        f"emulator on Python {package['function_python']}, and answered. The init time is that of",
        "importing the handler in a new process, without compiled modules, on a whole core.",
        "SnapStart leaves it out of a cold start.",
        "",
        *table(["function", "init, median, ms", "each, ms"], rows),
    ]


PAGES: Mapping[str, Callable[[], str]] = {
    "docs/state-machine.md": state_machine,
    "docs/settings.md": settings,
    "docs/performance.md": performance,
    COMMANDS: commands_page,
    README: lambda: readme(ROOT),
    RELIABILITY: lambda: reliability(ROOT),
    COSTS: lambda: costs_page(ROOT),
    METRICS: lambda: metrics_page(ROOT),
}


def main(arguments: list[str]) -> int:
    """Write the pages, or with --check name the stale ones; return the exit code."""
    stale = []
    for name, make in PAGES.items():
        path, text = ROOT / name, make()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in arguments:
                path.write_text(text, encoding="utf-8")
    if "--check" not in arguments:
        return 0
    for name in stale:
        print(f"{name} is stale: python -m workbench.docs", file=sys.stderr)
    return 1 if stale else 0


# --- transitions -----------------------------------------------------------------------------


def _arrows() -> dict[tuple[Phase | None, Phase], list[str]]:
    """Return the events of each arrow between two phases, in the order of phases and events.

    The phase None stands for a symbol without a state.
    """
    rows = TRANSITIONS | RECOVERIES
    return {
        (one, other): on
        for one in (None, *Phase)
        for other in Phase
        if one is not other and (on := [e.__name__ for e in EVENTS if (one, e, other) in rows])
    }


def _cell(phase: Phase | None, event: type) -> str:
    rows = TRANSITIONS | RECOVERIES
    stays = ["stays"] if (phase, event, phase) in rows else []
    others = [o for o in Phase if o is not phase and (phase, event, o) in rows]
    return ", ".join([*stays, *(f"`{other}`" for other in others)])


# --- settings --------------------------------------------------------------------------------

_REQUIRED = ("SYMBOLS_TABLE", "STATE_TABLE")


def _variables_read() -> set[str]:
    """Return the variables that the settings ask an environment for."""
    asked = set()

    class Asked(dict[str, str]):
        def get(self, name: str, default: Any = None) -> Any:
            asked.add(name)
            return "-" if name in _REQUIRED else default

    Settings.of(Asked())
    return asked


def _variables_set(template: Mapping[str, Any]) -> dict[str, str]:
    """Return what the template sets the variables to, in all functions or in one."""
    resources = template["Resources"].values()
    functions = [o["Properties"] for o in resources if o["Type"] == "AWS::Serverless::Function"]
    found: dict[str, str] = {}
    for one in (template["Globals"]["Function"], *functions):
        for name, value in one.get("Environment", {}).get("Variables", {}).items():
            if isinstance(value, dict):
                value = value.get("Ref") or ".".join(value["Fn::GetAtt"])
            found[name] = code(value)
    return found


def _default(defaults: Settings, name: str, field: str) -> str:
    if name in _REQUIRED:
        return ""
    value = getattr(defaults, field)
    if name == "DEFAULT_LOT":
        value //= DOLLAR
    return code(f"{value:g}" if isinstance(value, float) else value)


def _same(texts: Iterable[str], names: Iterable[str], what: str) -> None:
    differing = sorted(set(texts) ^ set(names))
    if differing:
        raise SystemExit(f"workbench/docs/build.py and the {what} of the code differ: {differing}")


def _value(value: object) -> str:
    return f"{value.total_seconds():g} s" if isinstance(value, timedelta) else f"{value}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
