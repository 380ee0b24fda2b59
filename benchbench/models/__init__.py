"""Models: any backbone becomes `Outputs(logits, embedding, features)`."""
