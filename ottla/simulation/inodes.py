"""Files and directories of a simulated disk: what they hold, and what of it is durable.

A file's *stable* prefix is what a sync promised and no truncation took back. Behind it,
a crash may leave any of several *versions* of the rest: the present one, or one that was
cut off since the last sync. A truncation that nobody synced may not have happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple

SECTOR_BYTES: Final = 512
"""What a disk writes whole or not at all."""


class _CutOff(NamedTuple):
    """Bytes that followed ``content[:position]`` before a truncation."""

    position: int
    tail: bytes
    durable: bool
    """Whether they were all synced, so that they come back whole or not at all."""


class FileNode:
    """The content of a file."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.stable = 0
        """How many of its first bytes are sure to survive."""
        self.cold = False
        """Whether its bytes are not in the page cache."""
        self._cut_off: list[_CutOff] = []

    def sync_to(self, size: int) -> None:
        """Make the first ``size`` bytes survive; a full sync forgets what was cut off."""
        self.stable = max(self.stable, size)
        if size == len(self.content):
            self._cut_off.clear()
        self._cut_off = [old for old in self._cut_off if old.position >= self.stable]

    def truncate(self, size: int) -> None:
        """Cut the content, remembering that a crash may bring the rest back."""
        self._cut_off = [
            old
            if old.position <= size
            else _CutOff(size, bytes(self.content[size : old.position]) + old.tail, old.durable)
            for old in self._cut_off
        ]
        if size < self.stable:
            durable_tail = bytes(self.content[size : self.stable])
            self._cut_off.append(_CutOff(size, durable_tail, durable=True))
        if max(size, self.stable) < len(self.content):
            self._cut_off.append(_CutOff(size, bytes(self.content[size:]), durable=False))
        self.stable = min(self.stable, size)
        del self.content[size:]

    def reboot(self, random: Random) -> None:
        """Become what a power failure leaves."""
        choice = random.randint(0, 2 * len(self._cut_off) + 1)
        if choice < len(self._cut_off):
            position, tail, durable = self._cut_off[choice]
            rest = bytes(self.content[self.stable : position]) + tail
            rest = rest if durable else _mangled(rest, random)
        else:
            rest = _mangled(bytes(self.content[self.stable :]), random)
        self.content[self.stable :] = rest
        self.stable = len(self.content)
        self.cold = True
        self._cut_off.clear()


class Directory:
    """Names, as the program sees them and as they would be found after a crash."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.durable: dict[str, Entry] = {}

    def reboot(self, random: Random) -> None:
        """Become what a power failure leaves, with everything in it."""
        self.entries = dict(self.durable)
        for name in sorted(self.entries):
            self.entries[name].reboot(random)

    def files(self) -> Iterator[FileNode]:
        """Every file in it and below."""
        for entry in self.entries.values():
            if isinstance(entry, Directory):
                yield from entry.files()
            else:
                yield entry

    def content_bytes(self) -> int:
        """How much its files take."""
        return sum(len(node.content) for node in self.files())


Entry = FileNode | Directory
_View = Callable[[Directory], dict[str, Entry]]
"""Which of a directory's two sets of names is meant."""


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """A new entry got a name."""

    directory: Directory
    name: str
    entry: Entry

    @property
    def directories(self) -> tuple[Directory, ...]:
        """Where a name changed."""
        return (self.directory,)

    def apply_to(self, view: _View) -> None:
        """Make the change in one of the two views."""
        view(self.directory)[self.name] = self.entry


@dataclass(frozen=True, slots=True, eq=False)
class Unlink:
    """An entry lost its name."""

    directory: Directory
    name: str
    entry: Entry

    @property
    def directories(self) -> tuple[Directory, ...]:
        """Where a name changed."""
        return (self.directory,)

    def apply_to(self, view: _View) -> None:
        """Make the change in one of the two views."""
        if view(self.directory).get(self.name) is self.entry:
            del view(self.directory)[self.name]


@dataclass(frozen=True, slots=True, eq=False)
class Move:
    """An entry changed its name, its directory, or both."""

    source: Directory
    source_name: str
    target: Directory
    target_name: str
    entry: Entry

    @property
    def directories(self) -> tuple[Directory, ...]:
        """Where a name changed."""
        return (self.source, self.target)

    def apply_to(self, view: _View) -> None:
        """Make the change in one of the two views."""
        if view(self.source).get(self.source_name) is self.entry:
            del view(self.source)[self.source_name]
            view(self.target)[self.target_name] = self.entry


Change = Link | Unlink | Move
"""A change of names. In the durable view it does nothing where one that it builds on was lost."""


def _mangled(content: bytes, random: Random) -> bytes:
    """What is left of bytes that were written but not synced."""
    match random.randrange(4):
        case 0:
            return b""
        case 1:
            return content
        case 2:
            return content[: random.randint(0, len(content))]
        case _:
            torn = bytearray(content[: random.randint(0, len(content))])
            for start in range(0, len(torn), SECTOR_BYTES):
                size = min(SECTOR_BYTES, len(torn) - start)
                fate = random.random()
                if fate < 1 / 4:
                    torn[start : start + size] = bytes(size)
                elif fate < 1 / 2:
                    torn[start : start + size] = random.randbytes(size)
            return bytes(torn)
