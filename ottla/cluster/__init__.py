"""The asyncio shell of a broker: turns requests and effects into I/O."""
