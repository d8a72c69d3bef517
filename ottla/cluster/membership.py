"""This broker's place in the cluster: how it comes, stays and goes.

::

    (start) ──register()──► registered, fenced ──unfence()──► serving ──leave()──► leaving
                                                               ▲   │
                                              asks to be       └───┘ fenced, for it was
                                              unfenced again         not heard from

A broker that hangs, or that is stopped and goes on later, is fenced meanwhile and knows nothing of
it. It hears so from the controller in its session, and then asks to be unfenced when it has caught
up with the metadata log as far as the controller was when it said so: by then it knows who leads
what. That it takes a session to hear it keeps a broker that cannot be heard from asking; if it is
fenced again and again all the same, it waits longer each time.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from ottla.cluster.broker_sessions import SessionAnswer
from ottla.cluster.controller_driver import Answer, Served
from ottla.cluster.deadline import Deadline
from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.submits import Submits
from ottla.controller.requests import Asks, BeginShutdown, RegisterBroker, UnfenceBroker
from ottla.model.errors import OttlaError, RetriableError
from ottla.model.ids import NO_METADATA, BrokerEpoch, BrokerId, MetadataOffset
from ottla.model.image import ClusterImage, PartitionImage
from ottla.runtime.clock import Clock
from ottla.runtime.logging import Event, Severity, emit

FENCED = Event("broker.fenced", Severity.WARNING)
UNFENCED_AGAIN = Event("broker.unfenced_again")
HANDED_OVER = Event("broker.handed_over")
NOT_HANDED_OVER = Event("broker.not_handed_over", Severity.WARNING)

UNFENCE_TIMEOUT_MS: Final = 5_000
"""For one attempt to come back; the next answer in the session begins another."""

FAREWELL_TIMEOUT_MS: Final = 500
"""For the controller to hear that a broker stops which has nothing to hand over. The end of its
session says it too, a moment later."""

STEADY_MS: Final = 60_000
"""A broker that was not fenced for so long comes back at once when it is."""

BACKOFF_FIRST_MS: Final = 500
BACKOFF_MAX_MS: Final = 30_000
"""How long a broker that is fenced again and again stays away: partitions that change their leader
all the time serve nobody."""


class Controllers(Submits, Protocol):
    """See :class:`~ottla.cluster.controller_client.ControllerClient`."""

    async def serve(self, request: Asks[Answer], *, timeout_ms: int) -> Served[Answer]:
        """Have the controller serve the request; do not wait until it is carried out here."""


class Membership:
    """Registers this broker and keeps it serving. Used on one event loop."""

    def __init__(
        self,
        *,
        broker_id: BrokerId,
        controller: Controllers,
        applied: MetadataCache,
        metadata: MetadataCache,
        clock: Clock,
    ) -> None:
        """Wire it; ``applied`` is ahead of ``metadata``, which this broker has carried out."""
        self._broker_id = broker_id
        self._applied = applied
        self._controller = controller
        self._metadata = metadata
        self._clock = clock
        self._broker_epoch: BrokerEpoch | None = None
        self._registered_at = NO_METADATA
        self._is_to_serve = False
        self._fenced_at: MetadataOffset = NO_METADATA
        self._fenced = asyncio.Event()
        self._unfenced_at_ms: int | None = None
        self._backoff_ms = 0

    def __repr__(self) -> str:
        state = "is to serve" if self._is_to_serve else "is not to serve"
        return f"<Membership of broker {self._broker_id}, epoch {self._broker_epoch}, {state}>"

    @property
    def broker_epoch(self) -> BrokerEpoch:
        """The epoch of this life of the broker, once it is registered."""
        assert self._broker_epoch is not None, "not registered"
        return self._broker_epoch

    async def register(self, request: RegisterBroker, *, timeout_ms: int) -> BrokerEpoch:
        """Register this broker, fenced; by then the registration is applied here.

        Before, what is applied may be anything that was once so: the journal does not know how much
        of it is committed. So a broker that starts carries nothing out until it is registered, lest
        it takes the logs of topics that it has not heard of yet for ones that are no more.

        Raises what :meth:`ControllerClient.serve` raises; a :exc:`RetriableError` is worth another
        try, with the same incarnation id.
        """
        assert request.broker_id == self._broker_id, request
        deadline = Deadline(timeout_ms)
        served = await self._controller.serve(request, timeout_ms=timeout_ms)
        await self._applied.wait_for(
            lambda image: image.metadata_offset >= served.metadata_offset,
            timeout_ms=deadline.left_ms,
            what="this broker is registered; hearing of it here",
        )
        self._broker_epoch, self._registered_at = served
        return self._broker_epoch

    async def unfence(self, *, timeout_ms: int) -> None:
        """Ask that this broker leads, is in sync and gets clients from now on.

        It has a session by then. Waits until it has carried out the metadata log up to its
        registration.
        """
        deadline = Deadline(timeout_ms)
        await self._metadata.wait_for(
            lambda image: image.metadata_offset >= self._registered_at,
            timeout_ms=timeout_ms,
            what="carrying out the metadata log up to the registration",
        )
        await self._unfence(timeout_ms=deadline.left_ms)
        self._is_to_serve = True

    async def leave(self, *, timeout_ms: int) -> bool:
        """Have others lead what this broker leads; return whether that was done in time.

        Waits for partitions that nobody else can lead yet but that somebody is about to, and for
        nothing else; not even long for a controller if nobody is there to hand anything over to,
        as when all brokers stop. Raises nothing: a broker may stop without, and others find out.
        """
        self._is_to_serve = False
        if self._broker_epoch is None:
            return True
        if not self._waits_for_others(self._metadata.image):
            timeout_ms = min(timeout_ms, FAREWELL_TIMEOUT_MS)
        deadline = Deadline(timeout_ms)
        request = BeginShutdown(broker_id=self._broker_id, broker_epoch=self._broker_epoch)
        try:
            while await self._controller.submit(request, timeout_ms=deadline.left_ms):
                image = await self._metadata.wait_for(
                    self._is_worth_asking_again,
                    timeout_ms=deadline.left_ms,
                    what="that another broker can lead what this one leads",
                )
                if not self._waits_for_others(image):
                    break
        except OttlaError as error:
            emit(NOT_HANDED_OVER, led=len(self._led(self._metadata.image)), reason=str(error))
            return False
        led = len(self._led(self._metadata.image))
        emit(HANDED_OVER, led_by_nobody_else=led)
        return led == 0

    # --- Staying ---

    def answered(self, answer: SessionAnswer) -> None:
        """Hear what the controller says in the session."""
        if answer.fenced and self._is_to_serve:
            self._fenced_at = answer.metadata_offset
            self._fenced.set()

    async def run(self) -> None:
        """Come back whenever this broker was fenced though it lives, until cancelled.

        Raises :exc:`StaleBrokerEpochError` or :exc:`BrokerIdNotRegisteredError` if it cannot,
        because this process is not the broker any more.
        """
        while True:
            await self._fenced.wait()
            self._fenced.clear()
            try:
                await self._come_back()
            except RetriableError:
                # Without a controller there is no session either; the next one says it again.
                continue

    async def _come_back(self) -> None:
        await self._caught_up()
        if not self._is_fenced(self._metadata.image):
            return  # the answer had been given before we were unfenced
        emit(FENCED, metadata_offset=self._fenced_at)
        await self._back_off()
        await self._caught_up()
        if self._is_to_serve and self._is_fenced(self._metadata.image):
            await self._unfence(timeout_ms=UNFENCE_TIMEOUT_MS)
            emit(UNFENCED_AGAIN)

    async def _caught_up(self) -> None:
        await self._metadata.wait_for(
            lambda image: image.metadata_offset >= self._fenced_at,
            timeout_ms=UNFENCE_TIMEOUT_MS,
            what="catching up with the metadata log",
        )

    async def _back_off(self) -> None:
        now_ms, unfenced_at_ms = self._clock.now_ms(), self._unfenced_at_ms
        if unfenced_at_ms is None or now_ms - unfenced_at_ms > STEADY_MS:
            self._backoff_ms = 0
            return
        if self._backoff_ms:
            await asyncio.sleep(self._backoff_ms / 1000)
        self._backoff_ms = min(BACKOFF_MAX_MS, max(BACKOFF_FIRST_MS, 2 * self._backoff_ms))

    async def _unfence(self, *, timeout_ms: int) -> None:
        await self._controller.submit(
            UnfenceBroker(broker_id=self._broker_id, broker_epoch=self.broker_epoch),
            timeout_ms=timeout_ms,
        )
        self._unfenced_at_ms = self._clock.now_ms()

    def _is_fenced(self, image: ClusterImage) -> bool:
        broker = image.brokers.get(self._broker_id)
        return broker is not None and broker.broker_epoch == self._broker_epoch and broker.fenced

    # --- Leaving ---

    def _led(self, image: ClusterImage) -> list[PartitionImage]:
        return [
            partition
            for topic in image.topics.values()
            for partition in topic.partitions
            if partition.leader == self._broker_id
        ]

    def _is_worth_asking_again(self, image: ClusterImage) -> bool:
        waiting = self._waits_for_others(image)
        in_sync = [any(map(self._stays, partition.in_sync_replicas)) for partition in waiting]
        return not waiting or any(in_sync)

    def _waits_for_others(self, image: ClusterImage) -> list[PartitionImage]:
        """Return what is led here and replicated by a broker that stays, in sync or not yet."""
        return [
            partition for partition in self._led(image) if any(map(self._stays, partition.replicas))
        ]

    def _stays(self, broker_id: BrokerId) -> bool:
        broker = self._metadata.image.brokers.get(broker_id)
        return (
            broker is not None
            and broker_id != self._broker_id
            and not broker.fenced
            and not broker.shutting_down
        )
