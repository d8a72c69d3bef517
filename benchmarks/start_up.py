"""How long until the command line answers, and until one broker or three of them serve?"""

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
        Figure(
            name="`ottla up --ephemeral`, three brokers, to ready",
            unit="ms",
            rounds=rounds(_three_ready_ms, count=10),
            goal=2_000,
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


def _three_ready_ms() -> float:
    command = Path(sys.executable).parent / "ottla"
    started = time.perf_counter()
    with subprocess.Popen(
        [
            command,
            "up",
            "--ephemeral",
            "--json",
            "--grpc-port",
            "0",
            "--kafka-port",
            "0",
            "--http-port",
            "0",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as up:
        assert up.stdout is not None
        assert up.stdout.readline(), "three brokers did not start"
        took_ms = (time.perf_counter() - started) * 1e3
        up.terminate()
    return took_ms
