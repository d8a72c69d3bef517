"""The requests of groups: their members, their offsets, and those who look after them."""

from __future__ import annotations

from ottla.cluster.services import GroupsService, Services
from ottla.kafka.consumer_group_describe import ConsumerGroupDescribeHandler
from ottla.kafka.consumer_group_heartbeat import ConsumerGroupHeartbeatHandler
from ottla.kafka.current_leaders import AddressOf, Cluster
from ottla.kafka.delete_groups import DeleteGroupsHandler
from ottla.kafka.describe_groups import DescribeGroupsHandler
from ottla.kafka.find_coordinator import FindCoordinatorHandler
from ottla.kafka.handling import Handler, ServedApi
from ottla.kafka.heartbeat import HeartbeatHandler
from ottla.kafka.join_group import JoinGroupHandler
from ottla.kafka.leave_group import LeaveGroupHandler
from ottla.kafka.list_groups import ListGroupsHandler
from ottla.kafka.offset_commit import OffsetCommitHandler
from ottla.kafka.offset_delete import OffsetDeleteHandler
from ottla.kafka.offset_fetch import OffsetFetchHandler
from ottla.kafka.sync_group import SyncGroupHandler
from ottla.wire.api_keys import ApiKey


def group_apis(services: Services, *, address_of: AddressOf) -> list[ServedApi]:
    """Return what serves these requests; clients reach brokers where ``address_of`` says."""
    return group_handlers(services.groups, services.cluster, address_of)


def group_handlers(
    groups: GroupsService, cluster: Cluster, address_of: AddressOf
) -> list[ServedApi]:
    """The same, in front of the services that are needed."""
    handlers: list[tuple[ApiKey, int, int, Handler]] = [
        (ApiKey.FIND_COORDINATOR, 0, 6, FindCoordinatorHandler(groups, cluster, address_of)),
        (ApiKey.JOIN_GROUP, 0, 9, JoinGroupHandler(groups)),
        (ApiKey.SYNC_GROUP, 0, 5, SyncGroupHandler(groups)),
        (ApiKey.HEARTBEAT, 0, 4, HeartbeatHandler(groups)),
        (ApiKey.LEAVE_GROUP, 0, 5, LeaveGroupHandler(groups)),
        (ApiKey.CONSUMER_GROUP_HEARTBEAT, 0, 1, ConsumerGroupHeartbeatHandler(groups)),
        (ApiKey.OFFSET_COMMIT, 2, 10, OffsetCommitHandler(groups, cluster)),
        (ApiKey.OFFSET_FETCH, 1, 10, OffsetFetchHandler(groups, cluster)),
        (ApiKey.OFFSET_DELETE, 0, 0, OffsetDeleteHandler(groups)),
        (ApiKey.LIST_GROUPS, 0, 5, ListGroupsHandler(groups)),
        (ApiKey.DESCRIBE_GROUPS, 0, 6, DescribeGroupsHandler(groups)),
        (ApiKey.CONSUMER_GROUP_DESCRIBE, 0, 1, ConsumerGroupDescribeHandler(groups, cluster)),
        (ApiKey.DELETE_GROUPS, 0, 2, DeleteGroupsHandler(groups)),
    ]
    return [
        ServedApi(api_key=key, min_version=first, max_version=last, handler=handler)
        for key, first, last, handler in handlers
    ]
