"""Augmentation: varied copies of texts."""
