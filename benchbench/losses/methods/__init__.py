"""Loss methods, one per file."""
