"""How a simulated broker belongs to the cluster: registration, heartbeats, being let in.

    cluster id known ─► logs opened ─► registered ─► session ─► caught up ─► unfenced ─► serves

A broker that is fenced, because it was not heard from, asks to be let in again as soon as it has a
session and sees itself fenced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from ottla.controller.requests import BeginShutdown, RegisterBroker, UnfenceBroker
from ottla.model.errors import InconsistentVoterSetError
from ottla.model.ids import NO_BROKER, NO_METADATA, BrokerEpoch, BrokerId, MetadataOffset
from ottla.model.image import ClusterImage
from ottla.simulation.controller_client import ControllerClient
from ottla.simulation.controller_shell import Result
from ottla.simulation.conversation import SESSION, Served
from ottla.simulation.network import LinkEnd, Network
from ottla.simulation.process import Process

REDIAL_MIN_MS: Final = 20
REDIAL_MAX_MS: Final = 150
HEARTBEATS_PER_TIMEOUT: Final = 6
HAND_OVER_MAX_MS: Final = 3_000


class SessionIdentity(NamedTuple):
    """Whose session it is."""

    broker_id: BrokerId
    broker_epoch: BrokerEpoch


class Membership:
    """One broker's place in the cluster, from its own point of view."""

    def __init__(
        self,
        process: Process,
        network: Network,
        client: ControllerClient,
        *,
        session_timeout_ms: int,
        image: Callable[[], ClusterImage],
    ) -> None:
        """Know nothing yet; ``image`` is the newest carried out here."""
        self._process = process
        self._network = network
        self._client = client
        self._heartbeat_ms = session_timeout_ms // HEARTBEATS_PER_TIMEOUT
        self._image = image
        self._broker = BrokerId(process.number)
        self._session: LinkEnd | None = None
        self._unfencing = False
        self._seen_needed = NO_METADATA
        self.broker_epoch: BrokerEpoch | None = None
        """``None`` before the registration is answered."""
        self.serving = False
        """Whether it has been let in once."""
        self._stopping = False

    def register(self, request: RegisterBroker) -> None:
        """Register, however long it takes."""

        def registered(result: Result) -> None:
            if isinstance(result, InconsistentVoterSetError):
                # Somebody must readmit this voter first.
                self._process.after(REDIAL_MAX_MS, "register", lambda: self.register(request))
                return
            assert isinstance(result, Served), result
            assert isinstance(result.response, int)
            self.broker_epoch = BrokerEpoch(result.response)
            self._seen_needed = MetadataOffset(result.metadata_offset)
            self._process.note(f"registered with epoch {self.broker_epoch}")
            self._dial()

        self._client.submit(request, registered)

    def image_carried_out(self, image: ClusterImage) -> None:
        """Look at one's own place in a new image."""
        me = image.brokers.get(self._broker)
        if me is None or me.broker_epoch != self.broker_epoch:
            return
        if not me.fenced and not self.serving and image.metadata_offset >= self._seen_needed:
            self.serving = True
        if me.fenced and self._session is not None:
            self._unfence()

    def begin_shutdown(self, handed_over: Callable[[], None]) -> None:
        """Ask that others lead; ``handed_over`` is called when nothing is left, or in the end."""
        self._stopping = True
        if self.broker_epoch is None:
            handed_over()
            return
        request = BeginShutdown(broker_id=self._broker, broker_epoch=self.broker_epoch)
        waiting = [handed_over]

        def finish() -> None:
            if waiting:
                waiting.pop()()

        def ask() -> None:
            if waiting:
                self._client.ask_once(request, answered)

        def answered(result: Result) -> None:
            if isinstance(result, Served) and not result.response:
                finish()
            elif waiting:
                self._process.after(100, "handing over", ask)

        ask()
        self._process.after(HAND_OVER_MAX_MS, "handed over", finish)

    # --- The session ---

    def _dial(self) -> None:
        controller = self._image().controller_id
        if controller == NO_BROKER:
            self._redial()
            return
        assert self.broker_epoch is not None
        self._network.dial(
            self._process,
            controller,
            service=SESSION,
            hello=SessionIdentity(self._broker, self.broker_epoch),
            opened=self._opened,
            failed=self._redial,
        )

    def _redial(self) -> None:
        delay_ms = self._process.world.between(REDIAL_MIN_MS, REDIAL_MAX_MS)
        self._process.after(delay_ms, "redial", self._dial)

    def _opened(self, end: LinkEnd) -> None:
        self._session = end

        def ended() -> None:
            self._session = None
            self._redial()

        end.on_end = ended
        self._beat(end)
        self.image_carried_out(self._image())

    def _beat(self, end: LinkEnd) -> None:
        if self._session is end:
            end.send("heartbeat")
            self._process.after(self._heartbeat_ms, "heartbeat", lambda: self._beat(end))

    def _unfence(self) -> None:
        if self._unfencing or self._stopping or self.broker_epoch is None:
            return
        if self._image().metadata_offset < self._seen_needed:
            return
        self._unfencing = True

        def answered(result: Result) -> None:
            self._unfencing = False
            if isinstance(result, Served):
                self._process.note("unfenced")

        request = UnfenceBroker(broker_id=self._broker, broker_epoch=self.broker_epoch)
        self._client.submit(request, answered)
