"""How long until the command line answers, and until a broker serves?"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.report import Figure, rounds
from ottla.testing.broker_process import BrokerProcess


def measure(directory: Path) -> list[Figure]:
    """Whole processes, from ``exec`` on."""
    del directory
    return [
        Figure(
            name="`ottla --help`",
            unit="ms",
            rounds=rounds(_help_ms, count=10),
            goal=150,
            lower_is_better=True,
        ),
        Figure(
            name="`ottla up --brokers 1 --ephemeral` to ready",
            unit="ms",
            rounds=rounds(_ready_ms, count=10),
            goal=600,
            lower_is_better=True,
        ),
    ]


def _help_ms() -> float:
    command = Path(sys.executable).parent / "ottla"
    started = time.perf_counter()
    subprocess.run([command, "--help"], check=True, capture_output=True)
    return (time.perf_counter() - started) * 1e3


def _ready_ms() -> float:
    started = time.perf_counter()
    with BrokerProcess():
        return (time.perf_counter() - started) * 1e3
