"""Programs that do nothing but what bounds ours, without a line of it."""
