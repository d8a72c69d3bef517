"""Children of one command start together, are brought back when they die, and end with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ottla.cli.failure import CommandError
from ottla.cli.supervisor import Child, Document, Supervisor

# What each test's children do is a few lines, after these.
PRELUDE = """
import os, sys, time
def ready(**more): print('{"pid": %d}' % os.getpid(), flush=True)
def tell(text): print(text, file=sys.stderr, flush=True)
def wait(): sys.stdin.buffer.read()
"""
GOOD = "tell('hello'); ready(); wait(); tell('goodbye')"
STUBBORN = "ready(); wait(); time.sleep(60)"


class World:
    """A supervisor, and what it and its children said."""

    def __init__(self, *scripts: str, restart: bool = True, stop_grace_s: float = 20.0) -> None:
        self.shown: list[str] = []
        self.said: list[str] = []
        self.ready: asyncio.Future[Mapping[str, Document]] = asyncio.Future()
        self._heard = asyncio.Event()
        self.supervisor = Supervisor(
            [
                # -S -E: an interpreter starts in half the time.
                Child(name=f"child-{i}", command=[sys.executable, "-S", "-E", "-c", PRELUDE + code])
                for i, code in enumerate(scripts)
            ],
            show=lambda name, line: self._hear(self.shown, f"{name}: {line.decode()}"),
            say=lambda sentence: self._hear(self.said, sentence),
            restart=restart,
            pause_s=0.01,
            stop_grace_s=stop_grace_s,
        )

    async def run(self) -> int:
        return await asyncio.wait_for(self.supervisor.run(self.ready.set_result), 30)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self._heard.clear()
                await self._heard.wait()

    def _hear(self, lines: list[str], line: str) -> None:
        lines.append(line)
        self._heard.set()


@asynccontextmanager
async def running(world: World) -> AsyncIterator[asyncio.Task[int]]:
    """Run until the block ends or ends it; all children are ready inside."""
    task = asyncio.create_task(world.run())
    await asyncio.wait((task, world.ready), return_when=asyncio.FIRST_COMPLETED)
    try:
        yield task
    finally:
        world.supervisor.kill()
        with contextlib.suppress(CommandError):
            await task


def is_alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


# --- Start and stop -------------------------------------------------------------------


async def test_it_is_ready_when_every_child_is() -> None:
    world = World(GOOD, GOOD, GOOD)
    async with running(world):
        ready = world.ready.result()

        assert {name: document["pid"] for name, document in ready.items()} == world.supervisor.pids
        assert list(ready) == ["child-0", "child-1", "child-2"]


async def test_told_to_stop_all_children_stop_in_good_order() -> None:
    world = World(GOOD, GOOD)
    async with running(world) as task:
        world.supervisor.stop()

        assert await task == 0
    assert sorted(line for line in world.shown if "goodbye" in line) == [
        "child-0: goodbye",
        "child-1: goodbye",
    ]
    assert world.said == []


async def test_stop_in_the_middle_of_the_start_ends_it() -> None:
    world = World("tell('coming'); wait()")
    task = asyncio.create_task(world.run())
    await world.until(lambda: bool(world.shown))

    world.supervisor.stop()

    assert await task == 0
    assert not world.ready.done()


async def test_child_that_ends_badly_when_told_to_stop_is_a_failure() -> None:
    world = World("ready(); wait(); sys.exit(1)")
    async with running(world) as task:
        world.supervisor.stop()

        assert await task == 1


async def test_child_that_does_not_stop_in_time_is_killed() -> None:
    world = World(STUBBORN, stop_grace_s=0.1)
    async with running(world) as task:
        world.supervisor.stop()

        assert await task == 1
    assert world.said == ["child-0 did not stop within 0.1 s and is killed"]


async def test_told_to_stop_now_nobody_is_waited_for() -> None:
    world = World(STUBBORN, STUBBORN)
    async with running(world) as task:
        pids = world.supervisor.pids.values()

        world.supervisor.kill()

        assert await task == 1
        assert not any(map(is_alive, pids))


# --- What does not start --------------------------------------------------------------


async def test_child_that_cannot_start_ends_all_with_what_it_said() -> None:
    world = World(GOOD, "tell('ottla: the port is taken'); sys.exit(1)")

    with pytest.raises(CommandError, match="child-1 did not start: the port is taken"):
        await world.run()

    assert not world.supervisor.pids
    assert not any("the port is taken" in line for line in world.shown)


async def test_child_that_dies_without_a_word_before_it_is_ready_is_told_how() -> None:
    world = World("os.kill(os.getpid(), 9)")

    with pytest.raises(CommandError, match="child-0 did not start: it was killed by SIGKILL"):
        await world.run()


# --- What dies later ------------------------------------------------------------------


async def test_child_that_dies_is_said_and_started_again() -> None:
    world = World(GOOD, GOOD)
    async with running(world) as task:
        first = world.supervisor.pids["child-1"]

        os.kill(first, signal.SIGKILL)
        await world.until(lambda: world.shown.count("child-1: hello") == 2)

        assert world.said == ["child-1 was killed by SIGKILL; it will be started again"]
        assert world.supervisor.pids["child-1"] != first
        world.supervisor.stop()
        assert await task == 0


async def test_child_that_dies_again_and_again_is_given_longer_and_longer_pauses() -> None:
    world = World("ready(); tell('ottla: no luck'); time.sleep(0.02); sys.exit(3)")
    async with running(world):
        await world.until(lambda: len(world.said) == 4)

    assert set(world.said) == {
        "child-0 ended by itself with status 3 (no luck); it will be started again"
    }


async def test_child_that_dies_stays_down_if_told_so() -> None:
    world = World(GOOD, GOOD, restart=False)
    async with running(world) as task:
        os.kill(world.supervisor.pids["child-0"], signal.SIGKILL)
        await world.until(lambda: bool(world.said))

        assert list(world.supervisor.pids) == ["child-1"]
        os.kill(world.supervisor.pids["child-1"], signal.SIGKILL)
        assert await task == 1
    assert world.said[-1] == "child-1 was killed by SIGKILL; it stays down"


async def test_stop_does_not_wait_for_the_pause_before_a_new_start() -> None:
    world = World("ready(); sys.exit(1)")
    async with running(world) as task:
        await world.until(lambda: len(world.said) == 5)
        world.supervisor.stop()

        await asyncio.wait_for(task, 5)


# --- What they say --------------------------------------------------------------------


async def test_line_without_end_is_shown_in_pieces_and_what_is_left_at_last() -> None:
    world = World("ready(); tell('x' * 200_000); sys.stderr.write('last'); wait()")
    async with running(world) as task:
        world.supervisor.stop()
        await task

    texts = [line.removeprefix("child-0: ") for line in world.shown]
    assert sum(map(len, texts)) == 200_004
    assert texts[-1] == "last"
    assert max(map(len, texts)) <= 2 * 65_536


async def test_what_is_no_ready_line_is_passed_over() -> None:
    world = World("print('warming up'); print('[1]'); ready(); print('{}'); wait()")
    async with running(world):
        assert world.ready.result()["child-0"].keys() == {"pid"}


# --- Who is left behind ---------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs a handle of a stranger's process")
def test_supervisor_that_is_killed_leaves_nobody_behind(tmp_path: Path) -> None:
    script = f"""
import asyncio, sys
from ottla.cli.supervisor import Child, Supervisor
child = Child(name="child", command=[sys.executable, "-S", "-c", {PRELUDE + GOOD!r}])
supervisor = Supervisor([child], show=lambda *_: None, say=print)
asyncio.run(supervisor.run(lambda ready: print(ready["child"]["pid"], flush=True)))
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=tmp_path)
    with process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        # Its death closes what it has inherited, and nobody has to reap it here.
        gone = os.pidfd_open(child)
        process.kill()

    with os.fdopen(gone) as handle:
        readable, _, _ = select.select([handle], [], [], 10)
        assert readable, "the child lives on"
