"""The in-sync-replica protocol of one partition, as state machines."""
