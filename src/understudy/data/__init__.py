"""Texts and labels in, planned batches of token ids out. Reading needs no torch."""
