"""The generated parts of docs/reliability.md: the measurements, and the tests of each incident."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.docs.incidents import SECTIONS, Incident
from workbench.docs.markdown import code, fill, origin, recorded, table
from workbench.source.remarks import Shown, shown_by

PAGE = "docs/reliability.md"

# File in bench/results: the heading of its figures.
RESULTS = {
    "simulation": "Simulated days",
    "mutants": "Mutants",
    "chaos": "Chaos days",
    "webhook_fuzz": "Webhook fuzz",
}


def text(root: Path) -> str:
    """Return the page with its generated parts made anew; people write the rest.

    Raises SystemExit if the page is missing or has lost a mark.
    """
    try:
        written = (root / PAGE).read_text(encoding="utf-8")
        return fill(written, {"figures": _figures(root), "incidents": _incidents(root)})
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
    """Return the lines of one file: its figures, and its mutants if it has any."""
    lines = origin(result)
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


def _incidents(root: Path) -> list[str]:
    shown = shown_by(root)
    lines = []
    for title, incidents in SECTIONS.items():
        rows = [_row(incident, shown.get(incident.name, [])) for incident in incidents]
        lines += [f"### {title}", ""]
        lines += table(["", "what happens", "what the system does", "shown by"], rows)
    return lines


def _row(incident: Incident, tests: list[Shown]) -> list[str]:
    note = f" *{incident.note}*" if incident.note else ""
    links = [f"[{one.sentence}](../{one.path.as_posix()})" for one in tests]
    return [incident.name, incident.happens, incident.answer + note, "<br>".join(links)]


def _text(value: Any) -> str:
    """Return a value as a cell's text: thousands with commas, lists and pairs on one line."""
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
