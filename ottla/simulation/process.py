"""Something that runs in the world, and can be stopped by force: a broker's process, or a client.

A process schedules what it does through itself. When it dies, what it had scheduled does not
happen any more; while it is paused it is put off, and happens when it goes on, in the same order.
That is what ``kill -9`` and ``SIGSTOP`` do.

Each process has a clock of its own. The monotonic one runs up to a tenth too fast or too slow and
starts anywhere; the wall clock is the world's, plus what somebody set it to.
"""

from __future__ import annotations

from typing import Final

from ottla.simulation.world import Action, World

WALL_START_MS: Final = 1_700_000_000_000


class ProcessClock:
    """What time a process believes it is; see :class:`ottla.runtime.clock.Clock`."""

    def __init__(self, world: World, *, rate: float, wall_offset_ms: int) -> None:
        """Run ``rate`` times as fast as the world."""
        self.rate: Final = rate
        self.wall_offset_ms = wall_offset_ms
        self._world = world
        self._started_ms = world.now_ms

    def now_ms(self) -> int:
        return 1_000_000 + int((self._world.now_ms - self._started_ms) * self.rate)

    def wall_ms(self) -> int:
        return WALL_START_MS + self._world.now_ms + self.wall_offset_ms


class Process:
    """One life of something."""

    def __init__(self, world: World, number: int, name: str, clock: ProcessClock) -> None:
        """Begin to live. ``number`` is its address in the network."""
        self.world: Final = world
        self.number: Final = number
        self.name: Final = name
        self.clock: Final = clock
        self.alive = True
        self.paused = False
        self._held: list[tuple[str, Action]] = []

    def __repr__(self) -> str:
        state = "paused" if self.paused else "alive" if self.alive else "dead"
        return f"<Process {self.name} {state}>"

    def after(self, delay_ms: float, label: str, action: Action) -> None:
        """Do something ``delay_ms`` of its own clock from now, unless it is dead then."""
        world_ms = int(delay_ms / self.clock.rate) + 1 if delay_ms > 0 else 0
        self.world.after(world_ms, label, lambda: self.run(label, action))

    def run(self, label: str, action: Action) -> None:
        """Do something now if it is alive; later if it is paused."""
        if not self.alive:
            return
        if self.paused:
            self._held.append((label, action))
            return
        self.perform(action)

    def perform(self, action: Action) -> None:
        """Do it; whoever has ways of failing overrides this."""
        action()

    def note(self, what: str) -> None:
        """Put something down in the history."""
        self.world.note(self.name, what)

    def pause(self) -> None:
        """Stop without noticing it."""
        self.paused = True

    def resume(self) -> None:
        """Go on."""
        self.paused = False
        held, self._held = self._held, []
        for label, action in held:
            self.run(label, action)

    def die(self) -> None:
        """Be no more."""
        self.alive = False
        self._held.clear()
