"""Optimizers and the parameter groups that they are given."""
