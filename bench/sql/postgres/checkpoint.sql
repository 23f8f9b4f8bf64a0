-- Nothing of the fill is left to be written while something is measured.
CHECKPOINT
