"""Execution of a network: memory format, precision, folded normalisation, kernels, compilation; chosen by measuring."""
