"""The whole system in one process, under virtual time, over a network that fails by a seeded plan."""
