"""The Python programs that the README and the page on Kafka's clients show run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ottla.testing.broker_process import BrokerProcess

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
GRPC_ADDRESS = "127.0.0.1:7092"
KAFKA_ADDRESS = "localhost:9092"


def programs(page: str) -> Iterator[tuple[str, str]]:
    """Yield the page with each program that it shows."""
    for program in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
        yield page, program


SHOWN = [*programs("README.md"), *programs("docs/kafka.md")]


@pytest.fixture(scope="module")
def broker() -> Iterator[BrokerProcess]:
    with BrokerProcess() as running:
        yield running


@pytest.mark.parametrize(
    "program",
    [program for _, program in SHOWN],
    ids=[f"{page}-{number}" for number, (page, _) in enumerate(SHOWN)],
)
def test_program_of_a_page_prints_where_its_record_is(broker: BrokerProcess, program: str) -> None:
    written = program.replace(GRPC_ADDRESS, broker.grpc_address)
    running = subprocess.Popen(
        [sys.executable, "-u", "-c", written.replace(KAFKA_ADDRESS, broker.kafka_address)],
        stdout=subprocess.PIPE,
        env={"OTTLA_BOOTSTRAP": broker.grpc_address},
    )
    with running:
        assert running.stdout is not None
        line = running.stdout.readline()
        running.kill()

    assert re.match(rb"\d \d", line)


def test_every_page_that_a_page_links_to_exists() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    missing = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]

    assert missing == []
