"""The seeded world: simulated ends of the ports, whole clusters in them, faults, checkers."""
