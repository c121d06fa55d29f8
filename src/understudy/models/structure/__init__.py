"""The parts of any supported architecture under one set of names."""
