"""A simulated day finds each planted mistake, and the real code passes the same days."""

from collections import Counter
from typing import Any

import pytest

from tests.simulation.mutants import MUTANTS, Edit, Mutant
from tests.simulation.planting import (
    SHIPPED,
    BrokenMutantError,
    StaleMutantError,
    hunt,
    planted,
)

SOUND_SEEDS = 120

# The quick tests hunt one mistake of each file.
REPRESENTATIVES = {mutant.edits[0].file: mutant.name for mutant in reversed(MUTANTS)}


def hunted(mutant: Mutant) -> Any:
    is_quick = mutant.name in REPRESENTATIVES.values()
    return pytest.param(mutant, marks=[] if is_quick else pytest.mark.soak, id=mutant.name)


@pytest.mark.parametrize("mutant", [hunted(mutant) for mutant in MUTANTS])
def test_mistake_is_found(mutant: Mutant) -> None:
    found = hunt(mutant)
    assert found.killed_by_seed is not None, f"{mutant.name} survives {found.seeds_run} days"


def test_what_ships_passes_the_same_days() -> None:
    found = hunt(None, seeds=SOUND_SEEDS)
    assert (found.killed_by_seed, found.violation) == (None, "")
    assert found.seeds_run == SOUND_SEEDS


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_mistake_fits_the_code(mutant: Mutant) -> None:
    for edit in mutant.edits:
        text = (SHIPPED / "scalper" / edit.file).read_text(encoding="utf-8")
        assert planted(text, [edit]) != text


def test_mutants_have_names_of_their_own() -> None:
    assert Counter(mutant.name for mutant in MUTANTS).most_common(1)[0][1] == 1


@pytest.mark.parametrize("old", ["no such line", "import"])
def test_old_text_that_is_not_there_once_is_refused(old: str) -> None:
    with pytest.raises(StaleMutantError):
        planted("import a\nimport b\n", [Edit("core/order.py", old, "")])


@pytest.mark.parametrize(
    "edit",
    [
        Edit("core/order.py", "PREFIX = ", "PREFIX == "),
        Edit("core/pricing.py", "    return lot // limit\n", "    return lot // 0\n"),
    ],
    ids=["at import", "on the way"],
)
def test_mutant_that_does_not_run_is_no_find(edit: Edit) -> None:
    broken = Mutant("broken", "", (edit,))
    with pytest.raises(BrokenMutantError):
        hunt(broken, seeds=1)
