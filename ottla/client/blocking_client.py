"""What the blocking clients have in common: starting, stopping, and calling the event loop."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from ottla.client.errors import ClientClosedError
from ottla.client.loop_thread import LoopThread

Result = TypeVar("Result")


class BlockingClient:
    """The blocking form of a client that is started and stopped on an event loop.

    Args:
        start: starts the client behind it.
        stop: stops it.
    """

    def __init__(
        self,
        *,
        start: Callable[[], Coroutine[Any, Any, None]],
        stop: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self._start_behind = start
        self._stop_behind = stop
        self._thread: LoopThread | None = None
        self._is_stopped = False

    def start(self) -> None:
        """Connect now, instead of when first used; no error if that was done before.

        Raises:
            NoBrokersAvailableError: no broker answered within ``connect_timeout_ms``.
            ClientClosedError: the client was stopped; make a new one.
            OttlaError: as ``start`` of the asyncio client.
        """
        if self._is_stopped:
            raise ClientClosedError("the client was stopped; make a new one")
        if self._thread is not None:
            return
        # Set before it has started, because a rebalance listener may use the client in between.
        thread = self._thread = LoopThread.acquire()
        try:
            thread.call(self._start_behind())
        except BaseException:
            self._thread = None
            thread.release()
            raise

    def stop(self) -> None:
        """Finish and disconnect, as ``stop`` of the asyncio client; no error if done before."""
        thread, was_stopped = self._thread, self._is_stopped
        self._is_stopped = True
        if thread is not None and not was_stopped:
            try:
                # A rebalance listener may use the client until it is stopped.
                thread.call(self._stop_behind())
            finally:
                self._thread = None
                thread.release()

    def close(self) -> None:
        """Do what :meth:`stop` does, under the name that other Python clients give it."""
        self.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _call(
        self,
        method: Callable[..., Coroutine[Any, Any, Result]],
        *arguments: Any,  # noqa: ANN401  # the method's own
        **options: Any,  # noqa: ANN401  # the method's own
    ) -> Result:
        """Call a waiting method of the client behind, where it belongs, and wait for it."""
        return self._running().call(method(*arguments, **options))

    def _call_nowait(
        self,
        method: Callable[..., Result],
        *arguments: Any,  # noqa: ANN401  # the method's own
        **options: Any,  # noqa: ANN401  # the method's own
    ) -> Result:
        """Call an immediate method of the client behind, where it belongs."""

        async def run() -> Result:
            return method(*arguments, **options)

        return self._running().call(run())

    def _running(self) -> LoopThread:
        if self._thread is None:
            self.start()
        assert self._thread is not None
        return self._thread
