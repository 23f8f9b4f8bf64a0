"""The process beside the engine: it dials out, publishes llms, runs what it is pushed."""
