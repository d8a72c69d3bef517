"""One partition's log on a file system, in Kafka's file formats."""
