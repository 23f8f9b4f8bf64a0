"""Answers of engines as their public documentation or source gives them; each file names where."""
