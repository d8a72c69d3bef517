"""``ottla simulate`` plays seeds, and says of a failing one what broke and how to see it again."""

from __future__ import annotations

import re

import pytest

from ottla.cli.main import run


def test_seeds_that_keep_all_promises_end_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "--seeds", "5"]) == 0

    assert capsys.readouterr().out.startswith("1 seed, 0 failed: ")


def test_a_seed_that_breaks_one_is_told_with_the_command_that_plays_it_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["simulate", "--seeds", "1-3", "--fault", "early-acknowledgement"]) == 1

    output = capsys.readouterr().out
    assert "AcknowledgedIsDurable: " in output
    again = r"play it again: ottla simulate --seeds (\d)-\1 --fault early-acknowledgement\n"
    assert re.search(again, output) is not None


def test_known_faults_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "--fault", "list"]) == 0

    assert "forgotten-vote\ta vote is not persisted\n" in capsys.readouterr().out


@pytest.mark.parametrize("seeds", ["9-3", "some", "1-", ""])
def test_what_is_no_range_of_seeds_is_refused(
    seeds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", "--seeds", seeds]) == 2

    assert "give a seed, or a range as 1-200" in capsys.readouterr().err


def test_an_unknown_fault_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "--fault", "gremlins"]) == 1

    assert "there is no fault 'gremlins'" in capsys.readouterr().err
