"""The cluster as this broker knows it now, for everybody on the event loop.

An image is a value that never changes, so whoever reads the cache may keep what he got across an
``await``. What the cache adds is waiting: for an image that satisfies a condition, with a deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ottla.model.errors import RequestTimedOutError
from ottla.model.image import ClusterImage

ImageListener = Callable[[ClusterImage], None]
Condition = Callable[[ClusterImage], bool]


class MetadataCache:
    """The latest image. It reflects the metadata log up to its ``metadata_offset``."""

    def __init__(self, image: ClusterImage) -> None:
        self._image = image
        self._listeners: list[ImageListener] = []
        self._waiting: dict[asyncio.Future[ClusterImage], Condition] = {}

    @property
    def image(self) -> ClusterImage:
        """The latest image that was applied here."""
        return self._image

    def subscribe(self, listener: ImageListener) -> None:
        """Call ``listener`` with every image from now on, before those who wait for it go on."""
        self._listeners.append(listener)

    def publish(self, image: ClusterImage) -> None:
        """Take a newer image."""
        assert image.metadata_offset >= self._image.metadata_offset, (
            image.metadata_offset,
            self._image.metadata_offset,
        )
        self._image = image
        for listener in self._listeners:
            listener(image)
        for future, condition in list(self._waiting.items()):
            if not future.done() and condition(image):
                future.set_result(image)

    async def wait_for(self, condition: Condition, *, timeout_ms: int, what: str) -> ClusterImage:
        """Wait for an image that satisfies ``condition``, and return it.

        Raises:
            RequestTimedOutError: there was none in time; ``what`` says in its message what was
                waited for.
        """
        if condition(self._image):
            return self._image
        future: asyncio.Future[ClusterImage] = asyncio.get_running_loop().create_future()
        self._waiting[future] = condition
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                return await future
        except TimeoutError:
            raise RequestTimedOutError(
                f"{what} did not happen within {timeout_ms} ms; this broker's metadata is at "
                f"offset {self._image.metadata_offset}"
            ) from None
        finally:
            del self._waiting[future]
