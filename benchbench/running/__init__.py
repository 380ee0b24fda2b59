"""Runs of a plan: order, sharing, retries and the store."""
