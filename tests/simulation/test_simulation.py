"""The judge in a world where everything goes wrong, many times over, and with each rule broken on purpose."""

from collections import Counter

import pytest

from tests.simulation.faults import FAULTS
from tests.simulation.mutants import MUTANTS, first_catch
from tests.simulation.world import simulate

SEEDS = 500
PARTS = 5
MUTANT_SEEDS = range(250)

RARE = {"mirror-proves-the-newest-barrier": 382, "edges-wake-the-forgotten": 1638, "begun-again-in-chunks": 1218}
"""Mutants that few worlds notice, with a seed that does. A change of the world makes a seed another world: find a new
one then, by `python -m tests.simulation --mutant NAME --seeds 3000`."""


def run(seed):
    """Run a seed and fail with the command that replays it."""
    report = simulate(seed)
    if report.failures:
        lines = "\n  ".join(report.failures[:5])
        pytest.fail(f"{report}\n  {lines}\n  replay it: make simulate SEED={seed}", pytrace=False)
    return report.reached


@pytest.mark.parametrize("part", range(PARTS))
def test_seeds(part):
    """Whatever happens, verdicts equal the oracle's, books balance, replays agree, and nothing is said too early."""
    size = SEEDS // PARTS
    reached: Counter[str] = Counter()
    for seed in range(part * size, (part + 1) * size):
        reached.update(run(seed))

    missed = [name for name in FAULTS if not reached[name]]
    assert [] == missed


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants(name):
    """Each rule, broken on purpose, makes the simulation fail within a bounded number of seeds."""
    seeds = range(RARE[name], RARE[name] + 1) if name in RARE else MUTANT_SEEDS

    assert first_catch(name, seeds) is not None, f"{name} survived {len(seeds)} seeds"


def test_same_seed_same_world():
    """One seed decides everything: a second run reaches the same faults as often and ends with the same records."""
    first, second = simulate(11), simulate(11)

    assert (first.reached, first.records) == (second.reached, second.records)
