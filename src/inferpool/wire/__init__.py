"""What crosses HTTP, each format with both of its directions in one file."""
