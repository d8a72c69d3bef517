"""The fixtures do what pytest's users expect, say why they cannot, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.timeout(180)]

ROOT = Path(__file__).resolve().parents[2]
LONG_S = 40.0

MARKED = """
import pytest

@pytest.mark.ottla(size=2, settings={"num.partitions": "3"})
def test_marked(ottla_cluster):
    assert len(ottla_cluster.brokers) == 2
    assert ottla_cluster.leader_of(ottla_cluster.topic(partitions=-1), 2)
"""

CONFTEST = """
import pytest

@pytest.fixture(scope="session")
def ottla_settings():
    return {"message.max.bytes": "2000"}
"""

OVERRIDDEN = """
def test_overridden(ottla_shared_broker, ottla_topic):
    from confluent_kafka import Producer
    failed = []
    settings = {"bootstrap.servers": ottla_shared_broker.kafka, "log_level": 0}
    producer = Producer(settings)
    producer.produce(ottla_topic, b"x" * 5000, on_delivery=lambda e, m: failed.append(e.name()))
    producer.flush(10)
    assert failed == ["MSG_SIZE_TOO_LARGE"]
"""

REFUSED = """
import pytest

@pytest.mark.ottla(settings={"num.partitions": "none"})
def test_refused(ottla_broker):
    pass

@pytest.mark.ottla(settings={"num.partitions": "3"})
def test_marked_and_shared(ottla_shared_broker):
    pass

def test_failing(ottla_shared_broker):
    assert not ottla_shared_broker.is_running
"""

HANGING = """
import pathlib, time

def test_hanging(ottla_cluster):
    ottla_cluster.brokers[1].pause()
    pids = [str(broker.pid) for broker in ottla_cluster.brokers]
    pathlib.Path("pids.new").write_text(" ".join(pids))
    pathlib.Path("pids.new").rename("pids")
    time.sleep(60)
"""


def command(directory: Path, *arguments: str) -> list[str]:
    (directory / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings =\n    error\n"
        "    ignore:.*_text is deprecated:DeprecationWarning\n"  # kafka-python's own files
        "addopts = --strict-markers\nasyncio_mode = auto\n"
        "asyncio_default_fixture_loop_scope = function\n"
    )
    known = any(each.value == "ottla.testing.plugin" for each in entry_points(group="pytest11"))
    plugin = [] if known else ["-p", "ottla.testing.plugin"]
    return [sys.executable, "-m", "pytest", "-q", *plugin, "-p", "no:cacheprovider", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""}


def run(directory: Path, *arguments: str) -> str:
    finished = subprocess.run(
        command(directory, *arguments),
        cwd=directory, env=environment(), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return finished.stdout + finished.stderr


def test_settings_come_from_the_marker_and_from_the_suite(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_marked.py").write_text(MARKED)
    (tmp_path / "test_overridden.py").write_text(OVERRIDDEN)

    assert "2 passed" in run(tmp_path)


def test_report_says_why_there_is_no_broker_and_what_a_broker_logged(tmp_path: Path) -> None:
    (tmp_path / "test_refused.py").write_text(REFUSED)
    said = run(tmp_path)

    assert "broker 0 of 1 did not start: ottla: num.partitions" in said
    assert "the fixture ottla_settings is for the shared ones" in said
    assert "Log of <OttlaBroker 0" in said
    assert "1 failed, 2 errors" in said


def test_example_of_each_client_on_the_page_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "testing.md").read_text()
    blocks = [block.partition("```")[0] for block in page.split("```python\n")[1:]]
    examples = [block for block in blocks if "def test_" in block and "faststream" not in block]
    for number, example in enumerate(examples):
        (tmp_path / f"test_example_{number}.py").write_text(example)

    tests = sum(example.count("def test_") for example in examples)
    assert tests > 6
    assert f"{tests} passed" in run(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_broker_outlives_the_tests(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "test_hanging.py").write_text(HANGING)
    with subprocess.Popen(
        command(tmp_path), cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL
    ) as tests:
        wait_until((tmp_path / "pids").exists)
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        assert all(map(is_alive, pids))
        tests.send_signal(number)
        tests.wait(LONG_S)

    wait_until(lambda: not any(map(is_alive, pids)))


def test_ottla_does_not_need_pytest() -> None:
    program = (
        "import sys; sys.modules['pytest'] = None; import ottla; import ottla.testing.sandbox;"
        "assert 'grpc' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env=environment())


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: object) -> None:
    assert callable(condition)
    deadline_s = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
