"""A topic that is written through one door is read through the other, and nothing changes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

from compat.installation import ROOT
from compat.results import CaseResult, Outcome
from compat.suites.scenarios import TIME_LIMIT_S, parse
from compat.suites.suite import LAST_WORDS_MAX, Run, Suite, run_program


def cases(run: Run) -> Iterator[CaseResult]:
    """Run the scenario with the project's own interpreter, which has both clients."""
    assert run.target.grpc is not None, "only Ottla has a gRPC door"
    output = run.directory / "grpc.log"
    command = (sys.executable, "-m", "compat.clients.grpc.scenario")
    addresses = (run.target.bootstrap, run.target.grpc)
    run_program((*command, *addresses), output=output, time_limit_s=TIME_LIMIT_S, cwd=ROOT)
    text = output.read_text(errors="replace")
    results = parse(run.suite, text)
    yield from results
    if not results:
        last = " / ".join(text.strip().splitlines()[-2:])[:LAST_WORDS_MAX]
        yield CaseResult(suite=run.suite, case="the end", outcome=Outcome.FAILED, detail=last)


SUITE: Final = Suite(
    name="grpc",
    title="Kafka's protocol and Ottla's gRPC API on the same topics",
    needs=(),
    cases=cases,
    targets=frozenset({"ottla"}),
)
