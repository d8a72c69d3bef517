"""The requests that change the cluster, its topics and their settings, or describe those."""

from __future__ import annotations

from ottla.cluster.services import Services
from ottla.kafka.alter_client_quotas import AlterClientQuotasHandler
from ottla.kafka.alter_configs import AlterConfigsHandler
from ottla.kafka.alter_partition_reassignments import AlterPartitionReassignmentsHandler
from ottla.kafka.create_partitions import CreatePartitionsHandler
from ottla.kafka.create_topics import CreateTopicsHandler
from ottla.kafka.delete_topics import DeleteTopicsHandler
from ottla.kafka.describe_client_quotas import DescribeClientQuotasHandler
from ottla.kafka.describe_configs import DescribeConfigsHandler
from ottla.kafka.describe_quorum import DescribeQuorumHandler
from ottla.kafka.elect_leaders import ElectLeadersHandler
from ottla.kafka.handling import Handler, ServedApi
from ottla.kafka.incremental_alter_configs import IncrementalAlterConfigsHandler
from ottla.kafka.list_config_resources import ListConfigResourcesHandler
from ottla.kafka.list_partition_reassignments import ListPartitionReassignmentsHandler
from ottla.kafka.log_dirs import AlterReplicaLogDirsHandler, DescribeLogDirsHandler
from ottla.kafka.unregister_broker import UnregisterBrokerHandler
from ottla.kafka.update_features import UpdateFeaturesHandler
from ottla.wire.api_keys import ApiKey


def admin_apis(services: Services) -> list[ServedApi]:
    """Return what serves these requests."""
    cluster = services.cluster
    served: list[tuple[ApiKey, int, int, Handler]] = [
        (ApiKey.CREATE_TOPICS, 2, 7, CreateTopicsHandler(services)),
        (ApiKey.DELETE_TOPICS, 1, 6, DeleteTopicsHandler(services)),
        (ApiKey.CREATE_PARTITIONS, 0, 3, CreatePartitionsHandler(services)),
        (ApiKey.DESCRIBE_CONFIGS, 1, 4, DescribeConfigsHandler(services)),
        (ApiKey.ALTER_CONFIGS, 0, 2, AlterConfigsHandler(services)),
        (ApiKey.INCREMENTAL_ALTER_CONFIGS, 0, 1, IncrementalAlterConfigsHandler(services)),
        (ApiKey.LIST_CONFIG_RESOURCES, 0, 1, ListConfigResourcesHandler(cluster)),
        (ApiKey.DESCRIBE_LOG_DIRS, 1, 5, DescribeLogDirsHandler(cluster)),
        (ApiKey.ALTER_REPLICA_LOG_DIRS, 1, 2, AlterReplicaLogDirsHandler(cluster)),
        (ApiKey.ELECT_LEADERS, 0, 2, ElectLeadersHandler(services)),
        (
            ApiKey.ALTER_PARTITION_REASSIGNMENTS,
            0,
            1,
            AlterPartitionReassignmentsHandler(services),
        ),
        (ApiKey.LIST_PARTITION_REASSIGNMENTS, 0, 0, ListPartitionReassignmentsHandler(cluster)),
        (ApiKey.DESCRIBE_QUORUM, 0, 2, DescribeQuorumHandler(services)),
        (ApiKey.UPDATE_FEATURES, 0, 2, UpdateFeaturesHandler(services)),
        (ApiKey.UNREGISTER_BROKER, 0, 0, UnregisterBrokerHandler(services)),
        (ApiKey.DESCRIBE_CLIENT_QUOTAS, 0, 1, DescribeClientQuotasHandler(cluster)),
        (ApiKey.ALTER_CLIENT_QUOTAS, 0, 1, AlterClientQuotasHandler(services)),
    ]
    return [
        ServedApi(api_key=api_key, min_version=lowest, max_version=highest, handler=handler)
        for api_key, lowest, highest, handler in served
    ]
