"""Tables of a report, one a file."""
