"""The layers of any supported architecture under one set of names."""
