"""The learning-rate finder: a sweep that leaves no trace, and what its curve suggests."""
