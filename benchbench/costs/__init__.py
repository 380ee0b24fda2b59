"""What things cost: predictions before a run, and prices of what nobody repeats."""
