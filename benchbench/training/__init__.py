"""Training: one loop for every arm and for the adaptation of teachers."""
