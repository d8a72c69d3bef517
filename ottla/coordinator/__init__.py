"""Consumer groups and their committed offsets, as replicated state machines."""
