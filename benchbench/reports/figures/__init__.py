"""Figures of a report, one file each; matplotlib is imported where they are drawn."""
