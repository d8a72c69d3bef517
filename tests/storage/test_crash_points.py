"""Whatever operation of the disk a power failure meets, nothing acknowledged is lost or changed."""

from __future__ import annotations

from random import Random

import pytest

from ottla.simulation.disk import SimulatedCrash, SimulatedDisk
from tests.storage.crash_script import Life, check, check_that_life_goes_on, run_until_crash, script
from tests.storage.world import batch

SEEDS = range(3)


def operations_of_script() -> int:
    disk = SimulatedDisk(seed=0)
    life = Life(disk)
    before = disk.operations
    for operation in script(life):
        operation()
    return disk.operations - before


OPERATIONS = operations_of_script()


def test_script_meets_everything_that_a_log_does() -> None:
    disk = SimulatedDisk(seed=0)
    life = Life(disk)
    for operation in script(life):
        operation()
        check(life)

    assert set(disk.counts) >= {"append", "sync", "truncate", "create", "rename", "remove"}
    assert life.world.log.segment_count > 1
    check_that_life_goes_on(life)


@pytest.mark.parametrize("seed", SEEDS)
def test_log_is_sound_after_a_crash_at_any_operation(seed: int) -> None:
    for number in range(1, OPERATIONS + 1):
        life = run_until_crash(seed * 1_000 + number, number)
        try:
            life.world.disk.crash()
            life.start()
            check(life)
            check_that_life_goes_on(life)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, crash at operation {number}") from error


@pytest.mark.parametrize("seed", SEEDS)
def test_log_is_sound_after_a_crash_during_the_recovery_from_a_crash(seed: int) -> None:
    random = Random(seed)
    for number in range(1 + seed, OPERATIONS + 1, 3):
        life = run_until_crash(seed * 1_000 + number, number)
        disk = life.world.disk
        disk.crash()
        disk.crash_at_operation = disk.operations + random.randint(1, 8)
        try:
            life.start()
            life.take_stock()
            life.append(batch(b"between"), epoch=9)
            life.flush()
        except SimulatedCrash:
            pass
        try:
            disk.crash()
            life.start()
            check(life)
            check_that_life_goes_on(life)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, crash at operation {number}") from error


def test_same_seed_leaves_the_same_files() -> None:
    def names_and_contents(number: int) -> list[tuple[str, bytes]]:
        life = run_until_crash(5, number)
        life.world.disk.crash()
        life.start()
        directory = life.world.log.directory
        disk = life.world.disk
        return [(name, disk.read(directory / name)) for name in disk.list(directory)]

    for number in range(20, OPERATIONS, 25):
        assert names_and_contents(number) == names_and_contents(number)
