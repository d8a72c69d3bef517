"""How a case went, and how that compares with what was expected of it."""

from __future__ import annotations

import enum
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


class Outcome(enum.StrEnum):
    """How one case ended."""

    PASSED = "passed"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    SKIPPED = "skipped"
    """The suite itself chose not to run it; :attr:`CaseResult.detail` has its words."""
    LEFT_OUT = "left out"
    """Not run, for the reason in ``expectations.toml``."""
    NOT_RUN = "not run"
    """It could not be run here, for the reason in :attr:`CaseResult.detail`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """One case of a suite, after a run."""

    suite: str
    case: str
    outcome: Outcome
    seconds: float = 0.0
    detail: str = ""
    """Why it did not pass: its own last words, or ours."""


def save(results: Sequence[CaseResult], path: Path) -> None:
    """Write results as JSON, one line each."""
    path.write_text("".join(json.dumps(asdict(result)) + "\n" for result in results))


def load(path: Path) -> list[CaseResult]:
    """Read what :func:`save` wrote; nothing if there is no such file."""
    if not path.exists():
        return []
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [CaseResult(**{**each, "outcome": Outcome(each["outcome"])}) for each in found]
