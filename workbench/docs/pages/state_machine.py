"""docs/state-machine.md: phases, events, transitions, reasons and bounds, read from the core."""

from datetime import timedelta
from pathlib import Path

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
from scalper.core.transitions import RECOVERIES, TRANSITIONS
from workbench.docs.markdown import NOTE, page, table
from workbench.source.remarks import first_paragraph, remarks, sections

PAGE = "docs/state-machine.md"
STEPS = (BarClosed, OrderSeen, CheckupDue, LiquidationDue)
EVENTS = (*STEPS, SessionBegan, StateRebuilt)


def text(_root: Path) -> str:
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
        "Each symbol is in one phase. An event leads to another phase, or the symbol stays in its",
        "phase. The event may also lead to orders to send or to cancel.",
        "",
        "- `core/machine.py` decides what happens.",
        "- `core/working_order.py` handles reports of the working order.",
        "- `core/corrections.py` handles reports of closed or unknown orders.",
        "- `core/transitions.py` lists the possible transitions. The picture draws its rows,",
        "  except those from a phase to itself. Every change of a phase asserts its row.",
        "",
        *("```mermaid", "stateDiagram-v2", *arrows, "```", ""),
        *table(["phase", "what it means"], [[f"`{p}`", phases[p.name]] for p in Phase]),
        *("## The events", ""),
        *table(
            ["event", "what it means"], [[f"`{e.__name__}`", first_paragraph(e)] for e in EVENTS]
        ),
        *("## What an event may lead to", ""),
        *table(["in phase", *(f"`{e.__name__}`" for e in EVENTS)], cells),
        *("## Why", "", "Each step gives one reason, even if nothing happens.", ""),
    ]
    for title, members in sections(Reason):
        rows = [[f"`{one}`", reasons[one.name]] for one in members]
        lines += [f"### {title}", "", *table(["reason", "what it means"], rows)]
    lines += ["## Bounds", "", *table(["name", "value", "what it bounds"], bounds)]
    return page(lines)


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


def _value(value: object) -> str:
    return f"{value.total_seconds():g} s" if isinstance(value, timedelta) else f"{value}"
