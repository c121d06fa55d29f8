"""Trained models in use: logits, labels and probabilities, generation, fill-mask."""
