"""What the worker calls the server with, as does the command line."""
