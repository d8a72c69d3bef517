"""A node that is killed in full load has, when it is started again, all that it acknowledged."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from ottla.controller.raft.engine import RaftEngine
from ottla.controller.raft.settings import RaftSettings
from ottla.controller.raft.transport import NoPeers
from ottla.model.ids import BrokerId
from ottla.runtime.posix import PosixFileSystem
from ottla.runtime.system_clock import SystemClock
from tests.controller.raft.cluster import Machine

ROOT = Path(__file__).parents[3]
ROUNDS = 3
ACKNOWLEDGED_MIN = 300

PROGRAM = """
import sys
from pathlib import Path
from tests.controller.raft.test_kill import start
engine, machine = start(Path(sys.argv[1]))
engine.tick()
number = len(machine.entries)
while True:
    for _ in range(7):
        number += 1
        engine.propose(b"%d" % number, lambda outcome, answer, n=number: print(n, flush=True))
    engine.tick()
"""


def start(directory: Path) -> tuple[RaftEngine, Machine]:
    machine = Machine()
    engine = RaftEngine(
        node_id=BrokerId(1),
        voters=frozenset({BrokerId(1)}),
        directory=directory,
        machine=machine,
        file_system=PosixFileSystem(),
        clock=SystemClock(),
        draw=Random(1).random,
        transport=NoPeers(),
        settings=RaftSettings(log_entries_max=200, trailing_entries_max=20),
    )
    return engine, machine


@pytest.mark.integration
def test_killed_node_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    directory = tmp_path / "metadata"
    acknowledged = 0
    for _ in range(ROUNDS):
        command = [sys.executable, "-c", PROGRAM, str(directory)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            goal = acknowledged + ACKNOWLEDGED_MIN
            while acknowledged < goal:
                acknowledged = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read().split("\n")[:-1]  # the last line may be half a number
            acknowledged = max([acknowledged, *map(int, rest)])

        engine, machine = start(directory)
        engine.tick()
        texts = machine.texts()
        engine.close()

        assert texts == [str(number) for number in range(1, len(texts) + 1)]
        assert len(texts) >= acknowledged
