"""``python -m compat``: run the suites, print a score for each, and tell what to make of it.

Exit status 0 if nothing failed but what ``expectations.toml`` excuses, 1 otherwise.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import FrameType

from compat import expectations, page, record, results
from compat.expectations import Expectations
from compat.installation import CACHE, NotAvailableError, ensure
from compat.results import CaseResult, Outcome
from compat.scores import Score
from compat.suites import SUITES
from compat.suites.suite import Run, Suite
from compat.targets import Start, external, kafka, ottla


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks; see ``--help``."""
    asked = _parser().parse_args(arguments)
    suites = _chosen(asked)
    if asked.list:
        for suite in suites:
            print(f"{suite.name:28} {suite.title}")
        return 0
    start: Start = {"ottla": ottla, "kafka": kafka}[asked.target]
    target_name: str = asked.target
    if asked.bootstrap:
        start, target_name = external(asked.bootstrap), "external"
    directory = CACHE / "runs" / target_name
    directory.mkdir(parents=True, exist_ok=True)
    expected = expectations.read(target_name)
    started_s = time.monotonic()
    found, version = _run_all(suites, start, directory, expected, asked)
    print(f"\n{time.monotonic() - started_s:.0f} s; output of every case in {directory}")
    scores = [Score.of(suite, found, expected) for suite in suites]
    for score in scores:
        print(score)
    bad = [line for score in scores for line in score.unexpected]
    for line in bad:
        print(f"UNEXPECTED {line}")
    if asked.record or asked.update_docs:
        whole = not asked.case and not asked.quick
        record.merge(record.path(target_name), version, found, whole=whole)
    if asked.update_docs:
        page.write()
    return 1 if bad else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m compat", description=__doc__)
    parser.add_argument(
        "--target",
        choices=("ottla", "kafka"),
        default="ottla",
        help="what to start: three Ottla brokers, or one node of Apache Kafka",
    )
    parser.add_argument("--bootstrap", metavar="HOST:PORT", help="use what runs there instead")
    parser.add_argument("--only", metavar="SUITE[,..]", help="these suites; see --list")
    parser.add_argument("--case", metavar="X", help="only cases with X in their name")
    parser.add_argument("--quick", action="store_true", help="a subset, in less than five minutes")
    parser.add_argument("--jobs", type=int, default=2, help="cases at once where a suite allows it")
    parser.add_argument("--list", action="store_true", help="list the suites and stop")
    parser.add_argument("--record", action="store_true", help="keep the results for the page")
    parser.add_argument(
        "--update-docs", action="store_true", help="keep them and write docs/compatibility.md"
    )
    return parser


def _chosen(asked: argparse.Namespace) -> list[Suite]:
    names = asked.only.split(",") if asked.only else list(SUITES)
    unknown = sorted(set(names) - SUITES.keys())
    if unknown:
        raise SystemExit(f"no suite is called {', '.join(unknown)}; there are {', '.join(SUITES)}")
    return [
        SUITES[name] for name in names if asked.only or not asked.quick or SUITES[name].in_quick
    ]


def _run_all(
    suites: Sequence[Suite],
    start: Start,
    directory: Path,
    expected: Expectations,
    asked: argparse.Namespace,
) -> tuple[list[CaseResult], str]:
    """Run the suites, those that want the same kind of cluster on one cluster."""
    found: list[CaseResult] = []
    version = ""
    for shape in dict.fromkeys(suite.shape for suite in suites):
        runnable = []
        for suite in suites:
            if suite.shape != shape:
                continue
            reason = _why_not(suite, expected.target)
            if reason is None:
                runnable.append(suite)
            else:
                found.append(_told(_not_run(suite, reason)))
        if not runnable:
            continue
        with start(shape, directory) as target:
            version = target.version
            runs = [
                Run(
                    suite=suite.name,
                    target=target,
                    directory=directory,
                    quick=asked.quick,
                    wanted=asked.case,
                    why_left_out=partial(expected.why_left_out, suite.name),
                    jobs=asked.jobs,
                )
                for suite in runnable
            ]
            # A full run has all of the machine for one suite; a quick one, for as many as jobs.
            with ThreadPoolExecutor(asked.jobs if asked.quick else 1) as pool:
                for some in pool.map(_run_one, runnable, runs):
                    found.extend(some)
                    results.save(found, directory / "results.jsonl")
    return found, version


def _run_one(suite: Suite, run: Run) -> list[CaseResult]:
    print(f"\n== {suite.name}: {suite.title}, against {run.target.name}", flush=True)
    started_s = time.monotonic()
    found = [_told(result) for result in suite.cases(run)]
    print(f"== {suite.name}: {time.monotonic() - started_s:.0f} s", flush=True)
    return found


def _why_not(suite: Suite, target: str) -> str | None:
    if target not in suite.targets:
        return "only for Ottla itself"
    try:
        for component in suite.needs:
            ensure(component)
    except NotAvailableError as error:
        return str(error)
    return None


def _not_run(suite: Suite, reason: str) -> CaseResult:
    return CaseResult(suite=suite.name, case="all", outcome=Outcome.NOT_RUN, detail=reason)


def _told(result: CaseResult) -> CaseResult:
    words = f": {result.detail}" if result.detail else ""
    took = f" ({result.seconds:.1f} s)" if result.seconds else ""
    print(f"{result.outcome:9} {result.suite}: {result.case}{took}{words}", flush=True)
    return result


def _stop(signum: int, frame: FrameType | None) -> None:
    """End as Ctrl-C does, so that no cluster and no client stays behind."""
    del frame
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(main())
