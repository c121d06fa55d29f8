"""Runs of a family in processes of their own: one that dies takes no other one with it."""
