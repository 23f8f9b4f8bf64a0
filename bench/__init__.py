"""The numbers: each beside its target, beside what bounds it in the same run."""
