"""HTTP: parse, call dispatch, render."""
