"""Smaller models made from larger ones: with fewer layers, narrower, or in ALBERT's shape."""
