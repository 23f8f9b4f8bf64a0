"""Everything breaks at once: many servers under load while a seed kills, cuts, stops, restarts."""
