"""The score of a suite: how many cases passed, and which did something unexpected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compat.expectations import Expectations
from compat.results import CaseResult, Outcome
from compat.suites.suite import Suite


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What became of a suite's cases."""

    name: str
    passed: Sequence[CaseResult]
    excused: Sequence[tuple[CaseResult, str]]
    """Did not pass, for a known reason."""
    left_out: Sequence[CaseResult]
    unexpected: Sequence[str]
    """Did not pass, and should have; one line each."""
    surprising: Sequence[CaseResult]
    """Passed although a failure would be excused."""
    not_run: str = ""
    """Why there is no score."""

    @classmethod
    def of(cls, suite: Suite, results: Sequence[CaseResult], expected: Expectations) -> Score:
        """Judge the results of one suite."""
        passed, excused, left_out, unexpected, surprising = [], [], [], [], []
        not_run = ""
        for result in results:
            if result.suite != suite.name:
                continue
            reason = expected.why_it_may_fail(suite.name, result.case)
            if result.outcome is Outcome.PASSED:
                passed.append(result)
                if reason is not None:
                    surprising.append(result)
            elif result.outcome is Outcome.LEFT_OUT:
                left_out.append(result)
            elif result.outcome is Outcome.NOT_RUN:
                not_run = result.detail
            elif reason is not None:
                excused.append((result, reason))
            elif result.outcome is Outcome.SKIPPED and suite.skips_by_itself:
                excused.append((result, result.detail))
            else:
                unexpected.append(
                    f"{suite.name} {result.case}: {result.outcome} {result.detail}".rstrip()
                )
        return cls(
            name=suite.name,
            passed=passed,
            excused=excused,
            left_out=left_out,
            unexpected=unexpected,
            surprising=surprising,
            not_run=not_run,
        )

    @property
    def run(self) -> int:
        """How many cases were run."""
        return len(self.passed) + len(self.excused) + len(self.unexpected)

    def __str__(self) -> str:
        if self.not_run:
            return f"{self.name:28} not run: {self.not_run}"
        parts = [f"{self.name:28} {len(self.passed):3} of {self.run:3} passed"]
        if self.excused:
            parts.append(f"{len(self.excused)} excused")
        if self.unexpected:
            parts.append(f"{len(self.unexpected)} unexpected")
        if self.left_out:
            parts.append(f"{len(self.left_out)} left out")
        if self.surprising:
            parts.append(f"{len(self.surprising)} passed although excused")
        return ", ".join(parts)
