"""The answers that the latest batches got, for those who ask again.

A proposer whose leadership ended does not know whether its batch was applied. If it proposes the
same batch again, it should hear what it would have heard. This table remembers the answers of
the last ``METADATA_BATCHES_REMEMBERED`` batches that changed the state, by ``(client, sequence)``.

The table is part of the replicated state, because all replicas must answer alike. It is a
courtesy, not a safeguard: a batch that has been forgotten here is still never applied twice,
because the version it was decided on is gone.
"""

from __future__ import annotations

from collections.abc import Iterator

from ottla.model.limits import METADATA_BATCHES_REMEMBERED


class RecentAnswers:
    """A bounded table; the oldest entry makes room for the newest."""

    def __init__(self) -> None:
        # In order of application, which is the same on every replica.
        self._answers: dict[tuple[int, int], bytes] = {}

    def __iter__(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield client, sequence and answer, the oldest first."""
        for (client_id, sequence), answer in self._answers.items():
            yield client_id, sequence, answer

    def __len__(self) -> int:
        return len(self._answers)

    def __repr__(self) -> str:
        return f"<RecentAnswers {len(self)} of {METADATA_BATCHES_REMEMBERED}>"

    def find(self, client_id: int, sequence: int) -> bytes | None:
        """Return the answer that the batch got; ``None`` if it is new, or forgotten."""
        return self._answers.get((client_id, sequence))

    def remember(self, client_id: int, sequence: int, answer: bytes) -> None:
        """Note the answer of a batch that has just changed the state."""
        assert (client_id, sequence) not in self._answers, (client_id, sequence)
        if len(self._answers) == METADATA_BATCHES_REMEMBERED:
            del self._answers[next(iter(self._answers))]
        self._answers[client_id, sequence] = answer
