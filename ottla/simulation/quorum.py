"""A broker's node of the metadata quorum: its engine, its links, and when it ticks.

The node with the higher number dials. Both ends look whether the other is a voter with another data
directory than the metadata log knows: it has forgotten its votes, and gets no link. A new link
replaces an old one with the same peer, which may be one whose end has not been noticed yet. The
engine ticks after whatever arrives, and every ``TICK_INTERVAL_MS`` besides; on a slow disk a tick
waits, for it syncs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ottla.controller.raft.consensus import ReplicatedStateMachine, RoleChanged
from ottla.controller.raft.engine import RaftEngine
from ottla.controller.raft.messages import Message
from ottla.controller.raft.settings import RaftSettings
from ottla.model.ids import BrokerId
from ottla.runtime.files import FileSystem
from ottla.simulation.conversation import QUORUM
from ottla.simulation.network import LinkEnd, Network
from ottla.simulation.process import Process

TICK_INTERVAL_MS: Final = 40
REDIAL_MIN_MS: Final = 20
REDIAL_MAX_MS: Final = 120

METADATA_DIRECTORY: Final = Path("/data/metadata")


@dataclass(slots=True)
class _Present:
    """The link with a peer."""

    end: LinkEnd
    number: int


class QuorumNode:
    """One node; implements the engine's transport."""

    def __init__(
        self,
        process: Process,
        network: Network,
        *,
        voters: frozenset[BrokerId],
        file_system: FileSystem,
        machine: ReplicatedStateMachine,
        settings: RaftSettings,
        engine_class: type[RaftEngine],
        role_changed: Callable[[RoleChanged], None],
        ticked: Callable[[], None],
        disk_delay_ms: Callable[[], int],
        said: Callable[[BrokerId, Message], None],
        admits: Callable[[Process], bool],
    ) -> None:
        """Open the engine; :meth:`start` lets it run."""
        self._process = process
        self._network = network
        self._voters = voters
        self._id = BrokerId(process.number)
        self._ticked = ticked
        self._disk_delay_ms = disk_delay_ms
        self._said = said
        self._admits = admits
        self._links: dict[BrokerId, _Present] = {}
        self._numbers = 0
        self._woken = False
        self.engine: Final = engine_class(
            node_id=self._id,
            voters=voters,
            directory=METADATA_DIRECTORY,
            machine=machine,
            file_system=file_system,
            clock=process.clock,
            draw=process.world.random.random,
            transport=self,
            role_changed=role_changed,
            settings=settings,
        )

    @property
    def present(self) -> frozenset[BrokerId]:
        """The peers with a link now."""
        return frozenset(self._links)

    def start(self) -> None:
        """Dial, and begin to tick."""
        for voter in sorted(self._voters):
            if voter < self._id:
                self._dial(voter)
        self._tick_on()

    def wake(self) -> None:
        """Tick soon: there is something to do."""
        if not self._woken:
            self._woken = True
            self._process.after(self._disk_delay_ms(), "woken", self._tick_woken)

    # --- The engine's transport ---

    def send(self, peer: BrokerId, message: Message) -> None:
        """Send on the peer's link, if there is one."""
        present = self._links.get(peer)
        if present is not None:
            present.end.send(message)
            self._said(peer, message)

    # --- Links ---

    def accept(self, end: LinkEnd, peer: BrokerId) -> bool:
        """Take a link that ``peer`` dialled."""
        if peer not in self._voters and self._id not in self._voters:
            return False
        if not self._admits(end.peer.process):
            return False
        self._connected(peer, end)
        return True

    def _dial(self, peer: BrokerId) -> None:
        def redial() -> None:
            delay_ms = self._process.world.between(REDIAL_MIN_MS, REDIAL_MAX_MS)
            self._process.after(delay_ms, "redial", lambda: self._dial(peer))

        def opened(end: LinkEnd) -> None:
            if self._admits(end.peer.process):
                self._connected(peer, end, ended=redial)
            else:
                end.close()
                redial()

        self._network.dial(
            self._process, peer, service=QUORUM, hello=self._id, opened=opened, failed=redial
        )

    def _connected(
        self, peer: BrokerId, end: LinkEnd, ended: Callable[[], None] = lambda: None
    ) -> None:
        old = self._links.pop(peer, None)
        if old is not None:
            old.end.close()
        self._numbers += 1
        number = self._numbers
        self._links[peer] = _Present(end, number)
        self.engine.connected(peer, number)

        def receive(message: object) -> None:
            assert isinstance(message, Message)
            self.engine.receive(peer, number, message)
            self.wake()

        def end_noticed() -> None:
            present = self._links.get(peer)
            if present is not None and present.number == number:
                del self._links[peer]
                self.engine.disconnected(peer, number)
                self.wake()
            ended()

        end.on_message = receive
        end.on_end = end_noticed
        self.wake()

    # --- Ticks ---

    def _tick_on(self) -> None:
        self._tick()
        self._process.after(TICK_INTERVAL_MS, "tick", self._tick_on)

    def _tick_woken(self) -> None:
        self._woken = False
        self._tick()

    def _tick(self) -> None:
        self.engine.tick()
        self._ticked()
