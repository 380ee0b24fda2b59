"""Typed descriptions that pass between rooms: what a stage is, and what a finished one leaves."""
