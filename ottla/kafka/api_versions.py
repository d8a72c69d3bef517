"""ApiVersions: what a client may ask for, which every client asks first.

The answer must reach a client that is newer than the broker: whatever version it asks in, there is
an answer in version 0 with the error UNSUPPORTED_VERSION and the whole table, from which the
client sees in which version to ask again (KIP-511). Features are told besides, of which clients
look at one only, ``transaction.version``, and that is not here: there are no transactions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from ottla.kafka.handling import RequestContext, ServedApi
from ottla.model.errors import InvalidRequestError, UnsupportedVersionError
from ottla.model.limits import KAFKA_SOFTWARE_NAME_CHARACTERS_MAX
from ottla.wire.api_keys import ApiKey
from ottla.wire.messages.api_versions import (
    ApiVersion,
    ApiVersionsRequest,
    ApiVersionsResponse,
    FinalizedFeatureKey,
    SupportedFeatureKey,
)

VERSION_MAX: Final = 4
_SOFTWARE_VERSION: Final = 3
"""The first in which the client says what it is."""
_FEATURES_FROM_ZERO_VERSION: Final = 4
"""Clients that ask in an earlier one cannot read a feature that begins at level 0 (KAFKA-17492)."""

_SOFTWARE = re.compile(
    rf"[A-Za-z0-9](?:[A-Za-z0-9.-]{{0,{KAFKA_SOFTWARE_NAME_CHARACTERS_MAX}}}[A-Za-z0-9])?\Z"
)

GROUP_FEATURE: Final = "group.version"


class Feature(NamedTuple):
    """What brokers of one cluster have agreed on, or could."""

    min_level: int
    max_level: int
    level: int
    """In force; 0: not at all."""


class Features(NamedTuple):
    """The features of a cluster, at one position of its metadata log."""

    epoch: int
    by_name: Mapping[str, Feature]


class ApiVersionsHandler:
    """Answers from the table of all APIs, itself included."""

    def __init__(self, apis: Sequence[ServedApi], features: Callable[[], Features]) -> None:
        self._features = features
        self.api = ServedApi(
            api_key=ApiKey.API_VERSIONS, min_version=0, max_version=VERSION_MAX, handler=self.handle
        )
        self._versions = [
            ApiVersion(
                api_key=api.api_key,
                min_version=api.min_version
                if api.advertised_min_version is None
                else api.advertised_min_version,
                max_version=api.max_version,
            )
            for api in sorted((*apis, self.api), key=lambda api: api.api_key)
        ]

    async def handle(
        self, context: RequestContext, request: ApiVersionsRequest | None
    ) -> ApiVersionsResponse:
        """Answer; the request is ``None`` if its version is a newer one."""
        if request is None:
            return ApiVersionsResponse(
                error_code=UnsupportedVersionError.code, api_keys=self._versions
            )
        if context.api_version >= _SOFTWARE_VERSION and not (
            _SOFTWARE.match(request.client_software_name)
            and _SOFTWARE.match(request.client_software_version)
        ):
            return ApiVersionsResponse(error_code=InvalidRequestError.code)
        features = self._features()
        return ApiVersionsResponse(
            api_keys=self._versions,
            supported_features=[
                SupportedFeatureKey(
                    name=name, min_version=feature.min_level, max_version=feature.max_level
                )
                for name, feature in features.by_name.items()
                if feature.min_level or context.api_version >= _FEATURES_FROM_ZERO_VERSION
            ],
            finalized_features_epoch=features.epoch,
            finalized_features=[
                FinalizedFeatureKey(
                    name=name, min_version_level=feature.level, max_version_level=feature.level
                )
                for name, feature in features.by_name.items()
                if feature.level
            ],
        )
