"""The requests that tell of the cluster, its brokers and its topics."""

from __future__ import annotations

from ottla.cluster.services import Services
from ottla.kafka.current_leaders import AddressOf
from ottla.kafka.describe_cluster import DescribeClusterHandler
from ottla.kafka.describe_topic_partitions import DescribeTopicPartitionsHandler
from ottla.kafka.handling import ServedApi
from ottla.kafka.metadata import MetadataHandler
from ottla.wire.api_keys import ApiKey


def metadata_apis(services: Services, address_of: AddressOf) -> list[ServedApi]:
    """Return what serves these requests; clients reach brokers where ``address_of`` says."""
    cluster = services.cluster
    return [
        ServedApi(
            api_key=ApiKey.METADATA,
            min_version=0,
            max_version=13,
            handler=MetadataHandler(cluster, address_of),
        ),
        ServedApi(
            api_key=ApiKey.DESCRIBE_CLUSTER,
            min_version=0,
            max_version=2,
            handler=DescribeClusterHandler(cluster, address_of),
        ),
        ServedApi(
            api_key=ApiKey.DESCRIBE_TOPIC_PARTITIONS,
            min_version=0,
            max_version=0,
            handler=DescribeTopicPartitionsHandler(cluster, address_of),
        ),
    ]
