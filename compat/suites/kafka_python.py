"""kafka-python's own integration tests, from its source distribution.

They ask the client which version of Kafka the cluster looks like and skip what that version does
not have; one test checks that very guess. So the guess is taken first, by the client itself. They
are written for one broker: what they ask the first that they find about is expected to be there.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from compat.installation import CACHE, KAFKA_PYTHON_VERSION, python_of
from compat.results import CaseResult, Outcome
from compat.suites.suite import LAST_WORDS_MAX, Run, Suite, run_program
from compat.targets import Shape

TIME_LIMIT_S: Final = 900.0
CASE_TIME_LIMIT_S: Final = 90

_ASK_VERSION: Final = """
import sys
from kafka import KafkaConsumer
version = KafkaConsumer(bootstrap_servers=sys.argv[1]).config["api_version"][:2]
print("version", ".".join(map(str, version)) + ".0")
"""


def cases(run: Run) -> Iterator[CaseResult]:
    """Run them all in one pytest, which writes what became of each."""
    python = python_of("python-clients")
    tests = CACHE / "kafka-python-tests" / f"kafka_python-{KAFKA_PYTHON_VERSION}"
    asked = run.directory / "kafka-python-version.log"
    bootstrap = run.target.bootstrap.split(",")[0]
    run_program((python, "-c", _ASK_VERSION, bootstrap), output=asked, time_limit_s=60.0)
    words = [line.split()[1] for line in asked.read_text().splitlines() if "version " in line]
    version = words[-1] if words else "4.0.0"
    report = run.directory / "kafka-python.xml"
    report.unlink(missing_ok=True)
    chosen = ("-k", run.wanted.split("::")[-1]) if run.wanted else ()
    run_program(
        (
            python, "-m", "pytest", "test/integration", "-q", "--timeout", str(CASE_TIME_LIMIT_S),
            "-p", "no:cacheprovider", f"--junitxml={report}", *chosen,
        ),
        output=run.directory / "kafka-python.log",
        time_limit_s=TIME_LIMIT_S,
        cwd=tests,
        environment={
            "KAFKA_URI": f"kafka://{bootstrap}",
            "KAFKA_VERSION": version,
            "KAFKA_ROOT": str(tests),
        },
    )  # fmt: skip
    if not report.exists():
        yield CaseResult(
            suite=run.suite, case="all", outcome=Outcome.TIMED_OUT, detail="no report was written"
        )
        return
    yield from parse(run, report)


def parse(run: Run, report: Path) -> Iterator[CaseResult]:
    """Read the report of pytest; cases that are left out are told as such."""
    seen: set[str] = set()
    for element in ET.parse(report).iter("testcase"):
        module = element.get("classname", "").removeprefix("test.integration.")
        name = f"{module.replace('.', '::')}::{element.get('name')}"
        if name in seen:
            continue
        seen.add(name)
        reason = run.why_left_out(name)
        if reason is not None:
            yield CaseResult(suite=run.suite, case=name, outcome=Outcome.LEFT_OUT, detail=reason)
            continue
        outcome, detail = Outcome.PASSED, ""
        for kind, meant in (
            ("skipped", Outcome.SKIPPED),
            ("failure", Outcome.FAILED),
            ("error", Outcome.FAILED),
        ):
            found = element.find(kind)
            if found is not None:
                outcome, detail = meant, " ".join((found.get("message") or "").split())
        yield CaseResult(
            suite=run.suite,
            case=name,
            outcome=outcome,
            seconds=float(element.get("time", 0)),
            detail=detail[:LAST_WORDS_MAX],
        )


SUITE: Final = Suite(
    name="kafka-python",
    title=f"kafka-python {KAFKA_PYTHON_VERSION}, its own integration tests",
    needs=("python-clients", "kafka-python-tests"),
    cases=cases,
    shape=Shape(brokers=1),
)
