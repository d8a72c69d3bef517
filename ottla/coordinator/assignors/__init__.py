"""Ways of dividing partitions among the members of a consumer group, by the coordinator."""
