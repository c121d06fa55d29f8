"""Varied copies of texts."""
