"""Embedding tables for another vocabulary."""
