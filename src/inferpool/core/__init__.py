"""The law of the queue: pure rules that need no input, no output, no clock of their own."""
