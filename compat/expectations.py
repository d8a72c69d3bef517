"""Which cases may fail or are left out, each with its reason: ``expectations.toml``.

::

    [[left-out]]              # not run at all
    suite = "librdkafka*"     # patterns as of shells
    cases = ["0103_*"]
    reason = "transactions come later"

    [[may-fail]]              # run, and excused when it does not pass
    suite = "kafka-python"
    cases = ["test_admin_integration::test_x"]
    target = "kafka"          # only there; without it everywhere
    reason = "…"

A case that is named nowhere is expected to pass.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

PATH: Final = Path(__file__).with_name("expectations.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exemption:
    """Cases of which something else than passing is expected."""

    suite: str
    cases: Sequence[str]
    reason: str
    target: str = "*"

    def covers(self, suite: str, case: str, target: str) -> bool:
        """Whether a case of a suite is meant, on that target."""
        return (
            fnmatchcase(suite, self.suite)
            and fnmatchcase(target, self.target)
            and any(fnmatchcase(case, pattern) for pattern in self.cases)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """All exemptions, for one target."""

    target: str
    left_out: Sequence[Exemption]
    may_fail: Sequence[Exemption]

    def why_left_out(self, suite: str, case: str) -> str | None:
        """Return why a case is not run; ``None`` if it is."""
        return self._reason(self.left_out, suite, case)

    def why_it_may_fail(self, suite: str, case: str) -> str | None:
        """Return why a failure is excused; ``None`` if it is not."""
        return self._reason(self.may_fail, suite, case)

    def _reason(self, exemptions: Sequence[Exemption], suite: str, case: str) -> str | None:
        for exemption in exemptions:
            if exemption.covers(suite, case, self.target):
                return exemption.reason
        return None


def read(target: str, path: Path = PATH) -> Expectations:
    """Read the file for a target; brackets in names stand for themselves."""
    tables = tomllib.loads(path.read_text())

    def exemptions(kind: str) -> list[Exemption]:
        return [
            Exemption(**{**table, "cases": [case.replace("[", "[[]") for case in table["cases"]]})
            for table in tables.get(kind, [])
        ]

    return Expectations(
        target=target, left_out=exemptions("left-out"), may_fail=exemptions("may-fail")
    )
