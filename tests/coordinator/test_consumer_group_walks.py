"""Whatever happens to a consumer group, no partition has two owners, and quiet brings balance."""

from __future__ import annotations

import pytest

from tests.coordinator.consumer_walk import Walk


@pytest.mark.parametrize("seed", range(8))
def test_partitions_have_one_owner_throughout_and_a_fair_one_in_the_end(seed: int) -> None:
    walk = Walk(seed)
    for _ in range(3):
        for _ in range(40):
            walk.step()
        walk.settle()
        walk.check_quiet()
