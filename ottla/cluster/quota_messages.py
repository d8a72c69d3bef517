"""Whose quotas, as a message between brokers, and back."""

from __future__ import annotations

from ottla.model.image import QuotaEntity
from ottla.v1 import controller_pb2 as pb


def quota_entity_message(entity: QuotaEntity) -> pb.QuotaEntity:
    """Return the message that names ``entity``."""
    return pb.QuotaEntity(user=entity.user, client_id=entity.client_id)


def quota_entity_in(message: pb.QuotaEntity) -> QuotaEntity:
    """Return the entity that a message names."""
    return QuotaEntity(
        user=message.user if message.HasField("user") else None,
        client_id=message.client_id if message.HasField("client_id") else None,
    )
