"""librdkafka's own tests, built from its sources, in three passes.

- ``librdkafka``: every case that talks to a broker, with the classic group protocol;
- ``librdkafka-consumer``: the cases that subscribe, once more with the new one (KIP-848);
- ``librdkafka-no-auto-create``: those for a cluster where naming a topic does not create it.

The list of cases is read from the suite's own ``test.c``. Its runner selects by four-digit number,
so all cases of one number run in one process, each number with a time limit of its own: one that
hangs costs only itself. Some cases shell out to Kafka's ``kafka-topics.sh``; a stand-in of ours
does that over confluent-kafka, for starting a Java program each time takes longer than they wait.

The runner can shorten its tests, but then leaves out whole parts of them without a word; only a
quick run does so.

A number that does not pass when others run beside it is run again alone: the suite measures times,
and the machine may just have been busy.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compat.installation import CACHE, LIBRDKAFKA_VERSION, ROOT, python_of
from compat.results import CaseResult, Outcome
from compat.suites.suite import LAST_WORDS_MAX, Run, Suite, run_program, stop_programs
from compat.targets import Shape

TIME_LIMIT_S: Final = 300.0
"""Of all cases of one number."""
_LONGER_LIMITS_S: Final = {"0113": 900.0}
"""It goes through two dozen rebalances at the pace of the clock; it is started first."""
ASSUMED_VERSION: Final = "4.0.0"
"""Of the broker: the tests for newer ones are of share groups."""

_DECLARED: Final = re.compile(
    r"^    _TEST\((\w+),(.*?)(?=^    _TEST\(|^#|^    /\*|\Z)", re.MULTILINE | re.DOTALL
)
_SUMMARY: Final = re.compile(
    r"^\|\s+(\d{4}_\w+)\s+\|\s+(\w+)\s+\|\s+([\d.]+)s\s+\|[ \t]*(.*)$", re.MULTILINE
)
_FAILURE: Final = re.compile(
    r'^### Test "(?!<MAIN>).*? failed at (.*?) at .*?###\n(.*)$', re.MULTILINE
)
_ENDED: Final = re.compile(r"=+ Test (\d{4}_\w+) (PASSED|FAILED|SKIPPED) =+")
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_QUICK: Final = (
    "0001", "0002", "0007", "0008", "0011", "0012", "0013", "0014", "0017", "0022", "0026", "0029",
    "0030", "0036", "0040", "0048", "0063", "0067", "0070", "0073", "0085", "0099", "0127", "0130",
    "0137", "0140",
)  # fmt: skip


_DELETE_TOPICS: Final = """
import sys
from confluent_kafka.admin import AdminClient
admin = AdminClient({"bootstrap.servers": sys.argv[1]})
names = [name for name in admin.list_topics(timeout=30).topics if name.startswith("rdkafkatest")]
for future in admin.delete_topics(names).values() if names else ():
    future.exception(30)
"""
_SPLIT: Final = "0081"
"""The test of all admin calls is run in parts, for it ends at the first that fails."""
_OTHER_VERSIONS: Final = {"0109": "2.0.0"}
"""With an older broker than this it leaves out its part about access control, and nothing else."""


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
    # Where there is no summary, because a failed test held the library up, some tests have ended.
    found = {
        name: (states.get(state, Outcome.FAILED), 0.0, "") for name, state in _ENDED.findall(output)
    }
    for name, state, seconds, words in _SUMMARY.findall(output):
        detail = " ".join(words.split())
        found[name] = (states.get(state, Outcome.FAILED), float(seconds), detail)
    return found


def first_failure(output: str) -> str:
    """Return what a test says of its failure, and where in its source."""
    match = _FAILURE.search(output)
    return f"{' '.join(match[2].split())} ({match[1]})" if match else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What one process runs: the cases of a number, or one part of a case that is split."""

    number: str
    cases: Sequence[Case]
    part: str = ""
    """A function of the test; its cases are named with it."""
    again: bool = False

    @property
    def label(self) -> str:
        """Of its output."""
        words = [self.number, self.part, "again" if self.again else ""]
        return "-".join(word for word in words if word)

    def told_name(self, case: Case) -> str:
        """Return how a case is called in our results."""
        return f"{case.name} {self.part}" if self.part else case.name


def parts(source: str) -> list[str]:
    """Return the parts of the test of admin calls; it ends at the first that fails."""
    body = source[source.index("static void do_test_apis(") :]
    body = body[body.index("{") : body.index("\n}")]
    return list(dict.fromkeys(re.findall(r"^ +do_test_(\w+)\(", body, re.MULTILINE)))


def _run_unit(run: Run, unit: Unit, mode: Mapping[str, str]) -> list[CaseResult]:
    output = run.directory / f"{run.suite}-{unit.label}.log"
    home = CACHE / "librdkafka" / "tests"
    options = ["-Q"] if run.quick else []
    if any("noautocreate" in case.scenario for case in unit.cases):
        options += ["-s", "noautocreate"]
    ended = run_program(
        ["./test-runner", "-p1", "-L", "-K", *options],
        output=output,
        time_limit_s=_LONGER_LIMITS_S.get(unit.number, TIME_LIMIT_S),
        cwd=home,
        environment={
            "TESTS": unit.number,
            "RDKAFKA_TEST_CONF": str(run.directory / f"{run.suite}.conf"),
            "TEST_KAFKA_VERSION": _OTHER_VERSIONS.get(unit.number, ASSUMED_VERSION),
            "LD_LIBRARY_PATH": f"{home.parent}/src:{home.parent}/src-cpp",
            "KAFKA_PATH": str(ROOT / "compat" / "shims"),
            "BROKERS": run.target.bootstrap,
            "OTTLA_COMPAT_PYTHON": str(python_of("python-clients")),
            **({"SUBTESTS": f"do_test_{unit.part}"} if unit.part else {}),
            **mode,
        },
    )
    text = _COLOUR.sub("", output.read_text(errors="replace"))
    told = parse(text)
    results = []
    for case in unit.cases:
        if case.name in told:
            outcome, seconds, detail = told[case.name]
        elif ended.timed_out:
            outcome, seconds, detail = Outcome.TIMED_OUT, ended.seconds, "no end in time"
        else:
            outcome, seconds, detail = Outcome.FAILED, ended.seconds, ""
        if outcome is not Outcome.PASSED:
            detail = first_failure(text) or detail
        results.append(
            CaseResult(
                suite=run.suite,
                case=unit.told_name(case),
                outcome=outcome,
                seconds=seconds,
                detail=detail[:LAST_WORDS_MAX],
            )
        )
    return results


def _chosen(run: Run, *, auto_create: bool, protocol: str) -> list[Case]:
    tests = CACHE / "librdkafka" / "tests"
    return [
        case
        for case in declared((tests / "test.c").read_text())
        if ("noautocreate" in case.scenario) != auto_create
        and (protocol == "classic" or subscribes(tests, case))
        and (not run.quick or case.number in _QUICK)
    ]


def _units(run: Run, cases: Sequence[Case]) -> list[Unit]:
    """Return what to run: only what was asked for and is not left out."""
    tests = CACHE / "librdkafka" / "tests"
    units: dict[str, Unit] = {}
    for case in cases:
        split = parts((tests / "0081-admin.c").read_text()) if case.number == _SPLIT else [""]
        for part in split:
            unit = Unit(number=case.number, cases=(case,), part=part)
            name = unit.told_name(case)
            if not run.wants(name) or run.why_left_out(name) is not None:
                continue
            same = units.get(unit.label)
            if same is not None:
                unit = Unit(number=case.number, cases=(*same.cases, case), part=part)
            units[unit.label] = unit
    return list(units.values())


def _left_out(run: Run, cases: Sequence[Case]) -> Iterator[CaseResult]:
    tests = CACHE / "librdkafka" / "tests"
    for case in cases:
        split = parts((tests / "0081-admin.c").read_text()) if case.number == _SPLIT else [""]
        for part in split:
            name = Unit(number=case.number, cases=(case,), part=part).told_name(case)
            reason = run.why_left_out(name)
            if reason is not None and run.wants(name):
                yield CaseResult(
                    suite=run.suite, case=name, outcome=Outcome.LEFT_OUT, detail=reason
                )


def _cases(run: Run, *, auto_create: bool, protocol: str) -> Iterator[CaseResult]:
    (run.directory / f"{run.suite}.conf").write_text(
        f"bootstrap.servers={run.target.bootstrap}\nbroker.address.family=v4\n"
        "test.topic.random=true\n"
    )
    chosen = _chosen(run, auto_create=auto_create, protocol=protocol)
    yield from _left_out(run, chosen)
    units = _units(run, chosen)
    mode = {} if protocol == "classic" else {"TEST_CONSUMER_GROUP_PROTOCOL": protocol}
    again = []
    with ThreadPoolExecutor(run.jobs) as pool:
        units.sort(key=lambda unit: unit.number not in _LONGER_LIMITS_S)
        running = {pool.submit(_run_unit, run, unit, mode): unit for unit in units}
        try:
            for ended in as_completed(running):
                results = ended.result()
                good = (Outcome.PASSED, Outcome.SKIPPED)
                if run.jobs > 1 and any(result.outcome not in good for result in results):
                    again.append(running[ended])
                else:
                    yield from results
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            stop_programs()
            raise
    for unit in again:
        _delete_topics(run)
        yield from _run_unit(run, dataclasses.replace(unit, again=True), mode)


def _delete_topics(run: Run) -> None:
    """Delete what tests left behind: some subscribe to patterns that match it."""
    program = (python_of("python-clients"), "-c", _DELETE_TOPICS, run.target.bootstrap)
    run_program(program, output=run.directory / "deleted-topics.log", time_limit_s=60.0)


def _suite(name: str, title: str, *, auto_create: bool, protocol: str, quick: bool) -> Suite:
    return Suite(
        name=name,
        title=f"librdkafka {LIBRDKAFKA_VERSION}, its own tests{title}",
        needs=("librdkafka", "python-clients"),
        cases=lambda run: _cases(run, auto_create=auto_create, protocol=protocol),
        shape=Shape(auto_create=auto_create),
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
