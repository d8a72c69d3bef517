"""The scenarios of ``compat/clients``: programs that print a line for each step.

One with a step that fails is run once more, for clients have races of their own (kafka-python 3 now
and then does not end joining a group, with Apache Kafka too). A step that passes then says so.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from compat.installation import (
    CACHE,
    KAFKA_JAVASCRIPT_VERSION,
    KAFKA_PYTHON_VERSION,
    KAFKA_VERSION,
    KCAT_VERSION,
    LIBRDKAFKA_VERSION,
    QUIXSTREAMS_VERSION,
    REQUIREMENTS,
    ROOT,
    node,
    python_of,
)
from compat.results import CaseResult, Outcome
from compat.suites.suite import LAST_WORDS_MAX, Run, Suite, run_program

CLIENTS: Final = ROOT / "compat" / "clients"
TIME_LIMIT_S: Final = 420.0
"""Of one scenario: every step waits 40 s at most for each of its conditions."""

_BAD: Final = (Outcome.FAILED, Outcome.TIMED_OUT)
_STEP: Final = re.compile(r"^(ok|not ok) (.*)$")


def parse(suite: str, output: str) -> list[CaseResult]:
    """Return a result for each line that tells of a step."""
    results = []
    for line in output.splitlines():
        match = _STEP.match(line)
        if match is None:
            continue
        if match[1] == "not ok":
            name, _, why = match[2].partition(": ")
            outcome, detail = Outcome.FAILED, why
        else:
            name, _, why = match[2].partition(" # SKIP ")
            outcome, detail = (Outcome.SKIPPED, why) if why else (Outcome.PASSED, "")
        results.append(
            CaseResult(suite=suite, case=name, outcome=outcome, detail=detail[:LAST_WORDS_MAX])
        )
    return results


def _cases(command: Callable[[str], Sequence[str | Path]]) -> Callable[[Run], Iterator[CaseResult]]:
    def run(this: Run) -> Iterator[CaseResult]:
        program = command(this.target.bootstrap)
        first = _run_once(this, program, f"{this.suite}.log")
        if any(result.outcome in _BAD for result in first):
            second = _run_once(this, program, f"{this.suite}-again.log")
            yield from better(first, second)
        else:
            yield from first

    return run


def better(first: Sequence[CaseResult], second: Sequence[CaseResult]) -> list[CaseResult]:
    """Return the steps of a second run; one that failed in the first says so in its detail."""
    before = {result.case: result for result in first if result.outcome in _BAD}
    told = []
    for result in second:
        if result.outcome is Outcome.PASSED and result.case in before:
            words = f"in a second run only; in the first: {before[result.case].detail}"
            told.append(dataclasses.replace(result, detail=words))
        else:
            told.append(result)
    return told


def _run_once(this: Run, program: Sequence[str | Path], log: str) -> list[CaseResult]:
    output = this.directory / log
    ended = run_program(program, output=output, time_limit_s=TIME_LIMIT_S, cwd=ROOT)
    text = output.read_text(errors="replace")
    results = parse(this.suite, text)
    if ended.timed_out:
        words = f"the scenario was stopped after {TIME_LIMIT_S:.0f} s"
        end = CaseResult(suite=this.suite, case="the end", outcome=Outcome.TIMED_OUT, detail=words)
        return [*results, end]
    if not results or (ended.status and all(result.outcome not in _BAD for result in results)):
        last = " / ".join(text.strip().splitlines()[-2:])[:LAST_WORDS_MAX]
        end = CaseResult(suite=this.suite, case="the end", outcome=Outcome.FAILED, detail=last)
        return [*results, end]
    return results


def _python(module: str, component: str = "python-clients") -> Suite:
    versions = {
        "confluent_kafka": f"confluent-kafka {_pinned('confluent-kafka')}, which is librdkafka",
        "kafka_python": f"kafka-python {KAFKA_PYTHON_VERSION}",
        "aiokafka": f"aiokafka {_pinned('aiokafka')}",
        "faststream": f"FastStream {_pinned('faststream')}",
        "quixstreams": f"Quix Streams {QUIXSTREAMS_VERSION}",
    }
    return Suite(
        name=module.replace("_", "-") + ("-client" if module == "kafka_python" else ""),
        title=versions[module],
        needs=(component,),
        cases=_cases(
            lambda bootstrap: (
                python_of(component), "-m", f"compat.clients.{module}.scenario", bootstrap,
            )
        ),
    )  # fmt: skip


def _pinned(package: str) -> str:
    for path in sorted(REQUIREMENTS.glob("*.txt")):
        match = re.search(rf"^{re.escape(package)}==(\S+)$", path.read_text(), re.MULTILINE)
        if match:
            return match[1]
    for path in sorted(REQUIREMENTS.glob("*/package.json")):
        match = re.search(rf'"{re.escape(package)}": "([^"]+)"', path.read_text())
        if match:
            return match[1]
    raise AssertionError(f"{package} is not pinned")


def _node(client: str, title: str, component: str = "node-clients", *, quick: bool = True) -> Suite:
    def command(bootstrap: str) -> Sequence[str | Path]:
        # Node looks for packages beside the program, so the program goes to the packages.
        copy = CACHE / component / "scenarios"
        (copy / client).mkdir(parents=True, exist_ok=True)
        shutil.copy(CLIENTS / "steps.mjs", copy)
        shutil.copy(CLIENTS / client / "scenario.mjs", copy / client)
        return node(), copy / client / "scenario.mjs", bootstrap

    return Suite(
        name=client.replace("_", "-"),
        title=title,
        needs=(component,),
        cases=_cases(command),
        in_quick=quick,
        skips_by_itself=True,
    )


def _java(bootstrap: str) -> Sequence[str | Path]:
    jars = CACHE / "java-clients"
    classpath = f"{jars}/jars/*{os.pathsep}{jars}/classes"
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
    return "java", "-Xmx256m", quiet, "-cp", classpath, "Scenario", bootstrap


def _java_tools(bootstrap: str) -> Sequence[str | Path]:
    return CLIENTS / "java" / "tools.sh", bootstrap, f"{CACHE}/java-clients/jars/*"


SUITES: Final = (
    _python("confluent_kafka"),
    Suite(
        name="kcat",
        title=f"kcat {KCAT_VERSION} of Debian, with librdkafka 2.0.2",
        needs=("kcat",),
        cases=_cases(lambda bootstrap: (CLIENTS / "kcat" / "scenario.sh", bootstrap)),
    ),
    _python("kafka_python"),
    _python("aiokafka"),
    _node("kafkajs", f"kafkajs {_pinned('kafkajs')}"),
    _node("platformatic", f"@platformatic/kafka {_pinned('@platformatic/kafka')}"),
    _node(
        "confluent_javascript",
        f"@confluentinc/kafka-javascript {KAFKA_JAVASCRIPT_VERSION}, "
        f"on librdkafka {LIBRDKAFKA_VERSION}",
        "confluent-javascript",
        quick=False,
    ),
    Suite(
        name="java",
        title=f"Kafka's Java client {KAFKA_VERSION}",
        needs=("java-clients",),
        cases=_cases(_java),
    ),
    Suite(
        name="java-tools",
        title=f"Kafka's command-line tools {KAFKA_VERSION}",
        needs=("java-clients",),
        cases=_cases(_java_tools),
    ),
    _python("faststream"),
    _python("quixstreams", "quixstreams"),
)
