"""Whatever is done to a simulated disk before a crash, what the port promises is there after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ottla.simulation.disk import SimulatedDisk

DIRECTORY = Path("/data")
NAMES = st.sampled_from(["a", "b", "c"])


@dataclass(eq=False)
class Promised:
    """One file: what must be at its beginning, and which names it may be found under."""

    content: bytes = b""
    prefix: bytes = b""
    names: set[str] = field(default_factory=set)
    must_exist: bool = False


class DiskMachine(RuleBasedStateMachine):
    """Uses one directory of a simulated disk, crashes it, and compares."""

    @initialize(seed=st.integers(0, 2**32))
    def make_disk(self, seed: int) -> None:
        self.disk = SimulatedDisk(seed)
        self.disk.make_directory(DIRECTORY)
        self.disk.sync_directory(DIRECTORY.parent)
        self.visible: dict[str, Promised] = {}
        self.files: list[Promised] = []
        self.tag = 0

    @rule(name=NAMES)
    def create(self, name: str) -> None:
        if name not in self.visible:
            self.visible[name] = Promised(names={name})
            self.files.append(self.visible[name])
        self.disk.open(DIRECTORY / name, create=True)

    @rule(name=NAMES, size=st.integers(1, 1500))
    def append(self, name: str, size: int) -> None:
        if name in self.visible:
            self.tag = self.tag % 250 + 1
            self.disk.open(DIRECTORY / name).append([bytes([self.tag]) * size])
            self.visible[name].content += bytes([self.tag]) * size

    @rule(name=NAMES)
    def sync(self, name: str) -> None:
        if name in self.visible:
            self.disk.open(DIRECTORY / name).sync()
            self.visible[name].prefix = self.visible[name].content

    @rule(name=NAMES, share=st.floats(0, 1))
    def truncate(self, name: str, share: float) -> None:
        if name in self.visible:
            file = self.visible[name]
            size = int(share * len(file.content))
            self.disk.open(DIRECTORY / name).truncate(size)
            file.content = file.content[:size]
            file.prefix = file.prefix[:size]

    @rule(old=NAMES, new=NAMES)
    def rename(self, old: str, new: str) -> None:
        if old in self.visible and old != new:
            if new in self.visible:
                self.visible[new].must_exist = False
            file = self.visible.pop(old)
            file.names.add(new)
            self.visible[new] = file
            self.disk.rename(DIRECTORY / old, DIRECTORY / new)

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        if name in self.visible:
            self.visible.pop(name).must_exist = False
            self.disk.remove(DIRECTORY / name)

    @rule()
    def sync_directory(self) -> None:
        self.disk.sync_directory(DIRECTORY)
        self.files = list(self.visible.values())
        for name, file in self.visible.items():
            file.names = {name}
            file.must_exist = True

    @rule()
    def crash(self) -> None:
        self.disk.crash()
        after = {name: self.disk.read(DIRECTORY / name) for name in self.disk.list(DIRECTORY)}
        for name, content in after.items():
            possible = [file for file in self.files if name in file.names]
            assert any(content.startswith(file.prefix) for file in possible), name
        for file in self.files:
            there = [n for n in file.names if n in after and after[n].startswith(file.prefix)]
            assert there or not file.must_exist, file
        self.visible = {
            name: Promised(content, content, {name}, must_exist=True)
            for name, content in after.items()
        }
        self.files = list(self.visible.values())

    @invariant()
    def program_sees_what_it_wrote(self) -> None:
        if hasattr(self, "disk"):
            assert self.disk.list(DIRECTORY) == sorted(self.visible)
            for name, file in self.visible.items():
                assert self.disk.read(DIRECTORY / name) == file.content


DiskMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestDiskPromises = DiskMachine.TestCase
