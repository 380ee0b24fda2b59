"""The command line: it parses and prints; `benchbench.api` does the work."""
