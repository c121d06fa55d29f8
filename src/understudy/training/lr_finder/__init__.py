"""The learning rate by experiment: a sweep that leaves no trace, and what its curve suggests."""
