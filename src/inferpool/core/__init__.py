"""The law of the queue: states, order, streams, errors, free of any input or output."""
