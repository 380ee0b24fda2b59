"""How a network is run: memory format, precision, folded normalisation, kernels, compilation; measured, not guessed."""
