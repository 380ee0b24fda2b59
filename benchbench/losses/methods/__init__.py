"""Loss methods, one a file."""
