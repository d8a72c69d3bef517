"""Whole clusters keep their promises through the faults of a few seeds, and a seed is a history."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ottla.simulation.scenario import Profile, run_seed

SEEDS_PER_TEST = 3
SHORT = Profile(duration_ms=(3_000, 3_000))
PRINT_DIGEST = """
from ottla.simulation.scenario import Profile, run_seed
outcome = run_seed(7, Profile(duration_ms=(3_000, 3_000)))
print(outcome.digest, outcome.events)
"""


@pytest.mark.parametrize("first", range(1, 10, SEEDS_PER_TEST))
def test_no_promise_is_broken(first: int) -> None:
    for seed in range(first, first + SEEDS_PER_TEST):
        outcome = run_seed(seed)

        assert outcome.violation is None, f"seed {seed}: {outcome.violation}"


def test_a_history_has_faults_and_acknowledged_records() -> None:
    outcomes = [run_seed(seed, SHORT) for seed in (1, 2, 3)]

    assert sum(outcome.counts["kills"] for outcome in outcomes) > 0
    assert sum(outcome.acknowledged for outcome in outcomes) > 0


def test_a_seed_gives_the_same_history_whatever_the_order_of_hashes() -> None:
    here = run_seed(7, SHORT)
    elsewhere = [_digest_with_hash_seed(number) for number in ("1", "2")]

    assert elsewhere == [f"{here.digest} {here.events}"] * 2


def test_another_seed_gives_another_history() -> None:
    assert run_seed(7, SHORT).digest != run_seed(8, SHORT).digest


def _digest_with_hash_seed(hash_seed: str) -> str:
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", PRINT_DIGEST],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    return done.stdout.strip()
