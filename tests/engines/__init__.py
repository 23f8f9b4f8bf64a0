"""Engines for tests: OpenAI-compatible servers whose answers, delays, faults are written in the prompt."""
