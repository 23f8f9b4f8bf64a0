"""Durability: the only place with SQL."""
