"""Smaller models cut from larger ones: fewer layers, narrower, in ALBERT's shape."""
