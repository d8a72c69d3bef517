"""The Python programs that the README shows run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ottla.testing.broker_process import BrokerProcess

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
DEFAULT_ADDRESS = "127.0.0.1:7092"


@pytest.mark.parametrize("program", PROGRAMS, ids=["asynchronous", "blocking"])
def test_program_of_the_readme_prints_what_it_sent(program: str) -> None:
    with BrokerProcess(environment={"OTTLA_AUTO_CREATE_TOPICS_ENABLE": "true"}) as broker:
        running = subprocess.Popen(
            [sys.executable, "-u", "-c", program.replace(DEFAULT_ADDRESS, broker.grpc_address)],
            stdout=subprocess.PIPE,
            env={"OTTLA_BOOTSTRAP": broker.grpc_address},
        )
        with running:
            assert running.stdout is not None
            line = running.stdout.readline()
            running.kill()

    assert re.match(rb"\d 0", line)


def test_every_page_that_a_page_links_to_exists() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    missing = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]

    assert missing == []
