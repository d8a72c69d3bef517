"""The seeded world: simulated ends of the ports, fault schedules, checkers."""
