"""docs/compatibility-statements.md says the truth: the tests that it names exist, and none lacks.

No test is run or imported for it: their names are looked up in the files.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "compatibility-statements.md"
COUNT = 52
LATER = {25, *range(38, 45), *range(46, 51), 52}
"""Those of transactions, of authentication and access rules, and of compaction."""


class Statement(NamedTuple):
    number: int
    promise: str
    shown_by: str

    @property
    def tests(self) -> list[str]:
        return re.findall(r"`([^`]+)`", self.shown_by)


def statements() -> list[Statement]:
    rows = re.findall(r"^\| (\d+) \| (.+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    return [Statement(int(number), promise, shown_by) for number, promise, shown_by in rows]


def names_in(path: Path) -> set[str]:
    return set(re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text(), re.MULTILINE))


def test_every_statement_is_on_the_page_once() -> None:
    assert [one.number for one in statements()] == list(range(1, COUNT + 1))


@pytest.mark.parametrize("number", sorted(set(range(1, COUNT + 1)) - LATER))
def test_statement_is_shown_by_tests_with_its_number(number: int) -> None:
    named = statements()[number - 1].tests

    assert named
    for test in named:
        path, name = test.split("::")
        assert name in names_in(ROOT / "tests" / path), f"there is no test {test}"
        assert f"statement_{number}_" in name


def test_what_is_for_later_names_what_it_waits_for() -> None:
    for statement in statements():
        is_later = bool(re.fullmatch(r"later: [a-zA-Z ]+", statement.shown_by))
        assert is_later == (statement.number in LATER), statement


def test_every_number_in_the_name_of_a_test_is_that_of_a_statement_that_is_kept() -> None:
    numbers = {
        int(number)
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in names_in(path)
        for number in re.findall(r"statement_(\d+)_", name)
    }

    assert numbers == set(range(1, COUNT + 1)) - LATER
