"""Trained models at work: logits, labels and probabilities, generation, filled gaps."""
