"""Groups of members in three languages survive what is done to members and brokers."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from typing import Final

from compat.group_survival.members import NEEDS, THREE_LANGUAGES
from compat.group_survival.trial import SETTINGS, NotAtRestError, Trial, in_random_order
from compat.results import CaseResult, Outcome
from compat.suites.suite import LAST_WORDS_MAX, Run, Suite
from compat.targets import Shape

SEED: Final = 1
"""Another one is for ``python -m compat.group_survival``."""

FAULTS: Final = 9
FAULTS_QUICK: Final = 3


def cases(run: Run) -> Iterator[CaseResult]:
    """Run a trial for each protocol."""
    for protocol in THREE_LANGUAGES:
        case = f"four members, group protocol {protocol}"
        if run.wants(case):
            yield _case(run, case, protocol)


def _case(run: Run, case: str, protocol: str) -> CaseResult:
    assert run.target.cluster is not None, "only Ottla's brokers can be hurt here"
    directory = run.directory / f"groups-{protocol}"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    began_s = time.monotonic()
    draw = random.Random(SEED)
    faults = in_random_order(draw, FAULTS_QUICK if run.quick else FAULTS)
    with (run.directory / f"groups-{protocol}.log").open("w") as log:
        trial = Trial(
            cluster=run.target.cluster,
            protocol=protocol,
            kinds=THREE_LANGUAGES[protocol],
            directory=directory,
            tell=lambda text: print(text, file=log, flush=True),
        )
        try:
            account = trial.run(faults, draw)
            print(account, file=log)
            wrong = ", ".join(f"{len(found)} {kind}" for kind, found in account.wrong.items())
        except NotAtRestError as error:
            print(error, file=log)
            wrong = str(error)
    return CaseResult(
        suite=run.suite,
        case=case,
        outcome=Outcome.FAILED if wrong else Outcome.PASSED,
        seconds=time.monotonic() - began_s,
        detail=wrong[:LAST_WORDS_MAX],
    )


SUITE: Final = Suite(
    name="groups",
    title="Groups with members in Python, JavaScript and Java, while members and brokers die",
    needs=NEEDS,
    cases=cases,
    shape=Shape(settings=tuple(SETTINGS.items())),
    in_quick=False,
    targets=frozenset({"ottla"}),
)
