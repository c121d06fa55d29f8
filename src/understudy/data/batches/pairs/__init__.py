"""Batches all of whose pairs are compared: which texts meet, and their tokens."""
