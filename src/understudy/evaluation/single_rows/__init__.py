"""Which rows to read first."""
