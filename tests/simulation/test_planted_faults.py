"""The simulation finds known mistakes in the protocols, each within a bounded number of seeds."""

from __future__ import annotations

import pytest

from ottla.simulation.planted_faults import PLANTED_FAULTS
from ottla.simulation.scenario import Outcome, run_seed


@pytest.mark.parametrize("name", PLANTED_FAULTS)
def test_a_planted_fault_is_found(name: str) -> None:
    planted = PLANTED_FAULTS[name]

    found = _first_found(name)

    assert found is not None, f"{name} was not found in {planted.seeds_max} seeds"
    assert found.violation is not None
    assert found.violation.invariant in planted.found_by, found.violation


def _first_found(name: str) -> Outcome | None:
    planted = PLANTED_FAULTS[name]
    for seed in range(1, planted.seeds_max + 1):
        outcome = run_seed(seed, planted.profile)
        if outcome.violation is not None:
            return outcome
    return None
