"""Costs: predictions before a run, the ledger of runs, and prices of public pre-training."""
