"""A plan is run: order, sharing, retries and the store."""
