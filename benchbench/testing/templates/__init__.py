"""Templates of `benchbench new`: real plugins, of which only the name `template` is replaced."""
