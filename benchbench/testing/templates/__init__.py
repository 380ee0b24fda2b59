"""What `benchbench new` copies: real plugins, of which only the name `template` is replaced."""
