"""`python -m benchbench`."""

from benchbench.cli.start import main

main()
