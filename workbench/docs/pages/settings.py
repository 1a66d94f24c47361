"""docs/settings.md: the symbols' attributes, the parameters, the variables and the secrets.

The code and the template say which settings there are. The texts stand here, and a setting
without a text ends the command.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from scalper.core.pricing import DOLLAR
from scalper.shell.settings import Settings
from scalper.shell.symbols import _ATTRIBUTES, MAX_LOT, MAX_SYMBOLS
from workbench.docs.markdown import NOTE, code, page, table
from workbench.template.declared import load_template

PAGE = "docs/settings.md"

# Variable: the setting that it becomes, and what it is for.
VARIABLES = {
    "SYMBOLS_TABLE": ("symbols_table", "The table of the symbols to trade. Required."),
    "STATE_TABLE": ("state_table", "The table of the states. Required."),
    "CHECKUP_QUEUE_URL": ("checkup_queue_url", "The queue of the checkup after a tick."),
    "TICK_QUEUE_URL": (
        "tick_queue_url",
        "The queue of the coming minute's tick. Empty: none.",
    ),
    "BROKER_SECRET_ID": ("broker_secret_id", "Name or ARN of the broker's keys."),
    "WEBHOOK_SECRET_ID": ("webhook_secret_id", "Name or ARN of the webhook's signing keys."),
    "WEBHOOK_URL": (
        "webhook_url",
        "The address to which the relay posts order events. Only the relay needs it.",
    ),
    "TRADING_MODE": ("mode", "`paper` or `live`. Each order's id contains it."),
    "LIVE_ACCOUNT_NUMBER": (
        "live_account_number",
        "The one account that may be traded with `live`. Without it, nothing is traded.",
    ),
    "ALPACA_TRADING_URL": (
        "trading_url",
        "Orders, positions, clock. Without `/v2`. The mode gives the default.",
    ),
    "ALPACA_DATA_URL": ("data_url", "Bars and trades. Without `/v2`."),
    "ALPACA_STREAM_URL": (
        "stream_url",
        "Order events. With `/stream`. The mode gives the default.",
    ),
    "DATA_FEED": ("feed", "`iex` or `sip`. `sip` needs Alpaca's paid subscription."),
    "DEFAULT_LOT": ("default_lot", "Dollars of an entry if the symbol's item names no lot."),
    "CLOCK": ("clock", "`system`, or `broker` for a simulation: the time of its `/v2/clock`."),
    "NOTIFY_TOPIC_ARN": ("notify_topic_arn", "The topic of the day's summary. Empty: none."),
    "BAR_WAIT_S": ("bar_wait_s", "The longest wait for the minute's bars, 0 to 50 seconds."),
}

# Attribute: its default, and what it does.
ATTRIBUTES = {
    "enabled": ("true", "`false`: the symbol enters nothing more. Its exits go on."),
    "lot": (
        "`DEFAULT_LOT`",
        f"Dollars of an entry, up to {MAX_LOT // DOLLAR:,}. It buys whole shares.",
    ),
    "signal": (
        "the crossover",
        "`module:function`, from a module in `functions/`. It says from the bars whether to buy.",
    ),
    "stop_loss_pct": ("none", "Sell at market when a close is this many percent below the cost."),
    "max_hold_minutes": ("none", "Sell at market after this many minutes."),
    "max_entries_per_day": ("none", "Enter nothing more after this many filled buys."),
}


def text(root: Path) -> str:
    """Return the page of the symbols' attributes, the parameters, the variables and the secrets."""
    template = load_template(root)
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
            "The symbols table holds one item for each symbol. Its key `symbol` is the ticker,",
            "such as `TSLA` or `BRK.B`. The next tick uses an edit. The system refuses an item",
            "with a wrong value or an unknown attribute, and it logs why. The other symbols",
            f"trade. It also refuses items beyond {MAX_SYMBOLS:,}.",
            "",
            *table(["attribute", "type", "default", "what it does"], attributes),
            *("## Stack", "", "You pass these parameters of `template.yaml` to `sam deploy`.", ""),
            *table(["parameter", "default", "what it is"], parameters),
            *(
                "## Secrets",
                "",
                "The stack creates these secrets in AWS Secrets Manager. Each holds JSON.",
                "",
            ),
            *table(
                ["output", "content"],
                [
                    ["`BrokerSecret`", '`{"key_id": "...", "secret_key": "..."}`'],
                    ["`WebhookSecret`", '`{"current": "whsec_...", "previous": ""}`'],
                ],
            ),
            "## Environment",
            "",
            "The stack sets what the functions need. If you run the handlers elsewhere, you set",
            "it. The SDK's own variable `AWS_ENDPOINT_URL` leads to an emulator.",
            "",
            *table(["variable", "default", "set by the stack to", "what it is"], variables),
        ]
    )


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
    """Return the value that the template gives to each variable, in all functions or in one."""
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
        raise SystemExit(
            f"workbench/docs/pages/settings.py and the {what} of the code differ: {differing}"
        )
