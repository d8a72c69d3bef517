"""librdkafka's own tests, built from its sources, in three passes.

- ``librdkafka``: every case that talks to a broker, with the classic group protocol;
- ``librdkafka-consumer``: the cases that subscribe, once more with the new one (KIP-848);
- ``librdkafka-no-auto-create``: those for a cluster where naming a topic does not create it.

The list of cases is read from the suite's own ``test.c``. Its runner selects by four-digit number,
so all cases of one number run in one process, each number with a time limit of its own: one that
hangs costs only itself. Some cases shell out to Kafka's ``kafka-topics.sh``; a stand-in of ours
does that over confluent-kafka, for starting a Java program each time takes longer than they wait.

A number that does not pass when others run beside it is run again alone: the suite measures times,
and the machine may just have been busy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compat.installation import CACHE, LIBRDKAFKA_VERSION, ROOT, python_of
from compat.results import CaseResult, Outcome
from compat.suites.suite import LAST_WORDS_MAX, Run, Suite, run_program

TIME_LIMIT_S: Final = 240.0
"""Of all cases of one number; the slowest needs about 100 s against Apache Kafka."""
ASSUMED_VERSION: Final = "4.0.0"
"""Of the broker: the tests for newer ones are of share groups."""

_DECLARED: Final = re.compile(r"^    _TEST\((\w+),(.*?)(?=^    _TEST\(|^#|^    /\*|\Z)", re.M | re.S)
_SUMMARY: Final = re.compile(r"^\|\s+(\d{4}_\w+)\s+\|\s+(\w+)\s+\|\s+([\d.]+)s\s+\|[ \t]*(.*)$", re.M)
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_QUICK: Final = (
    "0001", "0002", "0007", "0008", "0011", "0012", "0013", "0014", "0017", "0022", "0026", "0029",
    "0030", "0036", "0040", "0048", "0063", "0067", "0070", "0073", "0085", "0099", "0127", "0130",
    "0137", "0140",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A case as the suite declares it."""

    name: str
    flags: str
    scenario: str

    @property
    def number(self) -> str:
        """What the runner selects by."""
        return self.name[:4]


def declared(source: str) -> list[Case]:
    """Return every case in ``test.c`` that wants a broker."""
    body = source[source.index("struct test tests[]") :]
    body = body[: body.index("\n};")]
    found = []
    for match in _DECLARED.finditer(body):
        flags = " ".join(match[2].split())
        if "TEST_F_LOCAL" in flags or "TEST_F_MANUAL" in flags or match[1].endswith("_mock"):
            continue
        scenario = re.search(r'\.scenario = "([\w,]+)"', flags)
        found.append(
            Case(name=match[1], flags=flags, scenario=scenario[1] if scenario else "default")
        )
    return found


def subscribes(tests: Path, case: Case) -> bool:
    """Whether the case's source uses a consumer group that assigns partitions."""
    sources = [*tests.glob(f"{case.number}-*.c"), *tests.glob(f"{case.number}-*.cpp")]
    return any("subscribe(" in path.read_text(errors="replace") for path in sources)


def parse(output: str) -> dict[str, tuple[Outcome, float, str]]:
    """Return what the summary at the end of a run tells of each case."""
    states = {"PASSED": Outcome.PASSED, "SKIPPED": Outcome.SKIPPED}
    found = {}
    for name, state, seconds, words in _SUMMARY.findall(_COLOUR.sub("", output)):
        detail = " ".join(words.split())[:LAST_WORDS_MAX]
        found[name] = (states.get(state, Outcome.FAILED), float(seconds), detail)
    return found


def _run_number(run: Run, number: str, cases: Iterable[Case], mode: Mapping[str, str]) -> Path:
    """Run all cases of a number; return where their output is."""
    output = run.directory / f"{run.suite}-{number}.log"
    home = CACHE / "librdkafka" / "tests"
    config = run.directory / f"{run.suite}.conf"
    scenario = ["-s", "noautocreate"] if any("noauto" in case.scenario for case in cases) else []
    ended = run_program(
        ["./test-runner", "-p1", "-L", "-K", "-Q", *scenario],
        output=output,
        time_limit_s=TIME_LIMIT_S,
        cwd=home,
        environment={
            "TESTS": number,
            "RDKAFKA_TEST_CONF": str(config),
            "TEST_KAFKA_VERSION": ASSUMED_VERSION,
            "LD_LIBRARY_PATH": f"{home.parent}/src:{home.parent}/src-cpp",
            "KAFKA_PATH": str(ROOT / "compat" / "shims"),
            "BROKERS": run.target.bootstrap,
            "OTTLA_COMPAT_PYTHON": str(python_of("python-clients")),
            **mode,
        },
    )
    if ended.timed_out:
        with output.open("a") as file:
            file.write(f"\nstopped after {TIME_LIMIT_S:.0f} s\n")
    return output


def _results(run: Run, cases: Iterable[Case], output: Path) -> list[CaseResult]:
    text = output.read_text(errors="replace")
    told = parse(text)
    stopped = text.rstrip().endswith(f"stopped after {TIME_LIMIT_S:.0f} s")
    results = []
    for case in cases:
        if case.name in told:
            outcome, seconds, detail = told[case.name]
        elif stopped:
            outcome, seconds, detail = Outcome.TIMED_OUT, TIME_LIMIT_S, "no end in time"
        else:
            last = _COLOUR.sub("", text).strip().splitlines()[-1:]
            outcome, seconds = Outcome.FAILED, 0.0
            detail = f"no summary; last: {' '.join(last)}"[:LAST_WORDS_MAX]
        results.append(
            CaseResult(
                suite=run.suite, case=case.name, outcome=outcome, seconds=seconds, detail=detail
            )
        )
    return results


def _cases(run: Run, *, auto_create: bool, protocol: str) -> Iterator[CaseResult]:
    tests = CACHE / "librdkafka" / "tests"
    (run.directory / f"{run.suite}.conf").write_text(
        f"bootstrap.servers={run.target.bootstrap}\nbroker.address.family=v4\n"
        f"test.topic.random=true\n"
    )
    chosen: dict[str, list[Case]] = {}
    for case in declared((tests / "test.c").read_text()):
        wanted = (
            run.wants(case.name)
            and ("noautocreate" in case.scenario) != auto_create
            and (protocol == "classic" or subscribes(tests, case))
            and (not run.quick or case.number in _QUICK)
        )
        if not wanted:
            continue
        reason = run.why_left_out(case.name)
        if reason is None:
            chosen.setdefault(case.number, []).append(case)
        else:
            yield CaseResult(
                suite=run.suite, case=case.name, outcome=Outcome.LEFT_OUT, detail=reason
            )
    mode = {} if protocol == "classic" else {"TEST_CONSUMER_GROUP_PROTOCOL": protocol}

    def run_number(number: str) -> list[CaseResult]:
        cases = chosen[number]
        return _results(run, cases, _run_number(run, number, cases, mode))

    again = []
    with ThreadPoolExecutor(run.jobs) as pool:
        for number, results in zip(chosen, pool.map(run_number, chosen), strict=True):
            good = (Outcome.PASSED, Outcome.SKIPPED)
            if run.jobs > 1 and any(result.outcome not in good for result in results):
                again.append(number)
            else:
                yield from results
    for number in again:
        yield from run_number(number)


def _suite(name: str, title: str, *, auto_create: bool, protocol: str, quick: bool) -> Suite:
    return Suite(
        name=name,
        title=f"librdkafka {LIBRDKAFKA_VERSION}, its own tests{title}",
        needs=("librdkafka", "python-clients"),
        cases=lambda run: _cases(run, auto_create=auto_create, protocol=protocol),
        auto_create=auto_create,
        in_quick=quick,
    )


SUITES: Final = (
    _suite("librdkafka", "", auto_create=True, protocol="classic", quick=False),
    _suite(
        "librdkafka-consumer",
        ", with the new group protocol",
        auto_create=True,
        protocol="consumer",
        quick=False,
    ),
    _suite(
        "librdkafka-no-auto-create",
        ", where naming a topic does not create it",
        auto_create=False,
        protocol="classic",
        quick=False,
    ),
)
