"""Takes safeguards out of a copy of the product, one at a time, to see a named test turn red."""
