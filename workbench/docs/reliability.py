"""The generated parts of docs/reliability.md: what was measured, and the tests of each fault."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.docs.incidents import SECTIONS, Fault, Shown, shown_by
from workbench.docs.markdown import code, fill, provenance, recorded, table

PAGE = "docs/reliability.md"

# File in bench/results: the heading of what it holds.
RESULTS = {
    "simulation": "Simulated days",
    "mutants": "Mutants",
    "chaos": "Chaos days",
    "webhook_fuzz": "Webhook fuzz",
}


def reliability(root: Path) -> str:
    """Return the page as it stands, its generated parts made anew.

    Raises SystemExit where the page, which people write in part, is missing or has lost a mark.
    """
    try:
        written = (root / PAGE).read_text(encoding="utf-8")
        return fill(written, {"figures": _figures(root), "faults": _faults(root)})
    except (OSError, ValueError) as error:
        raise SystemExit(f"{PAGE}: {error}") from error


def _figures(root: Path) -> list[str]:
    lines = []
    for name, title in RESULTS.items():
        result = recorded(root / "bench/results" / f"{name}.json")
        lines += [f"### {title}", ""]
        lines += ["Not recorded yet.", ""] if result is None else _recorded(result)
    return lines


def _recorded(result: Mapping[str, Any]) -> list[str]:
    """Return what one file tells: its figures, and its mutants where it has some."""
    lines = provenance(result)
    if figures := result.get("figures"):
        rows = [[_text(name), _text(value)] for name, value in figures.items()]
        lines += table(["what", "figure"], rows)
    if mutants := result.get("mutants"):
        lines += _mutants(mutants)
    return lines


def _mutants(mutants: list[Mapping[str, Any]]) -> list[str]:
    killed = [one for one in mutants if one.get("killed_by_seed") is not None]
    head = ["mutant", "what it breaks", "killed by seed", "seeds run", "s", "violation"]
    rows = [
        [
            code(one["name"]),
            *(_text(one.get(key)) for key in ("what", "killed_by_seed", "seeds_run", "seconds")),
            _text(one.get("violation")),
        ]
        for one in killed
    ]
    lines = [f"{len(killed)} of {len(mutants)} are found.", "", *table(head, rows)]
    survivors = [one for one in mutants if one.get("killed_by_seed") is None]
    if survivors:
        lines += ["These survived:", ""]
        lines += table(
            ["mutant", "what it breaks", "seeds run"],
            [
                [code(one["name"]), *(_text(one.get(key)) for key in ("what", "seeds_run"))]
                for one in survivors
            ],
        )
    return lines


def _faults(root: Path) -> list[str]:
    shown = shown_by(root)
    lines = []
    for title, faults in SECTIONS.items():
        rows = [_row(fault, shown.get(fault.name, [])) for fault in faults]
        lines += [f"### {title}", ""]
        lines += table(["", "what happens", "what is done", "shown by"], rows)
    return lines


def _row(fault: Fault, tests: list[Shown]) -> list[str]:
    note = f" *{fault.note}*" if fault.note else ""
    links = [f"[{one.sentence}](../{one.path.as_posix()})" for one in tests]
    return [fault.name, fault.happens, fault.wanted + note, "<br>".join(links)]


def _text(value: Any) -> str:
    """Return a value as the text of a cell: numbers with thousands, lists and pairs in a row."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return f"{value:,}"
        case list():
            return ", ".join(map(_text, value))
        case dict():
            return ", ".join(f"{name}: {_text(one)}" for name, one in value.items())
        case _:
            return " ".join(str(value).split()).replace("|", "\\|")
