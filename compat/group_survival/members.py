"""The members: processes that print a JSON line for each thing that they do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from compat.installation import CACHE, ROOT, ensure, node

PROGRAMS: Final = ROOT / "compat" / "clients" / "group_members"
CLIENTS: Final = "compat.clients.group_members"

LEAVES_WITHIN_S: Final = 20.0

Command = Sequence[str | Path]


@dataclass(frozen=True, slots=True)
class Group:
    """What every member is told."""

    bootstrap: str
    grpc: str
    group_id: str
    topic: str
    protocol: str
    """``classic``, ``cooperative`` or ``consumer``."""
    session_ms: int

    def arguments(self, name: str) -> list[str]:
        """Return the arguments of a program; it notes its name with what it commits."""
        return [
            self.bootstrap, self.group_id, self.topic, self.protocol, str(self.session_ms), name,
        ]  # fmt: skip


def _confluent_python(group: Group, name: str) -> Command:
    return sys.executable, PROGRAMS / "member.py", *group.arguments(name)


def _grpc(group: Group, name: str) -> Command:
    arguments = group.arguments(name)[1:]
    return sys.executable, "-m", f"{CLIENTS}.member_grpc", group.grpc, *arguments


def _node(program: str, component: str) -> Callable[[Group, str], Command]:
    def command(group: Group, name: str) -> Command:
        # Node looks for packages beside the program, so the program goes to the packages.
        copies = ensure(component) / "scenarios"
        copies.mkdir(exist_ok=True)
        copy = Path(shutil.copy(PROGRAMS / program, copies))
        return node(), copy, *group.arguments(name)

    return command


def _java(group: Group, name: str) -> Command:
    jars = ensure("java-clients") / "jars"
    classes = CACHE / "runs" / "group-members"
    source, made = PROGRAMS / "Member.java", classes / "Member.class"
    if not made.exists() or made.stat().st_mtime < source.stat().st_mtime:
        compiler = ["javac", "-cp", f"{jars}/*", "-d", str(classes), str(source)]
        subprocess.run(compiler, check=True, capture_output=True)
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
    classpath = f"{jars}/*{os.pathsep}{classes}"
    return (
        "java",
        "-Xmx128m",
        "-XX:TieredStopAtLevel=1",
        quiet,
        "-cp",
        classpath,
        "Member",
        *(group.arguments(name)),
    )


KINDS: Final[Mapping[str, Callable[[Group, str], Command]]] = {
    "python": _confluent_python,
    "grpc": _grpc,
    "kafkajs": _node("kafkajs.mjs", "node-clients"),
    "javascript": _node("confluent_javascript.mjs", "confluent-javascript"),
    "java": _java,
}
"""By name: how a member is started."""

THREE_LANGUAGES: Final[Mapping[str, Sequence[str]]] = {
    "classic": ("python", "kafkajs", "java", "javascript"),
    "cooperative": ("python", "javascript", "java", "python"),
    "consumer": ("python", "javascript", "java", "grpc"),
}
"""By protocol: four members."""


NEEDS: Final = ("node-clients", "confluent-javascript", "java-clients")
"""Components that must be installed for all kinds."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a member."""

    member: str
    at_s: float
    what: str
    detail: Mapping[str, Any]


class Journal:
    """What all members told, in the order in which it was read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: list[Event] = []

    def add(self, event: Event) -> None:
        """Take note."""
        with self._lock:
            self._events.append(event)

    def events(self) -> list[Event]:
        """Return all so far."""
        with self._lock:
            return list(self._events)

    def of(self, member: str) -> list[Event]:
        """Return those of one member."""
        return [event for event in self.events() if event.member == member]


@dataclass(slots=True)
class Member:
    """One process."""

    name: str
    kind: str
    journal: Journal
    log: Path
    """What it wrote to its standard error."""
    process: subprocess.Popen[bytes]
    assigned: frozenset[int] = frozenset()
    is_paused: bool = False
    is_leaving: bool = False
    _reader: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, name=self.name, daemon=True)
        self._reader.start()

    @classmethod
    def start(cls, name: str, kind: str, group: Group, journal: Journal, logs: Path) -> Member:
        """Start one."""
        log = logs / f"{name}.log"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [str(part) for part in KINDS[kind](group, name)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                start_new_session=True,
            )
        return cls(name=name, kind=kind, journal=journal, log=log, process=process)

    @property
    def is_member(self) -> bool:
        """Whether it is to have partitions."""
        return self.process.poll() is None and not self.is_paused and not self.is_leaving

    def kill(self) -> None:
        """``kill -9``; what it had told is read."""
        self.process.kill()
        self._ended()

    def leave(self) -> None:
        """Ask it to leave the group and end; if it does not soon, kill it."""
        self.is_leaving = True
        self.process.terminate()
        try:
            self.process.wait(LEAVES_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._ended()

    def pause(self) -> None:
        """``SIGSTOP``."""
        self.is_paused = True
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """``SIGCONT``."""
        self.process.send_signal(signal.SIGCONT)
        self.is_paused = False

    def _ended(self) -> None:
        self.process.wait()
        self._reader.join()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.assigned = frozenset()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                told = json.loads(line)
            except ValueError:
                told = {"at": 0.0, "event": "said", "what": line.decode(errors="replace")}
            at_s, what = told.pop("at"), told.pop("event")
            if what == "assigned":
                self.assigned = frozenset(told["partitions"])
            self.journal.add(Event(self.name, at_s, what, told))
