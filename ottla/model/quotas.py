"""The quotas that clients can have, by Kafka's names."""

from __future__ import annotations

from typing import Final

PRODUCER_BYTE_RATE: Final = "producer_byte_rate"
"""Bytes a second that a client may send to each broker."""
CONSUMER_BYTE_RATE: Final = "consumer_byte_rate"
"""Bytes a second that each broker sends to a client."""

QUOTA_KEYS: Final = (PRODUCER_BYTE_RATE, CONSUMER_BYTE_RATE)
