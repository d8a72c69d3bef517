"""``UpdateFeatures``: raise the level of a feature of the cluster (KIP-584).

Levels only rise: what a higher one has written, a lower one could not read. Up to version 1 the
answer has a result for each feature, later one for all of them: the first that failed.
"""

from __future__ import annotations

from typing import Final

from ottla.cluster.services import Services
from ottla.kafka.handling import RequestContext
from ottla.model.errors import (
    InvalidRequestError,
    InvalidUpdateVersionError,
    OttlaError,
)
from ottla.model.limits import FEATURES_PER_REQUEST_MAX
from ottla.wire.messages.update_features import (
    FeatureUpdateKey,
    UpdatableFeatureResult,
    UpdateFeaturesRequest,
    UpdateFeaturesResponse,
)

_ONE_RESULT_FROM: Final = 2
_UPGRADE_TYPES: Final = range(1, 4)
_UPGRADE_TYPE_FROM: Final = 1


class UpdateFeaturesHandler:
    """Versions 0 to 2."""

    def __init__(self, services: Services) -> None:
        self._administration = services.administration

    async def __call__(
        self, context: RequestContext, request: UpdateFeaturesRequest
    ) -> UpdateFeaturesResponse:
        """Check all of them, and then set them."""
        if len(request.feature_updates) > FEATURES_PER_REQUEST_MAX:
            return UpdateFeaturesResponse(
                error_code=InvalidRequestError.code,
                error_message=f"update at most {FEATURES_PER_REQUEST_MAX} features at a time",
            )
        errors: list[OttlaError | None] = [
            await self._set(context, update, validate_only=True)
            for update in request.feature_updates
        ]
        first = next((error for error in errors if error is not None), None)
        if first is None and not request.validate_only:
            errors = [
                await self._set(context, update, validate_only=False)
                for update in request.feature_updates
            ]
            first = next((error for error in errors if error is not None), None)
        if context.api_version >= _ONE_RESULT_FROM:
            return UpdateFeaturesResponse(
                error_code=0 if first is None else first.code,
                error_message=None if first is None else str(first),
            )
        return UpdateFeaturesResponse(
            results=[
                UpdatableFeatureResult(
                    feature=update.feature,
                    # None is set unless all can be.
                    error_code=0 if first is None else (error or first).code,
                    error_message=None if first is None else str(error or first),
                )
                for update, error in zip(request.feature_updates, errors, strict=True)
            ]
        )

    async def _set(
        self, context: RequestContext, update: FeatureUpdateKey, *, validate_only: bool
    ) -> OttlaError | None:
        """Set one, or only check it; return what is wrong with it."""
        if context.api_version >= _UPGRADE_TYPE_FROM and update.upgrade_type not in _UPGRADE_TYPES:
            return InvalidUpdateVersionError(
                f"feature {update.feature[:100]!r}: there is no kind of upgrade "
                f"{update.upgrade_type}; use 1 (upgrade)"
            )
        try:
            await self._administration.set_feature_level(
                update.feature, update.max_version_level, validate_only=validate_only
            )
        except InvalidRequestError as error:
            return InvalidUpdateVersionError(str(error))
        except OttlaError as error:
            return error
        return None
