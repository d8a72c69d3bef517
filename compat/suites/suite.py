"""What a suite is: cases of somebody else's, or a scenario, and a way to run them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from compat.results import CaseResult
from compat.targets import Shape, Target

LAST_WORDS_MAX: Final = 300
"""Characters of a failure's explanation that are kept; the whole is in the case's output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of one suite: where, on what, and how much of it."""

    suite: str
    target: Target
    directory: Path
    """For the output of its cases; it exists."""
    quick: bool
    wanted: str | None
    """Only cases whose name contains this."""
    why_left_out: Callable[[str], str | None]
    jobs: int

    def wants(self, case: str) -> bool:
        """Whether the case was asked for."""
        return self.wanted is None or self.wanted in case


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """What can be run."""

    name: str
    title: str
    """With its version, as the page says it."""
    needs: Sequence[str]
    """Components that must be installed."""
    cases: Callable[[Run], Iterable[CaseResult]]
    """Runs and yields each case as it ends."""
    shape: Shape = field(default=Shape())
    """Of the cluster it wants."""
    in_quick: bool = True
    """Whether a quick run has it."""
    skips_by_itself: bool = False
    """Whether a case that it skips, with its own reason, needs no exemption."""
    targets: frozenset[str] = field(default=frozenset({"ottla", "kafka", "external"}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A program that ran to its end, or out of time."""

    status: int
    timed_out: bool
    seconds: float


_running: Final[set[int]] = set()
"""Process groups of programs that run now, in whatever thread."""


def stop_programs() -> None:
    """Kill every program that runs now; whoever waits for it goes on."""
    for group in list(_running):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def run_program(
    command: Sequence[str | Path],
    *,
    output: Path,
    time_limit_s: float,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run a program with its output in a file; kill all of its processes when the time is up."""
    started_s = time.monotonic()
    timed_out = False
    with output.open("wb") as file:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        _running.add(process.pid)
        try:
            process.wait(time_limit_s)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:  # also when we are told to stop: nothing stays behind
            _running.discard(process.pid)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return Ended(
        status=process.returncode, timed_out=timed_out, seconds=time.monotonic() - started_s
    )
