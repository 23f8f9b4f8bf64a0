"""Asks a real server, with a worker behind it, whatever its own OpenAPI document allows or forbids."""
