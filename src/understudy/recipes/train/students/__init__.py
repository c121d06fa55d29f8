"""Untrained students, built as the settings describe them."""
