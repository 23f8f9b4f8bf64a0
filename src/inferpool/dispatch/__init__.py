"""The use cases: enqueue, order, sessions, streams, free of HTTP as of SQL."""
