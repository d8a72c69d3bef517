"""What was found last, for each target, kept in the repository for the page.

``compat/recorded/<target>.json`` has the newest result of every case; a run of some suites replaces
the results of those and leaves the others.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from compat.results import CaseResult, Outcome

DIRECTORY: Final = Path(__file__).with_name("recorded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The newest results on one target."""

    version: str
    date: str
    results: Sequence[CaseResult]


def path(target: str) -> Path:
    """Return where the record of a target is."""
    return DIRECTORY / f"{target}.json"


def read(file: Path) -> Record | None:
    """Read a record; ``None`` if there is none yet."""
    if not file.exists():
        return None
    told = json.loads(file.read_text())
    found = [
        CaseResult(**{**each, "outcome": Outcome(each["outcome"])}) for each in told["results"]
    ]
    return Record(version=told["version"], date=told["date"], results=found)


def merge(file: Path, version: str, found: Sequence[CaseResult], *, whole: bool) -> None:
    """Replace what ran and keep the rest; ``whole`` says that suites were run with all cases."""
    before = read(file)
    ran = {(result.suite, "" if whole else result.case) for result in found}
    kept = [
        result
        for result in (before.results if before else ())
        if (result.suite, "" if whole else result.case) not in ran
    ]
    told = {
        "version": version or (before.version if before else ""),
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "results": [
            asdict(result) | {"seconds": round(result.seconds)} for result in (*kept, *found)
        ],
    }
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(told, indent=1) + "\n")
